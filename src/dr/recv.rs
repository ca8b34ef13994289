//! `svcmgr -s NAME recv --rid RID --epoch N -- COMMAND…`: the receiving end of every transfer. Lets the
//! writer in after the gate's checks, and ends it with the connection: a writer whose sender is gone is a danger.

use super::common::{self, Instance};
use super::receipt::{self, Admitted};
use super::{images, own_files};
use crate::action::authority::Desk;
use crate::action::{data, sync};
use crate::authority::{Here, receive};
use crate::cmd::system::{Control, SystemRunner};
use crate::cmd::{Cmd, End, Runner, Sink};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::lock::Lock;
use crate::log::Logger;
use crate::service::{Service, build};
use crate::state::gate::Question;
use crate::state::replica::State;
use crate::sync::Effect;
use crate::sync::rsync::dst_snap;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a sender may be silent. Its ssh says something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often the standard streams and the parent are.
const TICK: Duration = Duration::from_millis(500);
/// A sender killed a moment ago: its writer is about to end.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Runs `argv` with our standard streams; its exit status. Nothing of it is left when this returns.
pub fn serve(host: &Host, log: &Logger, name: &str, rid: &str, epoch: u64, argv: &[String]) -> Result<u8> {
    if rid.is_empty() || argv.is_empty() {
        return Err(Error::Usage("recv takes --rid RID --epoch N -- COMMAND…".into()));
    }
    let _lock = Lock::try_for(&host.paths.var.join("lock").join(format!("{name}.recv.{rid}")), LOCK_WAIT)?
        .map_err(|held| Error::text(format!("{rid} of {name} is being received already on {}: {held}", host.node)))?;
    let visit = images::admit(host, log, name, rid, argv)?;
    let Admitted { argv, filter, effect } = match &visit {
        Some(visit) => Admitted { argv: visit.argv.clone(), filter: Vec::new(), effect: Effect::Looks },
        None => allowed(host, log, name, rid, epoch, argv)?,
    };
    if argv.is_empty() {
        return applied(host, log, name, rid).map(|()| 0);
    }
    make_cache(host, rid)?;
    let before = own_files::before(host, name);
    let writer = Cmd::change(argv).unbounded().sink(Sink::Inherit);
    let cmd = if filter.is_empty() { writer } else { Cmd::change(filter).unbounded().sink(Sink::Inherit).pipe(writer) };
    let control = Control::default();
    let (done, over) = mpsc::channel();
    let output = std::thread::scope(|scope| {
        // what is here already is made whole without its sender
        if !matches!(effect, Effect::Applies(_)) {
            let control = &control;
            scope.spawn(move || watch(control, &over));
        }
        let output = SystemRunner.run_held(&cmd, &control);
        drop(done);
        output
    });
    if let Some(visit) = visit {
        visit.end(host, log);
    }
    if effect == Effect::Stages {
        staged(host, log, name, rid)?;
    }
    // of a pipe the first stage that failed
    match output.failure().or(output.stages.last()).map(|s| &s.end) {
        Some(End::Exited(code)) => {
            if *code == 0 && rid == "sync#i0" {
                own_files::arrived(host, log, name, &before);
            }
            if *code == 0 {
                ended(host, log, name, rid, &effect)?;
            }
            Ok(u8::try_from(*code).unwrap_or(1))
        }
        Some(End::NotRun(why)) => Err(Error::text(why.clone())),
        end => {
            let why = match end {
                Some(End::Signaled(signal)) if !control.stopped() => format!("signal {signal} has killed its program there"),
                _ => "the sender is gone".to_owned(),
            };
            Err(Error::text(format!("the transfer of {rid} was ended on {}: {why}", host.node)))
        }
    }
}

