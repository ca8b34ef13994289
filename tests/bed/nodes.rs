//! Several machines on this host, for tests: drives nodes.sh, which stands beside it and says what a node is.
#![allow(dead_code, reason = "shared by several test targets, none of which uses all of it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A bed of its own for each test, so that tests run in parallel; gone when dropped, or when this process ends.
pub struct Nodes {
    dir: PathBuf,
    names: Vec<String>,
}

/// What a command on a node said.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    /// Exit status; 128 + signal for a killed one.
    pub code: i32,
}

impl Nodes {
    /// Boots the nodes, with nothing of ours on them.
    pub fn up(names: &[&str]) -> Self {
        static N: AtomicU32 = AtomicU32::new(0);
        assert!(nix::unistd::geteuid().is_root(), "this test needs root: it makes machines of namespaces");
        let dir = format!("/tmp/svcmgr-bed.{}.{}", std::process::id(), N.fetch_add(1, Ordering::Relaxed));
        let bed = Self { dir: dir.into(), names: names.iter().map(|n| (*n).to_owned()).collect() };
        let mut up = bed.nodes_sh("up");
        up.args(names).env("NODES_WATCH", std::process::id().to_string());
        let said = said(up.output().unwrap());
        assert_eq!(said.code, 0, "nodes.sh up: {}", said.stderr);
        bed
    }

    /// Boots the nodes and installs svcmgr on each as a classic tree at /opt/opensvc, in the PATH of [`Nodes::sh`].
    pub fn with_svcmgr(names: &[&str]) -> Self {
        let bed = Self::up(names);
        std::fs::copy(env!("CARGO_BIN_EXE_svcmgr"), bed.dir.join("shared/.svcmgr")).unwrap();
        for node in names {
            bed.sh(
                node,
                "mkdir -p /opt/opensvc/{bin,etc,var,log,tmp}; cp /shared/.svcmgr /opt/opensvc/bin/svcmgr
                 cd /opt/opensvc/bin; for n in all{,up,down,primary,secondary}services svcmon svcfreeze svcthaw svcfrozen nodemgr; do ln -s svcmgr $n; done",
            );
        }
        bed
    }

    /// Writes a service's file, and the link with its name, on each of `nodes`.
    pub fn service(&self, nodes: &[&str], name: &str, env: &str) {
        for node in nodes {
            self.write(node, &format!("/opt/opensvc/etc/{name}.env"), env);
            self.sh(node, &format!("ln -sf ../bin/svcmgr /opt/opensvc/etc/{name}"));
        }
    }

    /// Writes a file on a node.
    pub fn write(&self, node: &str, path: &str, text: &str) {
        let mut cat = self.shell(node, &format!("cat >'{path}'"));
        let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{node}: {path}");
    }

    /// A shell command on a node, not yet run. Its stdin is the null device.
    pub fn shell(&self, node: &str, code: &str) -> Command {
        let mut command = self.nodes_sh("exec");
        let path = "export PATH=/opt/opensvc/bin:/opt/opensvc/etc:$PATH NO_COLOR=1 TZ=UTC; ";
        command.args([node, "--", "bash", "-euo", "pipefail", "-c", &format!("{path}{code}")]).stdin(Stdio::null());
        command
    }

    /// Shell code that has to succeed; its stdout without the last newline.
    pub fn sh(&self, node: &str, code: &str) -> String {
        let said = self.run(node, code);
        assert_eq!(said.code, 0, "{node}: {code}\n{}{}", said.stdout, said.stderr);
        said.stdout.trim_end().to_owned()
    }

    /// Shell code that may fail.
    pub fn run(&self, node: &str, code: &str) -> Said {
        said(self.shell(node, code).output().unwrap())
    }

    /// Shell code in the background, both outputs kept; end it with [`finish`].
    pub fn spawn(&self, node: &str, code: &str) -> Child {
        self.shell(node, code).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A zfs of its own for a node, until it is down: zfs-fuse, which the packages of the tests bring. With a pool `p_NODE`
    /// on a file of `size`, unless that is empty.
    pub fn zfs(&self, node: &str, size: &str) {
        let said = said(self.nodes_sh("zfs").arg(node).output().unwrap());
        assert_eq!(said.code, 0, "nodes.sh zfs: {}", said.stderr);
        if !size.is_empty() {
            self.sh(node, &format!("truncate -s {size} /disk/z.img; zpool create p_{node} /disk/z.img"));
        }
    }

    /// Waits until shell code succeeds, looking each 50 ms.
    pub fn until(&self, node: &str, limit: Duration, code: &str) {
        let end = Instant::now() + limit;
        while self.run(node, code).code != 0 {
            assert!(Instant::now() < end, "{node}: not so within {limit:?}: {code}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `cut heal mute crash boot freeze thaw`, of nodes.sh.
    pub fn ctl(&self, verb: &str, args: &[&str]) {
        let said = said(self.nodes_sh(verb).args(args).output().unwrap());
        assert_eq!(said.code, 0, "{verb} {args:?}: {}", said.stderr);
    }

    /// The folder that all nodes see as /shared.
    pub fn shared(&self) -> PathBuf {
        self.dir.join("shared")
    }

    /// The folder that `node` sees as /disk.
    pub fn disk(&self, node: &str) -> PathBuf {
        self.dir.join("n").join(node).join("disk")
    }

    /// The nodes' names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn nodes_sh(&self, verb: &str) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/nodes.sh"));
        command.arg(verb).env("NODES_DIR", &self.dir);
        command
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let down = self.nodes_sh("down").output();
        if !std::thread::panicking() {
            let said = said(down.unwrap());
            assert!(said.code == 0 && said.stderr.is_empty(), "nodes.sh down: {}", said.stderr);
        }
    }
}

/// Waits for the end of a [`Nodes::spawn`].
pub fn finish(child: Child) -> Said {
    said(child.wait_with_output().unwrap())
}

fn said(out: Output) -> Said {
    use std::os::unix::process::ExitStatusExt;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = out.status.code().unwrap_or_else(|| 128 + out.status.signal().unwrap_or_default());
    Said { stdout: text(out.stdout), stderr: text(out.stderr), code }
}
