//! The other nodes: each is reached once per command, over one ssh connection that all its commands share.

use crate::cmd::system::{Control, SystemRunner, interrupted};
use crate::cmd::{Cmd, End, Output, Remote};
use crate::config::nodeconf::NodeConf;
use crate::host::cipher;
use crate::host::paths::Paths;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The ssh words when node.conf says nothing else. The keepalives end a connection whose other end is gone.
pub const SSH: [&str; 14] = [
    "/usr/bin/ssh",
    "-q",
    "-o",
    "StrictHostKeyChecking=accept-new",
    "-o",
    "ForwardX11=no",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=15",
    "-o",
    "ServerAliveCountMax=3",
];

/// How long a peer may take to let us in and to answer, when node.conf does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options that every connection has, as `svcmgr recv` on the peer counts on the keepalives.
const ALWAYS: [(&str, &str); 3] = [("BatchMode=", "yes"), ("ServerAliveInterval=", "15"), ("ServerAliveCountMax=", "3")];

/// How a service is on another node, as far as this command has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It answers, and nothing of the service is active there.
    Down,
    /// It answers, and something is: what it says.
    Active(String),
    /// It does not answer, or does not know the service: why.
    Silent(String),
    /// It does not answer, and the cluster manager, which has seen to it, asks for the start.
    Vouched,
}

/// Reaches peers. Each answer, also a refusal, holds for the whole command.
pub struct Peers {
    ssh: Vec<String>,
    /// Keep a connection open and share it; off in tests that play transcripts.
    share: bool,
    conf: NodeConf,
    patience: Duration,
    reached: Reached,
}

/// The peers asked for so far.
#[derive(Default)]
struct Reached {
    known: Mutex<HashMap<String, Slot>>,
    /// Those that were given up, with the reason.
    silent: Mutex<HashMap<String, String>>,
    /// Names for sockets so far.
    sockets: AtomicUsize,
    /// No more waiting for peers that are silent.
    waited: AtomicBool,
    /// Those that the command's services will need, until somebody asks them all.
    expected: Mutex<Vec<String>>,
    /// What the peers have said of services, by service and peer.
    standing: Mutex<HashMap<(String, String), Standing>>,
    /// Of the sockets.
    folder: OnceLock<Option<PathBuf>>,
}

/// The one answer about a peer, there once somebody has asked.
type Slot = Arc<OnceLock<Result<Line, String>>>;

/// A peer that was reached. Holds its connection.
struct Line {
    remote: Remote,
    master: Option<Master>,
}

impl Peers {
    /// `[node] ssh` of node.conf is the program and its options ([`SSH`] when it is not set; batch mode
    /// and keepalives are added when it lacks them), `[node] ruser` who one is on the peers.
    pub fn new(conf: &NodeConf) -> Self {
        let words = conf.get("node", "ssh").unwrap_or_default();
        let patience = conf.peer_timeout().unwrap_or(PATIENCE);
        Self { conf: conf.clone(), patience, ..Self::with(words.split_whitespace().map(str::to_owned).collect(), true) }
    }

    fn with(mut ssh: Vec<String>, share: bool) -> Self {
        if ssh.is_empty() {
            ssh = SSH.map(Into::into).to_vec();
        }
        for (option, value) in ALWAYS {
            if !ssh.iter().any(|w| w.contains(option)) {
                ssh.extend(["-o".into(), format!("{option}{value}")]);
            }
        }
        Self { conf: NodeConf::default(), patience: PATIENCE, ssh, share, reached: Reached::default() }
    }

    /// How long one call to a peer may take: `[node] peer_timeout`, 10 s.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// `USER@NODE`.
    pub fn login(&self, node: &str) -> String {
        format!("{}@{node}", self.conf.ruser(node))
    }

    /// The words that run svcmgr as root on `node`, which has the same layout of files.
    pub fn svcmgr(&self, paths: &Paths, node: &str) -> Vec<String> {
        let sudo = (self.conf.ruser(node) != "root").then(|| "sudo".to_owned());
        sudo.into_iter().chain(paths.remote_svcmgr()).collect()
    }

