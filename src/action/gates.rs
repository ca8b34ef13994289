//! What stands before an action: freeze, cluster safety net, lock, anti-affinity, address conflicts.

use super::{Class, Id, Info, Options};
use crate::authority::Copies;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::lock::Lock;
use crate::log::Logger;
use crate::service::{Service, build, status};
use crate::state::frozen;
use crate::status::Status;
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

/// Refuses on a frozen service, and on one that a cluster manager drives unless `--cluster`.
pub fn allowed(service: &Service, host: &Host, log: &Logger, info: &Info, options: &Options) -> Result<()> {
    // 2014: `json env` is the one view that a freeze and the safety net stop; `docker` changes what it likes
    let open =
        matches!(info.class, Class::View | Class::Config | Class::Freeze | Class::Peer) && !matches!(info.id, Id::JsonEnv | Id::Docker);
    if open {
        return Ok(());
    }
    if frozen::is_frozen(&host.paths.var, &service.name) {
        log.info("Abort action for frozen service");
        let name = &service.name;
        log.error(if frozen::is_set(&host.paths.var, Some(name)) {
            format!("{name} is frozen on {}. to allow actions again: svcmgr -s {name} thaw", host.node)
        } else {
            format!("the whole node {} is frozen. to allow actions again: svcthaw", host.node)
        });
        return Err(Error::Reported);
    }
    let exempt = matches!(
        info.id,
        Id::Boot
            | Id::StartStandby
            | Id::ResourceMonitor
            | Id::PreSync
            | Id::PostSync
            | Id::SyncDrp
            | Id::SyncNodes
            | Id::SyncAll
            | Id::Docker
    );
    if exempt || service.hbs().next().is_none() {
        return Ok(());
    }
    let all_disabled = service.hbs().all(|r| r.disable);
    if all_disabled && options.cluster {
        log.error("the heartbeat of this service is disabled (maintenance): the cluster manager may not drive it now");
        return Err(Error::Reported);
    }
    if !all_disabled && !options.cluster {
        log.error(
            "this service is managed by a clusterware, thus direct service manipulation is disabled. \
             the --cluster option circumvent this safety net.",
        );
        return Err(Error::Reported);
    }
    Ok(())
}

/// The action lock of the service, if the action takes one. `Ok(None)`: a sync that runs already; not a failure.
pub fn lock(name: &str, host: &Host, log: &Logger, info: &Info, options: &Options) -> Result<Option<Option<Lock>>> {
    // presync and postsync have nothing to protect: a peer that waits for their end is not held up
    let free = matches!(info.id, Id::PreSync | Id::PostSync);
    if free || !matches!(info.class, Class::Config | Class::Run | Class::Sync) || options.dry_run {
        return Ok(Some(None));
    }
    let path = host.paths.var.join("lock").join(name);
    let background_sync = matches!(info.id, Id::SyncAll | Id::SyncDrp | Id::SyncNodes | Id::SyncUpdate);
    if background_sync {
        // two schedulers, or a long transfer: say so and leave it at that
        return match Lock::try_for(&path, Duration::from_secs(1).min(options.waitlock))? {
            Ok(lock) => Ok(Some(Some(lock))),
            Err(held) if options.cron || !held.is_doing(STATE_CHANGES) => {
                if !options.cron {
                    log.info(format!("{} action is already running ({held})", info.name.replace('_', "")));
                }
                Ok(None)
            }
            // a start or stop will be over soon: a sync asked for by hand is not dropped for it
            Err(_) => wait(name, log, info, options, &path),
        };
    }
    wait(name, log, info, options, &path)
}

/// Actions whose lock a sync waits for, and that make a node unfit to be taken over from.
pub const STATE_CHANGES: &[&str] = &[
    "start",
    "stop",
    "restart",
    "boot",
    "shutdown",
    "startstandby",
    "switch",
    "takeover",
    "giveback",
    "handover",
    "prepare",
    // parts of a start mount and take authority as well
    "startip",
    "stopip",
    "startdisk",
    "stopdisk",
    "startvg",
    "stopvg",
    "startloop",
    "stoploop",
    "startpool",
    "stoppool",
    "startfs",
    "mount",
    "stopfs",
    "umount",
    "startshare",
    "stopshare",
    "startcontainer",
    "stopcontainer",
    "startapp",
    "stopapp",
    "resource_monitor",
];

