//! One machine without a network: private mount, UTS and network namespaces on this host, with a classic
//! tree at /opt/opensvc of its own. Cheaper than a node of nodes.rs; for what needs no peer.
#![allow(dead_code, reason = "shared by several test targets, none of which uses all of it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The names svcmgr answers to beside its own and those of services.
pub const NAMES: [&str; 10] = [
    "allservices",
    "allupservices",
    "alldownservices",
    "allprimaryservices",
    "allsecondaryservices",
    "svcmon",
    "svcfreeze",
    "svcthaw",
    "svcfrozen",
    "nodemgr",
];

/// What a script in an [`Alone`] machine said.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// The machine: a tree on disk; namespaces are made anew by each [`Alone::run`].
pub struct Alone {
    tree: tempfile::TempDir,
    /// Host name.
    pub node: String,
    /// Lines for /etc/hosts; the host's own file when empty.
    pub hosts: Vec<String>,
    /// Shell lines run in the namespaces before the script: mounts, addresses.
    pub prepare: Vec<String>,
}

impl Alone {
    /// A tree with `program` and its names in bin/, and nothing else. Fails when this process is not root.
    pub fn new(program: &Path, node: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root: it makes namespaces and mounts");
        // below target: on the same file system as the program, so that bin/svcmgr can be a hard link
        let tree = tempfile::Builder::new().prefix("alone.").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for dir in ["bin", "etc", "var/lock", "log", "tmp"] {
            fs::create_dir_all(tree.path().join(dir)).unwrap();
        }
        let bin = tree.path().join("bin");
        let copy = bin.join("svcmgr");
        fs::hard_link(program, &copy).or_else(|_| fs::copy(program, &copy).map(drop)).unwrap();
        for name in NAMES {
            symlink("svcmgr", bin.join(name)).unwrap();
        }
        Self { tree, node: node.into(), hosts: Vec::new(), prepare: Vec::new() }
    }

    /// The tree, seen from outside.
    pub fn path(&self, below: &str) -> PathBuf {
        self.tree.path().join(below)
    }

    /// Installs a service file and the links that 2014's installation made.
    pub fn service(&self, name: &str, env: &Path) {
        let etc = self.path("etc");
        fs::copy(env, etc.join(format!("{name}.env"))).unwrap_or_else(|e| panic!("{}: {e}", env.display()));
        symlink("../bin/svcmgr", etc.join(name)).unwrap();
        fs::create_dir(etc.join(format!("{name}.dir"))).unwrap();
        symlink(format!("{name}.dir"), etc.join(format!("{name}.d"))).unwrap();
    }

    /// Runs shell lines there, in the tree, at noon whatever the hour, for at most a minute.
    pub fn run(&self, script: &str) -> Said {
        let mut lines = vec![
            "set -e".to_owned(),
            "mount --make-rprivate /".to_owned(),
            "mount -t tmpfs tmpfs /opt".to_owned(),
            "mkdir /opt/opensvc /opt/peers".to_owned(),
            format!("mount --bind '{}' /opt/opensvc", self.tree.path().display()),
            format!("hostname '{}'", self.node),
            "ip link set lo up".to_owned(),
            "ip link add eth0 type bridge; ip addr add 10.9.0.1/24 dev eth0; ip link set eth0 up".to_owned(),
        ];
        if !self.hosts.is_empty() {
            fs::write(self.path("tmp/hosts"), self.hosts.join("\n") + "\n").unwrap();
            lines.push("mount --bind /opt/opensvc/tmp/hosts /etc/hosts".to_owned());
        }
        lines.extend(self.prepare.iter().cloned());
        lines.push("set +e; cd /opt/opensvc".to_owned());
        lines.push("export PATH=/opt/opensvc/bin:/opt/opensvc/etc:$PATH OPENSVC_ROOT=/opt/opensvc NO_COLOR=1".to_owned());
        lines.push(format!("export TZ={}", noon()));
        lines.push(script.to_owned());
        let file = self.path("tmp/script");
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        let out = Command::new("timeout")
            .args(["-k", "5", "60", "unshare", "--mount", "--uts", "--net", "bash"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { stdout: text(&out.stdout), stderr: text(&out.stderr), code: out.status.code() }
    }
}

/// A time zone in which it is now 12:xx: outside the default window of syncs (03:59-05:59), at any hour.
pub fn noon() -> String {
    let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let utc = i64::try_from(seconds / 3600 % 24).unwrap();
    format!("NOON{:+}", utc - 12) // POSIX: local time = UTC minus this
}