    /// Without shared connections: each command is an ssh of its own, and nothing is run to find out
    /// whether the peer is there.
    pub fn plain(ssh: Vec<String>) -> Self {
        Self::with(ssh, false)
    }

    /// How to run commands on `node`. Takes at most 8 seconds the first time; threads that ask for the
    /// same peer wait for the one answer, other peers are not held up.
    pub fn connect(&self, node: &str) -> Result<Remote, String> {
        if let Some(why) = self.reached.silent.lock().ok().and_then(|silent| silent.get(node).cloned()) {
            return Err(why);
        }
        let slot = {
            let mut known = self.reached.known.lock().unwrap_or_else(PoisonError::into_inner);
            let index = self.reached.sockets.fetch_add(1, Ordering::SeqCst);
            (known.entry(node.to_owned()).or_default().clone(), index)
        };
        let line = slot.0.get_or_init(|| match self.conf.ruser(node).as_str() {
            "root" => self.reach(node, slot.1), // who we are
            user => self.reach(&format!("{user}@{node}"), slot.1),
        });
        line.as_ref().map(|l| l.remote.clone()).map_err(Clone::clone)
    }

    /// Remembers how `service` is on `node`, until this command ends or hears something else.
    pub fn heard(&self, service: &str, node: &str, standing: Standing) {
        if let Ok(mut all) = self.reached.standing.lock() {
            all.insert((service.into(), node.into()), standing);
        }
    }

    /// How `service` is on `node`; `None`: nobody has asked.
    pub fn standing(&self, service: &str, node: &str) -> Option<Standing> {
        self.reached.standing.lock().ok()?.get(&(service.to_owned(), node.to_owned())).cloned()
    }

    /// Who was not reached may be asked again.
    pub fn forget_silent(&self) {
        if let (Ok(mut known), Ok(mut silent)) = (self.reached.known.lock(), self.reached.silent.lock()) {
            silent.clear();
            known.retain(|_, slot| slot.get().is_some_and(Result::is_ok));
        }
    }

    /// Peers that are silent have been waited for long enough, for all services of the command.
    pub fn wait_no_more(&self) {
        self.reached.waited.store(true, Ordering::SeqCst);
    }

    /// They have.
    pub fn waited(&self) -> bool {
        self.reached.waited.load(Ordering::SeqCst)
    }

    /// All peers of the services that the command is about: the first who asks any of them asks all of them, as
    /// silent ones are waited for once then, not one after the other.
    pub fn expect(&self, nodes: Vec<String>) {
        if let Ok(mut expected) = self.reached.expected.lock() {
            *expected = nodes;
        }
    }

    /// Those that nobody has asked yet: the caller does.
    pub fn expected(&self) -> Vec<String> {
        self.reached.expected.lock().map(|mut nodes| std::mem::take(&mut *nodes)).unwrap_or_default()
    }

    /// For the rest of the command nobody asks `node` again: it has let us in, and does not answer.
    pub fn give_up(&self, node: &str, why: &str) {
        if let Ok(mut silent) = self.reached.silent.lock() {
            silent.insert(node.to_owned(), why.to_owned());
        }
    }

    /// The connection to `node` was there and has ended: the peer, or the way to it, is gone.
    pub fn lost(&self, node: &str) -> bool {
        let slot = self.reached.known.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        let answer = slot.as_ref().and_then(|s| s.get()).and_then(|line| line.as_ref().ok());
        answer.and_then(|line| line.master.as_ref()).is_some_and(|master| master.outcome.get().is_some())
    }