fn wait(name: &str, log: &Logger, info: &Info, options: &Options, path: &Path) -> Result<Option<Option<Lock>>> {
    match Lock::try_for(path, options.waitlock)? {
        Ok(lock) => Ok(Some(Some(lock))),
        Err(held) => {
            log.error(format!(
                "{} not done: service {name} is locked by {held}. waited {} s (--waitlock)",
                info.name.replace('_', " "),
                options.waitlock.as_secs()
            ));
            Err(Error::Reported)
        }
    }
}

/// What is being done with a service at this moment that starts or stops it.
pub fn busy(host: &Host, name: &str) -> Option<String> {
    Lock::holder(&host.paths.var.join("lock").join(name))?.doing(STATE_CHANGES)
}

/// What keeps `peer` from starting the service, of what is done with it here: a switch to that very node does not.
pub fn busy_for(host: &Host, name: &str, peer: &str) -> Option<String> {
    let held = Lock::holder(&host.paths.var.join("lock").join(name))?;
    let words: Vec<String> = held.command.as_deref().unwrap_or_default().split(' ').map(str::to_lowercase).collect();
    let to_peer =
        words.windows(2).any(|w| matches!(w, [flag, to] if flag == "--to" && to == peer)) || words.contains(&format!("--to={peer}"));
    held.doing(STATE_CHANGES).filter(|doing| doing != "switch" || !to_peer)
}

/// Ends what a peer is sending to this node for the service, before a start: nothing may be written below a
/// running service. The locks keep late senders out until the caller drops them.
pub fn end_receivers(service: &Service, host: &Host, log: &Logger, options: &Options, copies: &Copies) -> Result<Vec<Lock>> {
    let mut locks = Vec::new();
    for res in service.resources.iter().filter(|r| r.sync().is_some()) {
        let path = host.paths.var.join("lock").join(format!("{}.recv.{}", service.name, res.rid));
        // of data, a lock that nobody has taken yet is taken as well: the first sender may come at this moment
        let data = copies.replicated() && copies.rids.contains(&res.rid);
        if options.dry_run || !(path.exists() || data) {
            continue;
        }
        let held = match Lock::try_for(&path, Duration::ZERO)? {
            Ok(lock) => {
                locks.push(lock);
                continue;
            }
            Err(held) => held,
        };
        let then = match res.sync().is_some_and(crate::sync::SyncDriver::staged) {
            true => "what is not whole of it is dropped",
            false => "the copy may be incomplete",
        };
        log.warning(format!("a peer is sending {} to this node ({held}): ending it before the start. {then}", res.rid));
        held.signal(Signal::SIGTERM);
        let lock = match Lock::try_for(&path, RECEIVER_GRACE)? {
            Ok(lock) => lock,
            Err(held) => {
                held.signal(Signal::SIGKILL);
                Lock::wait(&path, RECEIVER_GRACE)?
            }
        };
        locks.push(lock);
    }
    Ok(locks)
}

/// How long a receiver may take to end.
const RECEIVER_GRACE: Duration = Duration::from_secs(10);

/// Refuses when a service that must not share the node is not down here.
pub fn affinity(service: &Service, host: &Host, log: &Logger, options: &Options) -> Result<()> {
    for other in &service.anti_affinity {
        if !host.paths.env_file(other).exists() || *other == service.name {
            continue;
        }
        let avail = build::load(host, other).map_or(Status::Undef, |o| status::evaluate(&o, host, log, status::Depth::NoSync).avail);
        if avail == Status::Down {
            continue;
        }
        if options.ignore_affinity {
            log.error(format!("force start of {} on the same node as {other} despite anti-affinity settings", service.name));
        } else {
            log.error(format!("refuse to start {} on the same node as {other}", service.name));
            return Err(Error::Reported);
        }
    }
    Ok(())
}
