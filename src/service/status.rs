//! How a service stands: each resource asked, then merged into groups, avail and overall.

use super::{Body, Res, Service, authority};
use crate::host::Host;
use crate::log::Logger;
use crate::report::{GROUPS, Probe, ResourceReport, ServiceReport};
use crate::resource::Sequence;
use crate::state::frozen;
use crate::status::Status;
use crate::sync::View;
use indexmap::IndexMap;

/// What to look at: parts cost time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything.
    All,
    /// All but syncs: for the gates of actions.
    NoSync,
}

/// The order of rows: sets by name; in a set fs by mount point, apps by start order, others by rid as text.
pub fn ordered(service: &Service) -> Vec<&Res> {
    let mut rows: Vec<&Res> = service.resources.iter().collect();
    rows.sort_by_cached_key(|r| {
        let (sequence, key) = match &r.body {
            Body::Run(run) => (run.sequence(Sequence::Start), run.sort_key(&r.rid)),
            Body::Sync(_) => (None, r.rid.clone()),
        };
        (r.set(), sequence, key, r.rid.clone())
    });
    rows
}

/// Asks every resource. Changes nothing on the host.
pub fn evaluate(service: &Service, host: &Host, log: &Logger, depth: Depth) -> ServiceReport {
    let rows = ordered(service);
    let mut found: Vec<Option<Probe>> = rows.iter().map(|_| None).collect();
    let ask = |found: &mut Vec<Option<Probe>>, want: &dyn Fn(&Res) -> bool, probe: &dyn Fn(&Res) -> Probe| {
        for (res, slot) in rows.iter().zip(found.iter_mut()).filter(|(res, slot)| slot.is_none() && want(res)) {
            *slot = Some(if res.disable { Probe::because(Status::Na, "disabled") } else { probe(res) });
        }
    };
    let is_app = |res: &Res| res.run().is_some_and(crate::resource::Resource::only_when_up);
    let run = |res: &Res| match res.run() {
        Some(run) => run.status(&service.cx(host, &log.child(&res.log_name()), res, false)),
        None => Probe::new(Status::Undef),
    };
    ask(&mut found, &|r| r.run().is_some() && !is_app(r), &run);
    let without_app = Sets::of(&rows, &found).avail();
    let passive = service.config.scope.nodes.len() > 1 && !matches!(without_app.name(), "up");
    ask(&mut found, &is_app, &|res| {
        if !passive {
            return run(res);
        }
        let quiet = vec![format!("ip+fs status is {}, skip check", without_app.name())];
        Probe { quiet, ..Probe::new(Status::Na) }
    });
    let view = View { avail_without_app: without_app, avail: Sets::of(&rows, &found).avail(), flex: service.is_flex() };
    if depth == Depth::All {
        ask(&mut found, &|r| r.sync().is_some(), &|res| match res.sync() {
            Some(sync) => sync.status(&service.cx(host, &log.child(&res.log_name()), res, false), &view),
            None => Probe::new(Status::Undef),
        });
    }
    let authority = if depth == Depth::All { authority::look(service, host, &rows, &mut found) } else { None };
    ServiceReport { authority, ..report(service, host, &rows, &found, view.avail) }
}

/// The state a row counts with: standby mapping done; `Undef` (neutral) when disabled or not asked.
fn counted(res: &Res, probe: Option<&Probe>) -> Status {
    match probe {
        Some(probe) if !res.disable => shown(res, probe),
        _ => Status::Undef,
    }
}

fn shown(res: &Res, probe: &Probe) -> Status {
    let maps = res.standby && res.run().is_some_and(crate::resource::Resource::has_standby);
    if maps { probe.status.standby() } else { probe.status }
}

/// The state of each set, from its enabled members, with the group it counts in. Rows of a set stand together.
struct Sets(Vec<(Option<&'static str>, Status)>);

impl Sets {
    fn of(rows: &[&Res], found: &[Option<Probe>]) -> Self {
        let same = |a: &(&&Res, &Option<Probe>), b: &(&&Res, &Option<Probe>)| a.0.rtype == b.0.rtype && a.0.subset == b.0.subset;
        let members: Vec<(&&Res, &Option<Probe>)> = rows.iter().zip(found).collect();
        let state = |set: &[(&&Res, &Option<Probe>)]| Status::merge_all(set.iter().map(|(res, probe)| counted(res, probe.as_ref())));
        Self(members.chunk_by(same).filter_map(|set| Some((set.first()?.0.group(), state(set)))).collect())
    }

    fn in_group(&self, group: &str) -> impl Iterator<Item = Status> {
        self.0.iter().filter(move |(g, _)| *g == Some(group)).map(|(_, state)| *state)
    }

    fn merged(&self, groups: &[&str]) -> Status {
        groups.iter().flat_map(|g| self.in_group(g)).fold(Status::Na, Status::merge)
    }

    fn avail(&self) -> Status {
        self.merged(&["container", "disk", "share", "fs", "ip", "app"]).fold()
    }
}

fn report(service: &Service, host: &Host, rows: &[&Res], found: &[Option<Probe>], avail: Status) -> ServiceReport {
    let sets = Sets::of(rows, found);
    let groups: IndexMap<&'static str, Status> = GROUPS.into_iter().map(|g| (g, sets.merged(&[g]))).collect();
    let with_hb = sets.in_group("hb").fold(avail, Status::merge);
    // a late or failing sync degrades, it does not take the service down
    let overall = sets.in_group("sync").fold(with_hb, |all, sync| match sync {
        Status::Up => all,
        Status::Na | Status::Undef | Status::Todo => all.merge(sync),
        _ => all.merge(Status::Warn),
    });
    let resources = rows.iter().zip(found).filter_map(|(res, probe)| {
        let probe = probe.as_ref()?;
        Some(ResourceReport {
            rid: res.rid.clone(),
            rtype: res.rtype.clone(),
            subset: res.subset.clone(),
            status: shown(res, probe),
            label: res.label(host),
            messages: probe.messages.clone(),
            quiet: probe.quiet.clone(),
            monitor: res.monitor,
            disable: res.disable,
            optional: res.optional,
            encap: false,
            standby: res.standby,
        })
    });
    ServiceReport {
        service: service.name.clone(),
        node: host.node.clone(),
        service_type: service.service_type.clone(),
        mode: service.mode.clone(),
        frozen: frozen::is_frozen(&host.paths.var, &service.name),
        avail,
        overall: overall.fold(),
        groups,
        resources: resources.collect(),
        authority: None,
    }
}