/// The gate once more: what it saw may have changed since. Of data, this node knows before the first byte that they
/// are not whole.
fn allowed(host: &Host, log: &Logger, name: &str, rid: &str, epoch: u64, argv: &[String]) -> Result<Admitted> {
    let as_told = Admitted::as_told(argv);
    if common::is_internal(rid) {
        return Ok(as_told); // also the first contact, before there is a service
    }
    let service = build::load(host, name).map_err(|refusal| Error::text(refusal.lines.join("; ")))?;
    let here = Instance::look(host, log, &service);
    let mut desk = Desk::load(&service, host, log, false, false);
    let staged = service.find(rid).filter(|r| !r.disable).and_then(|res| res.sync().filter(|d| d.target().is_some()).map(|d| (res, d)));
    let own =
        staged.and_then(|(_, d)| Some(d.target()?.place(sync::side_of(&desk.here, d, &host.node)))).filter(|p| !p.starts_with("/dev/"));
    let dst = own.or(destination(argv));
    let refused = here.in_the_way(None, rid).or_else(|| {
        let dstfs = service.config.section(rid).text("dstfs");
        dst.and_then(|dst| here.not_mounted(dstfs, dst).or_else(|| here.below_unmounted(dst)))
    });
    if let Some(why) = refused {
        return Err(Error::text(why));
    }
    if staged.is_none() && (!desk.here.copies.replicated() || !desk.here.copies.rids.iter().any(|r| r == rid)) {
        return Ok(as_told);
    }
    // whoever holds authority in this epoch is the sender: the gate has let nobody else in. True: from another copy
    let crosses = |here: &Here| {
        let holder = here.holder().map_err(Error::Text)?;
        let question = Question { node: holder.node.clone(), copy: Some(holder.copy), epoch, ..Question::default() };
        match receive::refusal(here, &question, rid) {
            Some(refusal) => Err(Error::text(refusal.to_string())),
            None if holder.epoch != epoch => Err(Error::text(format!("{} does not know epoch {epoch} of {name}", here.node))),
            None => Ok(!here.holds()),
        }
    };
    if let Some((res, driver)) = staged {
        return receipt::admit(&mut desk, res, driver, argv, crosses);
    }
    if crosses(&desk.here)? {
        // what the records do not know the data tell
        desk.ask_data_of(&[rid.to_owned()], None)?;
    }
    let kept = if crosses(&desk.here)? { keep(&service, host, log, &desk.here, rid, dst)? } else { None };
    desk.change(|here| {
        if crosses(here)? {
            here.arriving(rid, dst, kept);
        }
        Ok(as_told)
    })?
}

/// What was put beside the replica, or a part of it, is there.
fn staged(host: &Host, log: &Logger, name: &str, rid: &str) -> Result<()> {
    let service = build::load(host, name).map_err(|refusal| Error::text(refusal.lines.join("; ")))?;
    receipt::staged(&Desk::load(&service, host, log, false, false), rid)
}

/// What has arrived is made the replica by the driver itself, without its sender.
fn applied(host: &Host, log: &Logger, name: &str, rid: &str) -> Result<()> {
    let service = build::load(host, name).map_err(|refusal| Error::text(refusal.lines.join("; ")))?;
    data::finish(&mut Desk::load(&service, host, log, false, false), rid)
}

/// What was written is on record when the sender hears that it is over.
fn ended(host: &Host, log: &Logger, name: &str, rid: &str, effect: &Effect) -> Result<()> {
    if !matches!(effect, Effect::Applies(_)) {
        return Ok(());
    }
    let service = build::load(host, name).map_err(|refusal| Error::text(refusal.lines.join("; ")))?;
    let Some(res) = service.find(rid) else { return Ok(()) };
    receipt::ended(&mut Desk::load(&service, host, log, false, false), res, effect)
}

/// With `dst_snap`: a snapshot of what is here, if it is whole. Of what is not, the one made before is as good as ever.
fn keep(service: &Service, host: &Host, log: &Logger, here: &Here, rid: &str, dst: Option<&str>) -> Result<Option<String>> {
    let section = service.config.section(rid);
    let data = here.data(rid);
    let whole = !matches!(data.state, Some(State::InProgress | State::Torn | State::None) | None);
    let (Some(res), Some(dst)) = (service.find(rid).filter(|r| r.rtype == "sync.rsync"), dst.filter(|_| whole)) else { return Ok(None) };
    let cx = service.cx(host, log, res, false);
    if dst_snap::wanted(&section).map_err(Error::Text)? {
        return dst_snap::keep(&cx, &section, dst);
    }
    // nobody wants it any more
    data.kept.map_or(Ok(()), |name| dst_snap::drop_kept(&cx, &name)).map(|()| None)
}

/// What the writer writes to, if we know its words: the last one of `rsync --server …`.
fn destination(argv: &[String]) -> Option<&str> {
    let rsync = argv.first().is_some_and(|w| w == "rsync") && argv.get(1).is_some_and(|w| w == "--server");
    argv.last().filter(|_| rsync).map(String::as_str)
}

