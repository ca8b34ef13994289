//! The side of the guest: runs the scenarios, and what they have in hands: two nodes, volumes, a switch for the power.

use crate::host::SLOTS;
use crate::{all, node};
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

/// The names of the nodes; the first has /dev/vdb, the second /dev/vdc, both have /dev/vdd.
pub const NODES: [&str; 2] = ["deb1", "deb2"];
/// Those that are up from the beginning, and one that is booted when somebody asks for it.
const ALL: [&str; 3] = ["deb1", "deb2", "deb3"];

/// What stands before shell code on a node.
const PREFIX: &str = "export PATH=/opt/opensvc/bin:/opt/opensvc/etc:$PATH HOME=/root NO_COLOR=1 TZ=UTC; ";

/// A scenario (a part of one) may take so long; the guest is slow, and slower while the host is busy.
const LIMIT: Duration = Duration::from_secs(700);

/// The virtual machine.
pub struct Guest {
    share: PathBuf,
    name: &'static str,
    part: usize,
}

/// One of its nodes.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub name: &'static str,
    guest: &'a Guest,
}

/// What a command on a node said.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    /// Exit status; 128 + signal for a killed one.
    pub code: i32,
}

/// The program, when it is started by init.sh.
pub fn main() -> ExitCode {
    let share: PathBuf = std::env::var_os("vm_share").unwrap().into();
    let job = fs::read_to_string(share.join("job")).unwrap();
    let began = Instant::now();
    let mut guest = Guest { share, name: "", part: 0 };
    if !Path::new("/room/installed").exists() {
        NODES.iter().for_each(|n| node::install(n));
        fs::write("/room/installed", "").unwrap();
        succeed(&mut Command::new("sync"));
    }
    node::hub();
    node::boot(&NODES, &ALL, &guest.share);
    guest.both().iter().for_each(Node::plug_all);
    tell(&format!("@nodes up in {:.1} s", began.elapsed().as_secs_f32()));
    for line in job.lines() {
        let (name, part) = line.split_once(' ').unwrap();
        let scenario = all().find(|s| s.name == name).unwrap();
        (guest.name, guest.part) = (scenario.name, part.parse().unwrap());
        let began = Instant::now();
        watch(scenario.name);
        let result = catch_unwind(AssertUnwindSafe(|| {
            (scenario.parts[guest.part])(&guest);
            if guest.part + 1 < scenario.parts.len() {
                guest.power_cut();
            }
        }));
        tell(&format!("@{} {name} {:.0}", if result.is_ok() { "ok" } else { "failed" }, began.elapsed().as_secs_f32()));
    }
    tell("@end");
    ExitCode::SUCCESS
}

/// Written at once, in one piece.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{}\n", line.trim_end()).as_bytes()).unwrap();
    out.flush().unwrap();
}

/// One that takes too long takes the guest with it.
fn watch(name: &'static str) {
    static RUNNING: std::sync::Mutex<&str> = std::sync::Mutex::new("");
    *RUNNING.lock().unwrap() = name;
    std::thread::spawn(move || {
        std::thread::sleep(LIMIT);
        if *RUNNING.lock().unwrap() == name {
            tell(&format!("not done after {LIMIT:?}"));
            cut();
        }
    });
}

fn cut() -> ! {
    let _ = fs::write("/proc/sysrq-trigger", "b");
    loop {
        std::thread::park();
    }
}

impl Guest {
    /// The first node and the second.
    pub fn pair(&self) -> (Node<'_>, Node<'_>) {
        (Node { name: NODES[0], guest: self }, Node { name: NODES[1], guest: self })
    }

    /// A third, which has disks of the same kind as the second.
    pub fn third(&self) -> Node<'_> {
        let third = Node { name: ALL[2], guest: self };
        if !Path::new("/room").join(third.name).exists() {
            node::install(third.name);
        }
        if !Path::new(&format!("/run/ready.{}", third.name)).exists() {
            node::boot(&[third.name], &ALL, &self.share);
            third.plug_all();
        }
        third
    }

    /// Gives the host a file of the project as it would have to be.
    pub fn keep(&self, path: &str, text: &str) {
        let at = self.share.join("renewed").join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    /// The host writes such files.
    pub fn renews(&self) -> bool {
        self.share.join("renews").exists()
    }

    fn both(&self) -> [Node<'_>; 2] {
        let (a, b) = self.pair();
        [a, b]
    }

    /// The power goes, now; what was not written to a disk is lost. The scenario goes on with its next part.
    pub fn power_cut(&self) -> ! {
        tell(&format!("@cut {} {}", self.name, self.part + 1));
        cut()
    }

    /// A new volume group on a disk that both nodes see. It is not active, and has no tag.
    pub fn shared_vg(&self, vg: &str) {
        let (a, b) = self.pair();
        let device = self.slot("vdd");
        a.plug(&device);
        b.plug(&device);
        a.run(["vgcreate", "-q", vg, &format!("/dev/{device}")]);
    }

    /// The next partition of a disk that nobody has had.
    fn slot(&self, disk: &str) -> String {
        let file = self.share.join(format!("slot.{disk}"));
        let last = fs::read_to_string(&file).map_or(0, |text| text.parse::<usize>().unwrap());
        assert!(last < SLOTS, "no partition is left on {disk}: SLOTS in host.rs");
        fs::write(file, (last + 1).to_string()).unwrap();
        format!("{disk}{}", last + 1)
    }
}

