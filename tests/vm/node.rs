//! The machinery of a node of the guest: namespaces of its own, a root filesystem over the guest's, sshd. The same as tests/bed/nodes.sh
//! makes, without its two hundred processes, of which each takes a tenth of a second in a guest that is emulated.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// On the disk that keeps the nodes' own files.
const ROOM: &str = "/room";

/// What init.sh and this program tell a node's first process.
pub const VARIABLE: &str = "vm_node";

/// Of each node: the defaults but for the times.
const NODE_CONF: &str = "[node]
peer_timeout = 60s
ssh = /usr/bin/ssh -q -o StrictHostKeyChecking=accept-new -o ForwardX11=no -o BatchMode=yes -o ConnectTimeout=60 -o ServerAliveInterval=15 -o ServerAliveCountMax=8
";

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn folder(node: &str) -> PathBuf {
    Path::new(ROOM).join(node)
}

/// The first process of a running node.
pub fn pid(node: &str) -> i32 {
    fs::read_to_string(format!("/run/node.{node}")).unwrap().parse().unwrap()
}

/// The bridge that the nodes' cables end in, once in a life of the guest.
pub fn hub() {
    ip("link add br0 type bridge forward_delay 0 stp_state 0\nlink set br0 up\n");
}

/// What a node has when it is new: `/opt/opensvc`.
pub fn install(node: &str) {
    let root = folder(node).join("upper/opt/opensvc");
    for dir in ["bin", "etc", "var", "log", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::create_dir_all(folder(node).join("disk")).unwrap();
    // the guest is slow, and slower still while others work on the host
    fs::write(root.join("etc/node.conf"), NODE_CONF).unwrap();
    let bin = root.join("bin");
    for (name, program) in [("svcmgr", env!("CARGO_BIN_EXE_svcmgr")), ("dds", env!("CARGO_BIN_EXE_dds"))] {
        fs::copy(program, bin.join(name)).unwrap();
    }
    for name in ["allservices", "allupservices", "alldownservices", "svcmon", "svcfreeze", "svcthaw", "svcfrozen", "nodemgr"] {
        symlink("svcmgr", bin.join(name)).unwrap();
    }
}

/// Boots nodes. They are ready when it returns. `nodes` are all there are.
pub fn boot(which: &[&str], nodes: &[&str], share: &Path) {
    for node in which {
        let _ = fs::remove_file(format!("/run/node.{node}"));
        let _ = fs::remove_file(format!("/run/ready.{node}"));
        let log = fs::File::create(format!("/run/log.{node}")).unwrap();
        let mut unshare = Command::new("setsid");
        unshare
            .args(["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child"])
            .arg(std::env::current_exe().unwrap());
        unshare.env(VARIABLE, node).env("vm_nodes", nodes.join(" ")).env("vm_share", share);
        let mut child = unshare.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        std::thread::spawn(move || child.wait());
    }
    let wait = |file: &str| {
        for node in which {
            let end = Instant::now() + PATIENCE;
            while !Path::new(&format!("/run/{file}.{node}")).exists() {
                let log = || fs::read_to_string(format!("/run/log.{node}")).unwrap_or_default();
                assert!(Instant::now() < end, "{node} does not boot: no {file}\n{}", log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    };
    wait("node");
    let number = |node: &str| nodes.iter().position(|n| *n == node).unwrap() + 11;
    let cable = |node: &&str| {
        let (pid, number) = (pid(node), number(node));
        format!("link add p-{node} type veth peer name eth0 address 02:99:00:00:00:{number} netns {pid}\nlink set p-{node} master br0 up\n")
    };
    ip(&which.iter().map(cable).collect::<String>());
    wait("ready");
}

/// Kills every process of a node; returns when they are gone.
pub fn crash(node: &str) {
    let pid = pid(node);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let end = Instant::now() + PATIENCE;
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(Instant::now() < end, "{node} does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = Command::new("ip").args(["link", "del", &format!("p-{node}")]).stderr(Stdio::null()).status();
}

/// Gives a running node the block device `name` of the guest.
pub fn plug(node: &str, name: &str) {
    let numbers = fs::read_to_string(format!("/sys/class/block/{name}/dev")).unwrap();
    let (major, minor) = numbers.trim().split_once(':').unwrap();
    let at = format!("/proc/{}/root/dev/{name}", pid(node));
    device(Path::new(&at), SFlag::S_IFBLK, makedev(major.parse().unwrap(), minor.parse().unwrap()));
}

fn device(at: &Path, kind: SFlag, number: u64) {
    mknod(at, kind, Mode::from_bits_truncate(0o666), number).unwrap();
}

fn ip(lines: &str) {
    let mut child = Command::new("ip").args(["-b", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip: {lines}");
}

/// The first process of `node`: makes its root, its network, starts sshd, and then waits for the orphans.
pub fn first_process(node: &str) -> ! {
    let me = fs::read_link("/proc/self").unwrap(); // still the guest's /proc: our number there
    fs::create_dir_all(folder(node).join("root")).unwrap();
    let root = mounts(node);
    files(node, &root);
    fs::write(format!("/run/new.{node}"), me.to_str().unwrap()).unwrap();
    fs::rename(format!("/run/new.{node}"), format!("/run/node.{node}")).unwrap();
    let end = Instant::now() + PATIENCE;
    while !Path::new("/proc/self/net/dev").exists() || !fs::read_to_string("/proc/self/net/dev").unwrap().contains("eth0") {
        assert!(Instant::now() < end, "no cable");
        std::thread::sleep(Duration::from_millis(20));
    }
    let nodes = std::env::var("vm_nodes").unwrap();
    let number = nodes.split(' ').position(|n| n == node).unwrap() + 11;
    ip(&format!("link set lo up\naddr add 10.99.0.{number}/24 brd + dev eth0\nlink set eth0 up\n"));
    nix::unistd::sethostname(node).unwrap();
    let ready = fs::File::create(format!("/run/new.{node}")).unwrap();
    mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), MsFlags::empty(), None::<&str>).unwrap();
    std::env::set_current_dir(&root).unwrap();
    fs::create_dir_all("run/old").unwrap();
    nix::unistd::pivot_root(".", "run/old").unwrap();
    std::env::set_current_dir("/").unwrap();
    let sshd = Command::new("/usr/sbin/sshd").args(["-E", "/var/log/sshd.log"]).env_remove(VARIABLE).status().unwrap();
    assert!(sshd.success());
    fs::rename(format!("/run/old/run/new.{node}"), format!("/run/old/run/ready.{node}")).unwrap();
    drop(ready);
    umount2("/run/old", MntFlags::MNT_DETACH).unwrap();
    loop {
        if nix::sys::wait::wait().is_err() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The root over the guest's, with a /dev that has no disks.
fn mounts(node: &str) -> PathBuf {
    let (home, root) = (folder(node), folder(node).join("root"));
    let _ = fs::remove_dir_all(home.join("work"));
    fs::create_dir_all(home.join("work")).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let over = format!("lowerdir=/,upperdir={0}/upper,workdir={0}/work", home.display());
    mount(Some("node"), &root, Some("overlay"), MsFlags::empty(), Some(over.as_str())).unwrap();
    let fresh = |kind: &str, at: &str, data: &str| {
        let at = root.join(at);
        fs::create_dir_all(&at).unwrap();
        mount(Some(kind), &at, Some(kind), MsFlags::empty(), Some(data).filter(|d| !d.is_empty()))
            .unwrap_or_else(|e| panic!("{kind}: {e}"));
    };
    fresh("proc", "proc", "");
    fresh("tmpfs", "dev", "mode=755");
    for name in ["null", "zero", "full", "random", "urandom", "tty", "kmsg", "mapper/control"] {
        let (there, here) = (fs::metadata(Path::new("/dev").join(name)).unwrap().rdev(), root.join("dev").join(name));
        fs::create_dir_all(here.parent().unwrap()).unwrap();
        device(&here, SFlag::S_IFCHR, makedev(major(there), minor(there)));
    }
    for (name, to) in [("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(to, root.join("dev").join(name)).unwrap();
    }
    fresh("devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5");
    fresh("tmpfs", "dev/shm", "mode=1777");
    fresh("tmpfs", "run", "mode=755");
    fresh("tmpfs", "tmp", "mode=1777");
    for dir in ["run/lock/lvm", "run/lvm", "run/sshd", "disk", "sys"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    mount(Some(&home.join("disk")), &root.join("disk"), none, MsFlags::MS_BIND, none).unwrap();
    root
}

/// Names, keys, and an ssh that is as quick as can be.
fn files(node: &str, root: &Path) {
    let keys = PathBuf::from(std::env::var_os("vm_share").unwrap());
    let put = |path: &str, text: &str, mode: u32| {
        let at = root.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&at);
        fs::write(&at, text).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
    };
    let nodes = std::env::var("vm_nodes").unwrap();
    let line = |(i, name): (usize, &str)| format!("10.99.0.{} {name} {name}.test\n", i + 11);
    put("etc/hosts", &format!("127.0.0.1 localhost\n{}", nodes.split(' ').enumerate().map(line).collect::<String>()), 0o644);
    put("etc/hostname", &format!("{node}\n"), 0o644);
    let key = |name: &str| fs::read_to_string(keys.join(name)).unwrap();
    put("root/.ssh/id_ed25519", &key("key"), 0o600);
    put("root/.ssh/authorized_keys", &key("key.pub"), 0o600);
    put("root/.ssh/known_hosts", &format!("* {}", key("hostkey.pub")), 0o600);
    put("etc/ssh/ssh_host_ed25519_key", &key("hostkey"), 0o600);
    let server = "HostKey /etc/ssh/ssh_host_ed25519_key\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\nUseDNS no\nPrintMotd no\nPrintLastLog no\nMaxStartups 100\nMaxSessions 100\nSubsystem sftp internal-sftp\n";
    put("etc/ssh/sshd_config", server, 0o600);
    put("etc/ssh/ssh_config", "KexAlgorithms curve25519-sha256\nGSSAPIAuthentication no\n", 0o644);
    fs::set_permissions(root.join("root/.ssh"), fs::Permissions::from_mode(0o700)).unwrap();
}
