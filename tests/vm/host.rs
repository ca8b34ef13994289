//! The side of the host: which scenarios, the guest's disks and its boots, the results.

use crate::{Scenario, all};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// No line from the guest for so long: it hangs. A scenario has less.
const SILENCE: Duration = Duration::from_secs(900);

/// A boot takes 5 s, and on a busy host up to a minute. One that takes longer hangs, and is tried again.
const BOOT: Duration = Duration::from_secs(180);
const BOOTS: usize = 3;

/// Volume groups each node can have, and those both nodes see.
pub const SLOTS: usize = 24;
const SLOT_MIB: usize = 160;

struct Asked {
    words: Vec<String>,
    flags: Vec<String>,
}

impl Asked {
    fn read() -> Self {
        let (flags, words) = std::env::args().skip(1).partition(|a| a.starts_with('-'));
        Self { words, flags }
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        let hit = |word: &String| if self.has("--exact") { scenario.short() == word } else { scenario.short().contains(word.as_str()) };
        let named = self.words.is_empty() || self.words.iter().any(hit);
        named && (self.has("--include-ignored") || self.has("--ignored") == scenario.long)
    }
}

/// What is left to do, and what came of the rest.
#[derive(Default)]
struct Run {
    /// Scenario and part.
    left: Vec<(&'static Scenario, usize)>,
    passed: usize,
    failed: Vec<&'static str>,
    /// What the running scenario has said.
    output: Vec<String>,
}

pub fn main() -> ExitCode {
    let asked = Asked::read();
    if asked.has("--list") {
        all().for_each(|s| println!("{}: test", s.short()));
        return ExitCode::SUCCESS;
    }
    let mut run = Run { left: all().filter(|s| asked.wants(s)).map(|s| (s, 0)).collect(), ..Run::default() };
    if run.left.is_empty() {
        println!("no scenario has such a name");
        return ExitCode::SUCCESS;
    }
    if let Some(why) = cannot_run() {
        println!("SKIPPED: {} scenarios on real LVM: {why}", run.left.len());
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    println!("\nrunning {} scenarios in a guest", run.left.len());
    let cache = build();
    let mut machine = Machine::new(&cache, asked.has("--nocapture"));
    while !run.left.is_empty() {
        machine.life(&mut run);
    }
    machine.renewed();
    let verdict = if run.failed.is_empty() { "ok" } else { "FAILED" };
    println!("\nresult: {verdict}. {} passed; {} failed; {} s", run.passed, run.failed.len(), began.elapsed().as_secs());
    run.failed.iter().for_each(|name| println!("    {name}"));
    ExitCode::from(u8::from(!run.failed.is_empty()))
}

fn cannot_run() -> Option<&'static str> {
    let there = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    match () {
        () if cfg!(not(target_arch = "x86_64")) => Some("the guest is an x86_64"),
        () if !there("qemu-system-x86_64") => Some("there is no qemu-system-x86_64 (package qemu-system-x86): scripts/install-deps.sh"),
        () => None,
    }
}

fn build() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/build.sh");
    let out = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
    assert!(out.status.success(), "tests/vm/build.sh has made no kernel for the guest");
    String::from_utf8(out.stdout).unwrap().trim().into()
}

struct Machine {
    /// Disks, and the folder shared with the guest.
    dir: tempfile::TempDir,
    cache: PathBuf,
    live: bool,
}

impl Machine {
    fn new(cache: &Path, live: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("vm.").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let machine = Self { dir, cache: cache.into(), live };
        machine.new_disks();
        machine
    }