    fn reach(&self, host: &str, index: usize) -> Result<Line, String> {
        let plain = Line { remote: Remote { host: host.into(), ssh: self.ssh.clone() }, master: None };
        if !self.share {
            return Ok(plain);
        }
        let Some(folder) = self.reached.folder.get_or_init(socket_folder) else { return Ok(plain) };
        let socket = folder.join(index.to_string());
        let master = Master::start(&self.ssh, host, &socket);
        match master.settle(&socket, self.patience * 8 / 10)? {
            true => {
                let path = socket.display().to_string();
                let ssh = unshared(&self.ssh).into_iter().chain(["-S".into(), path]).collect();
                Ok(Line { remote: Remote { host: host.into(), ssh }, master: Some(master) })
            }
            // it ended well and left no socket: it is not OpenSSH, or its options forbid sharing
            false => Ok(plain),
        }
    }
}

impl Drop for Reached {
    fn drop(&mut self) {
        // the masters first: they remove their sockets
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(Some(folder)) = self.folder.get() {
            _ = fs::remove_dir_all(folder);
        }
    }
}

/// Without options that share connections in a way of their own: ssh takes the first word it hears, and a connection
/// that persists would be left over by each command.
fn unshared(ssh: &[String]) -> Vec<String> {
    let sharing = |w: &str| ["ControlMaster", "ControlPersist", "ControlPath"].iter().any(|o| w.starts_with(o));
    let mut words: Vec<String> = Vec::new();
    for word in ssh {
        if sharing(word) && words.last().is_some_and(|w| w == "-o") {
            words.pop();
        } else if !word.strip_prefix("-o").is_some_and(sharing) {
            words.push(word.clone());
        }
    }
    words
}

/// The ssh that holds a connection.
struct Master {
    control: Arc<Control>,
    /// Lives as long as the connection: the kernel sends the child's death signal when the *thread* that
    /// started it ends.
    thread: Option<JoinHandle<()>>,
    outcome: Arc<OnceLock<Output>>,
}

impl Master {
    fn start(ssh: &[String], host: &str, socket: &Path) -> Self {
        let path = socket.display().to_string();
        // -q hides why a peer cannot be reached
        let words: Vec<String> = unshared(ssh).into_iter().filter(|w| w != "-q").collect();
        let order = cipher::order(&words, host).into_iter().flat_map(|order| ["-o".into(), format!("Ciphers={order}")]);
        let own =
            ["-o", "LogLevel=ERROR", "-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-S", &path, "-N", host].map(str::to_owned);
        let cmd = Cmd::probe(words.into_iter().chain(order).chain(own)).unbounded();
        let (control, outcome) = (Arc::new(Control::through_interrupts()), Arc::new(OnceLock::new()));
        let (held, told) = (control.clone(), outcome.clone());
        let thread = std::thread::spawn(move || _ = told.set(SystemRunner.run_held(&cmd, &held)));
        Self { control, thread: Some(thread), outcome }
    }

    /// Waits until the connection can be shared (true), or is known not to be shareable (false).
    fn settle(&self, socket: &Path, limit: Duration) -> Result<bool, String> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if fs::metadata(socket).is_ok_and(|m| m.file_type().is_socket()) {
                return Ok(true);
            }
            if interrupted() {
                return Err("interrupted by signal".into());
            }
            if let Some(output) = self.outcome.get() {
                return match output.stages.first() {
                    Some(stage) if stage.ok() => Ok(false),
                    Some(stage) => Err(stage_words(&stage.end, &stage.stderr)),
                    None => Ok(false),
                };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("no answer within {} s", limit.as_secs()))
    }
}