impl Node<'_> {
    /// A new volume group on a disk of this node alone, with room for 156 MiB. Named unlike any other.
    pub fn vg(&self, vg: &str) {
        self.run(["vgcreate", "-q", vg, &self.disk()]);
    }

    /// A new empty disk of this node alone, 160 MiB.
    pub fn disk(&self) -> String {
        let device = self.guest.slot(if self.name == NODES[0] { "vdb" } else { "vdc" });
        self.plug(&device);
        format!("/dev/{device}")
    }

    /// Gives it a disk. Remembered where no power cut of the guest reaches.
    fn plug(&self, device: &str) {
        node::plug(self.name, device);
        let mut list = fs::File::options().create(true).append(true).open(self.disks()).unwrap();
        writeln!(list, "{device}").unwrap();
    }

    fn plug_all(&self) {
        let list = fs::read_to_string(self.disks()).unwrap_or_default();
        list.lines().for_each(|device| node::plug(self.name, device));
    }

    fn disks(&self) -> PathBuf {
        self.guest.share.join(format!("disks.{}", self.name))
    }

    /// A new logical volume, active; its device.
    pub fn lv(&self, vg: &str, lv: &str, mib: usize) -> String {
        self.run(["lvcreate", "-q", "-W", "n", "-Z", "n", "-L", &format!("{mib}M"), "-n", lv, vg]);
        format!("/dev/{vg}/{lv}")
    }

    /// A command that has to succeed; what it printed.
    pub fn run<const N: usize>(&self, argv: [&str; N]) -> String {
        self.sh(&shlex::try_join(argv).unwrap())
    }

    /// Shell code that has to succeed; what it printed, without the last newline.
    pub fn sh(&self, code: &str) -> String {
        let said = self.try_sh(code);
        assert_eq!(said.code, 0, "{}: {code}", self.name);
        said.stdout.trim_end().to_owned()
    }

    /// Shell code that may fail.
    pub fn try_sh(&self, code: &str) -> Said {
        let began = Instant::now();
        let said = said(self.shell(code).output().unwrap());
        let status = if said.code == 0 { String::new() } else { format!(", status {}", said.code) };
        tell(&format!("{}$ {code}  # {:.1} s{status}\n{}{}", self.name, began.elapsed().as_secs_f32(), said.stdout, said.stderr));
        said
    }

    /// `svcmgr ARGS` that has to succeed; what it said, stdout before stderr.
    pub fn svcmgr(&self, args: &str) -> String {
        let said = self.try_svcmgr(args);
        assert_eq!(said.code, 0, "{}: svcmgr {args}", self.name);
        said.stdout + &said.stderr
    }

    /// `svcmgr ARGS` that may fail.
    pub fn try_svcmgr(&self, args: &str) -> Said {
        self.try_sh(&format!("svcmgr {args}"))
    }

    /// Shell code in the background; see [`finish`].
    pub fn spawn(&self, code: &str) -> Child {
        tell(&format!("{}& {code}", self.name));
        self.shell(code).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until shell code succeeds.
    pub fn until(&self, limit: Duration, code: &str) {
        let end = Instant::now() + limit;
        while said(self.shell(code).output().unwrap()).code != 0 {
            assert!(Instant::now() < end, "{}: not so within {limit:?}: {code}", self.name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn shell(&self, code: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &node::pid(self.name).to_string(), "-m", "-u", "-i", "-n", "-p", "--"]);
        command.env_remove("vm_share");
        command.args(["bash", "-euo", "pipefail", "-c", &format!("{PREFIX}{code}")]).stdin(Stdio::null());
        command
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) {
        let mut child = self.shell(&format!("cat >'{path}'")).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}: {path}", self.name);
    }

    /// Writes the service file `NAME.env`; a power cut does not take it.
    pub fn service(&self, name: &str, env: &str) {
        self.write(&format!("/opt/opensvc/etc/{name}.env"), env);
        self.sh(&format!("ln -sf ../bin/svcmgr /opt/opensvc/etc/{name}"));
        succeed(&mut Command::new("sync"));
    }

    /// SHA-256 of a device or file, past the page cache.
    pub fn hash(&self, device: &str) -> String {
        let sum = self.sh(&format!("sync; dd if={device} bs=1M iflag=direct status=none | sha256sum"));
        sum.split(' ').next().unwrap().to_owned()
    }

    /// Kills every process of the node. Its volumes stay active, as the kernel lives.
    pub fn kill(&self) {
        node::crash(self.name);
    }

    /// Starts it again after [`Node::kill`], with none of its volumes active: as a machine that was off.
    pub fn boot(&self, vgs: &[&str]) {
        let end = Instant::now() + Duration::from_secs(60);
        for vg in vgs {
            // its mounts go a moment after its processes
            loop {
                let said = said(Command::new("vgchange").args(["-q", "-a", "n", vg]).output().unwrap());
                if said.code == 0 {
                    break;
                }
                assert!(Instant::now() < end, "{vg} is still in use: {}", said.stderr);
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        node::boot(&[self.name], &ALL, &self.guest.share);
        self.plug_all();
    }
}

fn succeed(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

/// Waits for a [`Node::spawn`].
pub fn finish(child: Child) -> Said {
    said(child.wait_with_output().unwrap())
}

fn said(out: Output) -> Said {
    use std::os::unix::process::ExitStatusExt;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = out.status.code().unwrap_or_else(|| 128 + out.status.signal().unwrap_or_default());
    Said { stdout: text(out.stdout), stderr: text(out.stderr), code }
}