    /// Writes the project's files that a scenario would have otherwise, if that is wanted.
    fn renewed(&self) {
        let new = self.path("share/renewed/docs");
        for file in new.read_dir().into_iter().flatten().flatten().filter(|_| renews()) {
            fs::copy(file.path(), Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file.file_name())).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `room`, where the nodes' own files are, and a disk with a partition for each volume group of the first node, of
    /// the second, and of both. All are sparse.
    fn new_disks(&self) {
        let _ = fs::remove_dir_all(self.path("share"));
        fs::create_dir(self.path("share")).unwrap();
        for key in ["key", "hostkey"] {
            succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(self.path("share").join(key)));
        }
        let sparse = |name: &str, mib: usize| {
            let _ = fs::remove_file(self.path(name));
            fs::File::create(self.path(name)).unwrap().set_len(mib as u64 * 1024 * 1024).unwrap();
        };
        sparse("room", 2048);
        succeed(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=1"]).arg(self.path("room")));
        for disk in ["first", "second", "both"] {
            sparse(disk, SLOTS * SLOT_MIB + 4);
            let mut child = Command::new("sfdisk").arg("-q").arg(self.path(disk)).stdin(Stdio::piped()).spawn().unwrap();
            let table = format!("label: gpt\n{}", format!("size={SLOT_MIB}MiB\n").repeat(SLOTS));
            child.stdin.take().unwrap().write_all(table.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "sfdisk {disk}");
        }
    }

    /// One life of the guest: until all is done, the power is cut, or it dies.
    fn life(&mut self, run: &mut Run) {
        if renews() {
            fs::write(self.path("share/renews"), "").unwrap();
        }
        let job: String = run.left.iter().map(|(s, part)| format!("{} {part}\n", s.name)).collect();
        fs::write(self.path("share/job"), job).unwrap();
        let (mut qemu, lines) = self.boot();
        let mut ended = false;
        let silent = loop {
            match lines.recv_timeout(SILENCE) {
                Ok(line) => ended |= self.heard(&line, run),
                Err(end) => break end == RecvTimeoutError::Timeout,
            }
        };
        let status = end(&mut qemu);
        if !ended {
            let why =
                if silent { "nothing was heard from the guest any more".to_owned() } else { format!("the guest has died ({status})") };
            let (scenario, _) = run.left.remove(0);
            verdict(run, scenario.short(), false, &format!("{why}\n{}", self.console()));
            self.new_disks(); // what it has left is no ground for the next
        }
    }

    /// The guest, up.
    fn boot(&self) -> (Child, Receiver<String>) {
        for _ in 0..BOOTS {
            let began = Instant::now();
            let mut qemu = self.qemu().spawn().unwrap();
            let lines = reader(&mut qemu);
            if lines.recv_timeout(BOOT).is_ok_and(|line| line.starts_with("@up")) {
                return (qemu, lines);
            }
            let status = end(&mut qemu);
            println!("the guest was not up after {} s ({status}); its console:\n{}", began.elapsed().as_secs(), self.console());
        }
        panic!("the guest does not boot");
    }

    fn console(&self) -> String {
        let text = fs::read(self.path("console")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Takes a line from the guest; whether it says that the guest ends now, and rightly.
    fn heard(&self, line: &str, run: &mut Run) -> bool {
        let mut words = line.split(' ');
        match (words.next().unwrap_or_default(), words.next(), words.next()) {
            ("@end", ..) => return true,
            ("@cut", Some(name), Some(part)) => {
                assert_eq!(run.left[0].0.name, name);
                run.left[0].1 = part.parse().unwrap();
                return true;
            }
            (word @ ("@ok" | "@failed"), Some(name), seconds) => {
                let (scenario, _) = run.left.remove(0);
                assert_eq!(scenario.name, name);
                verdict(run, &format!("{} ({} s)", scenario.short(), seconds.unwrap_or("?")), word == "@ok", "");
            }
            (word, ..) if word.starts_with('@') && !self.live => {}
            _ if self.live => println!("{line}"),
            _ => run.output.push(line.to_owned()),
        }
        false
    }

    fn qemu(&self) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
        let words = [
            "console=ttyS0 loglevel=8 panic=-1 nokaslr mitigations=off nopti init_on_alloc=0 audit=0 apparmor=0 selinux=0 lsm=",
            "no_timer_check tsc=reliable cryptomgr.notests random.trust_cpu=on raid=noautodetect rcupdate.rcu_expedited=1 net.ifnames=0 nowatchdog",
            &format!("vm_init={}/init.sh vm_cache={}", here.display(), self.cache.display()),
            &format!("vm_share={} vm_job={}", self.path("share").display(), std::env::current_exe().unwrap().display()),
        ];
        let mut c = Command::new("setpriv"); // the guest ends with this process
        c.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        c.args([
            "-M",
            "q35,usb=off,sata=off,smbus=off",
            "-accel",
            "tcg,thread=multi,tb-size=256",
            "-cpu",
            "max,la57=off",
            "-smp",
            "2",
            "-m",
            "1536",
        ]);
        c.arg("-kernel").arg(self.cache.join("vmlinux")).arg("-initrd").arg(self.cache.join("initramfs.cpio"));
        c.arg("-append").arg(words.join(" "));
        c.arg("-chardev").arg(format!("file,id=con,path={}", self.path("console").display()));
        c.args(["-serial", "chardev:con", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci,id=vs"]);
        c.args(["-chardev", "stdio,id=out,signal=off", "-device", "virtserialport,bus=vs.0,chardev=out,name=out"]);
        let fsdev = |id: &str, path: &str, more: &str| format!("local,id={id},path={path},security_model=none,multidevs=remap{more}");
        c.arg("-fsdev").arg(fsdev("host", "/", ",readonly=on")).args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
        c.arg("-fsdev").arg(fsdev("share", &self.path("share").display().to_string(), ""));
        c.args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]);
        for (i, disk) in ["room", "first", "second", "both"].iter().enumerate() {
            let file = self.path(disk);
            c.arg("-drive").arg(format!("file={},format=raw,if=none,id=d{i},cache=unsafe,discard=unmap", file.display()));
            c.arg("-device").arg(format!("virtio-blk-pci,drive=d{i}"));
        }
        c.stdin(Stdio::piped()).stdout(Stdio::piped()); // without an open stdin qemu takes nothing from the guest
        c
    }
}

/// As for insta's snapshots.
fn renews() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always")
}

fn verdict(run: &mut Run, name: &str, passed: bool, more: &str) {
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    if passed {
        run.passed += 1;
    } else {
        run.output.iter().for_each(|line| println!("    {line}"));
        more.lines().for_each(|line| println!("    {line}"));
        run.failed.push(Box::leak(name.to_owned().into_boxed_str()));
    }
    run.output.clear();
}

fn reader(qemu: &mut Child) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    let out = BufReader::new(qemu.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

fn end(qemu: &mut Child) -> ExitStatus {
    let _ = qemu.kill();
    qemu.wait().unwrap()
}

fn succeed(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