/// The folder in which files of other nodes' systems are kept aside; rsync makes only the last part of a path.
fn make_cache(host: &Host, rid: &str) -> Result<()> {
    let cache = host.paths.var.join("cache");
    if common::is_internal(rid) && rid != "sync#i0" {
        std::fs::create_dir_all(&cache).map_err(Error::io("create", &cache))?;
    }
    Ok(())
}

/// Ends the writer when the connection is gone. Watches until the other end of `done` is dropped.
fn watch(control: &Control, done: &mpsc::Receiver<()>) {
    let parent = nix::unistd::getppid();
    let mut looked = Instant::now();
    while done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        // a closed stdin is no sign: it is how a sender says that this was all
        let closed = nobody_reads(&std::io::stdout());
        let silent = looked.elapsed() >= LOOK && {
            looked = Instant::now();
            sender_is_silent()
        };
        if closed || silent || nix::unistd::getppid() != parent {
            control.stop();
            if silent {
                end_session(parent);
            }
            return;
        }
    }
}

/// Ends the sshd that serves the dead connection: by itself it would wait a quarter of an hour for TCP to
/// give up. The sender's other commands of the same connection are as dead as this one.
fn end_session(parent: Pid) {
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if name.starts_with("sshd") && nix::unistd::getppid() == parent {
        _ = kill(parent, Signal::SIGTERM);
    }
}

/// The other end of a pipe or socket that we write to is closed.
fn nobody_reads(stream: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let events = match poll(&mut fds, PollTimeout::ZERO) {
        Ok(n) if n > 0 => fds.first().and_then(PollFd::revents),
        _ => None,
    };
    events.is_some_and(|e| e.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}

/// The TCP connection of our ssh has been silent for too long: a cut cable, a frozen sender.
fn sender_is_silent() -> bool {
    // sshd(8): SSH_CONNECTION is "client port server port"
    let Ok(connection) = std::env::var("SSH_CONNECTION") else { return false };
    let words: Vec<&str> = connection.split(' ').collect();
    let [client, client_port, _, server_port] = words.as_slice() else { return false };
    let filter = format!("sport = :{server_port} and dport = :{client_port}");
    let out = SystemRunner.run(&Cmd::probe(["ss", "-tinH", &filter]).timeout(Duration::from_secs(5)));
    out.ok() && out.text().contains(client) && silent(&out.text())
}

/// `ss -ti`: milliseconds since data came, were sent, were acknowledged. A sender's ssh speaks when it has
/// heard nothing for 15 s; so its silence counts only if we were silent as well, or it does not take what we say.
fn silent(text: &str) -> bool {
    let age = |key: &str| {
        let ages = text.split_whitespace().filter_map(|w| w.strip_prefix(key)?.strip_prefix(':')?.parse().ok());
        ages.map(Duration::from_millis).min() // two connections of the same ports: the younger
    };
    let old = |key: &str| age(key).is_some_and(|a| a > SILENCE);
    old("lastrcv") && (old("lastsnd") || old("lastack"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_when_both_are_silent_or_nothing_is_acknowledged() {
        let line = |snd: u32, rcv: u32, ack: u32| {
            format!("ESTAB 0 0 10.0.0.2:22 10.0.0.1:5\n\t cubic lastsnd:{snd} lastrcv:{rcv} lastack:{ack} pacing_rate 1Mbps\n")
        };
        assert!(!silent(&line(100, 100, 100)));
        assert!(!silent(&line(100, 50_000, 100)), "we speak and it listens");
        assert!(silent(&line(50_000, 50_000, 100)), "frozen: its kernel still acknowledges");
        assert!(silent(&line(100, 50_000, 50_000)), "cut");
        assert!(!silent(""));
    }

    #[test]
    fn the_destination_of_an_rsync() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(destination(&words("rsync --server -vlHogDtprxe.iLsfxCIvu --delete . /srv/d")), Some("/srv/d"));
        assert_eq!(destination(&words("dd of=/dev/x")), None);
    }

    #[test]
    fn a_closed_reader_is_seen() {
        let (read, write) = nix::unistd::pipe().unwrap();
        assert!(!nobody_reads(&write));
        drop(read);
        assert!(nobody_reads(&write));
    }
}