/// Why ssh gave up, in its own words if it has any.
fn stage_words(end: &End, stderr: &str) -> String {
    match (stderr.trim().lines().last(), end) {
        (Some(line), _) => line.trim().to_owned(),
        (None, End::NotRun(why)) => why.clone(),
        (None, End::Exited(code)) => format!("ssh: exit status {code}"),
        (None, end) => format!("ssh: {end:?}"),
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// A folder of our own for sockets, with a short path (a socket's path has at most 107 bytes, and ssh
/// adds 17 for a moment). Folders that killed svcmgrs left behind are removed.
fn socket_folder() -> Option<PathBuf> {
    let base = ["/run", "/tmp"].map(Path::new).into_iter().find(|d| nix::unistd::access(*d, nix::unistd::AccessFlags::W_OK).is_ok())?;
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix("svcmgr-ssh.")).and_then(|n| n.split('.').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            _ = fs::remove_dir_all(entry.path());
        }
    }
    let pid = std::process::id();
    (0..100).map(|n| base.join(format!("svcmgr-ssh.{pid}.{n}"))).find(|folder| fs::DirBuilder::new().mode(0o700).create(folder).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A stand-in for ssh: a script that notes each call.
    fn fake(dir: &Path, body: &str) -> Vec<String> {
        let path = dir.join("ssh");
        fs::write(&path, format!("#!/bin/sh\ncase $* in *-G*) exit 1;; esac\necho \"$*\" >> {}\n{body}\n", dir.join("calls").display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        vec![path.display().to_string(), "-q".into()]
    }

    fn calls(dir: &Path) -> usize {
        fs::read_to_string(dir.join("calls")).unwrap_or_default().lines().count()
    }

    #[test]
    fn a_stand_in_without_sockets_is_used_plainly() {
        let dir = tempfile::tempdir().unwrap();
        let ssh = fake(dir.path(), "exit 0");
        let peers = Peers::with(ssh.clone(), true);
        assert_eq!(peers.connect("deb2"), Ok(Remote { host: "deb2".into(), ssh: peers.ssh.clone() }));
        assert_eq!(peers.connect("deb2").unwrap().ssh[..2], ssh);
        assert_eq!(peers.ssh[2..4], ["-o", "BatchMode=yes"], "what a setting lacks is added");
        assert_eq!(calls(dir.path()), 1, "asked once");
    }

    #[test]
    fn options_that_share_connections_otherwise_are_left_out() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let own = words("/usr/bin/ssh -q -o ControlMaster=auto -oControlPath=/run/x -o Port=22 -o ControlPersist=60 -o Control=1");
        assert_eq!(unshared(&own), words("/usr/bin/ssh -q -o Port=22 -o Control=1"));
        assert_eq!(unshared(&SSH.map(str::to_owned)), SSH);
    }

    #[test]
    fn an_unreachable_peer_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let peers = Peers::with(fake(dir.path(), "echo 'no route to host' >&2; exit 255"), true);
        let answers: Vec<_> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4).map(|_| s.spawn(|| peers.connect("deb2"))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(answers, vec![Err("no route to host".to_owned()); 4]);
        assert_eq!(calls(dir.path()), 1);
    }

    #[test]
    fn a_connection_that_ended_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let go = dir.path().join("go");
        let body = format!(
            "while [ $# -gt 0 ]; do [ \"$1\" = -S ] && sock=$2; shift; done\n\
             exec perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die;\n\
             select undef, undef, undef, 0.01 until -e $ARGV[1]' $sock {}",
            go.display()
        );
        let peers = Peers::with(fake(dir.path(), &body), true);
        peers.connect("deb2").unwrap();
        assert!(!peers.lost("deb2"));
        fs::write(go, "").unwrap();
        let begun = Instant::now();
        while !peers.lost("deb2") {
            assert!(begun.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_connection_ends_with_us_and_leaves_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        // makes the socket that -S names, as a real master does, and stays
        let body = "while [ $# -gt 0 ]; do [ \"$1\" = -S ] && sock=$2; shift; done\n\
                    exec perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die; sleep 60' $sock";
        let peers = Peers::with(fake(dir.path(), body), true);
        let remote = peers.connect("deb2").unwrap();
        let socket = PathBuf::from(remote.ssh.last().unwrap());
        assert!(socket.exists() && socket.as_os_str().len() < 90);
        let begun = Instant::now();
        assert!(!peers.lost("deb2") && !peers.lost("deb3"));
        drop(peers);
        assert!(!socket.parent().unwrap().exists());
        assert!(begun.elapsed() < Duration::from_secs(2), "ended at once");
    }
}
