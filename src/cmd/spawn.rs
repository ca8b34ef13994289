//! Starts one process: its user, group, death signal, environment. The only file with unsafe code:
//! what runs between fork and exec, and pidfd_open.
#![allow(unsafe_code)]

use super::Cmd;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{self, Gid, Uid, User};
use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Folders of system programs, looked into after those of `PATH`.
const SYSTEM_PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/sbin", "/bin", "/usr/sbin", "/usr/bin"];

/// The process group of a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// A new one; ends with us.
    Own,
    /// That of an earlier stage; ends with us.
    Join(i32),
    /// Ours: the terminal belongs to it; ends with us.
    Callers,
    /// A session of its own: outlives us.
    Session,
}

/// The three standard streams of a new process.
pub(super) struct Streams {
    pub(super) stdin: Stdio,
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

/// Whom a process runs as, looked up before the fork: the lookup is not safe after it.
struct Identity {
    user: User,
    groups: Vec<Gid>,
}

/// What was looked up and holds for one stage.
pub(super) struct Ready<'a> {
    cmd: &'a Cmd,
    program: PathBuf,
    path: String,
    identity: Option<Identity>,
}

/// Finds the program and the user, so that no stage of a pipe is started when another cannot be.
pub(super) fn prepare(cmd: &Cmd) -> Result<Ready<'_>, String> {
    let name = cmd.argv.first().ok_or("empty command")?;
    let path = search_path();
    let cwd = cmd.cwd.clone().unwrap_or_else(|| PathBuf::from("."));
    let program = which::which_in(name, Some(&path), cwd).map_err(|_| super::not_found(name))?;
    let identity = cmd.user.as_deref().map(identity).transpose()?;
    Ok(Ready { cmd, program, path, identity })
}

fn identity(name: &str) -> Result<Identity, String> {
    let unknown = || format!("user {name} does not exist");
    let user = User::from_name(name).map_err(|e| format!("cannot look up user {name}: {e}"))?.ok_or_else(unknown)?;
    let c_name = CString::new(name).map_err(|_| unknown())?;
    let groups = unistd::getgrouplist(&c_name, user.gid).map_err(|e| format!("cannot look up the groups of {name}: {e}"))?;
    Ok(Identity { user, groups })
}

/// `PATH` with the folders of system programs after it.
pub(super) fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<&str> = own.split(':').filter(|f| !f.is_empty()).collect();
    for folder in SYSTEM_PATH {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

/// Starts it. Numbers and messages of tools are parsed, so they speak C. Unless it gets a session of
/// its own, it is sent SIGTERM when the calling *thread* ends, whatever ended that.
pub(super) fn spawn(ready: Ready, streams: Streams, group: Group) -> Result<Child, String> {
    let Ready { cmd, program, path, identity } = ready;
    let name = cmd.argv.first().map_or("", String::as_str);
    #[allow(clippy::disallowed_methods)] // the one place
    let mut command = Command::new(&program);
    command.arg0(name).args(cmd.argv.iter().skip(1));
    command.env("PATH", path).env("LANG", "C").env("LC_ALL", "C");
    if let Some(Identity { user, .. }) = &identity {
        command.env("USER", &user.name).env("LOGNAME", &user.name).env("HOME", &user.dir);
    }
    command.envs(cmd.env.iter().map(|(k, v)| (k, v)));
    if let Some(cwd) = &cmd.cwd {
        command.current_dir(cwd);
    }
    match group {
        Group::Own => _ = command.process_group(0),
        Group::Join(leader) => _ = command.process_group(leader),
        Group::Callers | Group::Session => {}
    }
    let parent = unistd::getpid();
    let ids = identity.map(|i| (i.groups, i.user.gid, i.user.uid));
    let between = move || {
        if let Some((groups, gid, uid)) = &ids {
            become_user(groups, *gid, *uid)?;
        }
        if group == Group::Session {
            unistd::setsid()?;
            return Ok(());
        }
        // after the change of user, which clears it; and the parent may be gone already
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        if unistd::getppid() == parent { Ok(()) } else { Err(nix::Error::ESRCH.into()) }
    };
    // SAFETY: the closure only makes system calls on values made before the fork; it allocates nothing.
    unsafe { command.pre_exec(between) };
    command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr);
    command.spawn().map_err(|e| refusal(&program, cmd.cwd.as_deref(), &e))
}

fn become_user(groups: &[Gid], gid: Gid, uid: Uid) -> std::io::Result<()> {
    if uid == unistd::geteuid() && !uid.is_root() {
        return Ok(()); // we are that user and have no right to set groups
    }
    unistd::setgroups(groups)?;
    unistd::setgid(gid)?;
    unistd::setuid(uid)?;
    Ok(())
}

fn refusal(program: &Path, cwd: Option<&Path>, e: &std::io::Error) -> String {
    match cwd.filter(|d| !d.is_dir()) {
        Some(folder) => format!("cannot run {} in {}: no such folder", program.display(), folder.display()),
        None => format!("cannot run {}: {e}", program.display()),
    }
}

/// A descriptor that becomes readable when the child ends. `None` where the kernel has no such thing (before 5.3).
pub(super) fn pidfd(child: &Child) -> Option<OwnedFd> {
    let pid = libc::pid_t::try_from(child.id()).ok()?;
    // SAFETY: the call takes two integers; the descriptor it returns is new, so nobody else owns it.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: see above.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}
