//! The users' DRP tutorial on real LVM, without its container (tests/nodes/tutorial.rs has that): a disk group, two
//! filesystems, an address, and two volumes that dds replicates. docs/lvm-drp.md is what happens here.

use crate::guest::{Guest, Node};
use crate::{Scenario, scenario};
use regex::Regex;
use std::path::Path;

pub const ALL: &[Scenario] = &[scenario!(the_lvm_tutorial)];

pub const NAME: &str = "busybox.opensvc.com";

/// The tutorial's second file; what has to do with docker is not there.
pub const FILE: &str = "[DEFAULT]
autostart_node = deb1.opensvc.com
app = OSVCLAB
service_type = DEV
nodes = deb1.opensvc.com
drpnodes = deb2.opensvc.com

[ip#1]
ipdev = eth0
ipname@deb1.opensvc.com = busybox.opensvc.com
ipname@deb2.opensvc.com = busybox-drp.opensvc.com

[vg#1]
vgname@deb1.opensvc.com = vglocaldeb1
vgname@deb2.opensvc.com = vglocaldeb2
always_on = drpnodes

[fs#1]
mnt_opt = rw
mnt = /opt/busybox.opensvc.com
dev@deb1.opensvc.com = /dev/mapper/vglocaldeb1-lvbusyboxroot
dev@deb2.opensvc.com = /dev/mapper/vglocaldeb2-lvbusyboxroot
type = ext4

[fs#2]
mnt_opts = rw
mnt = /opt/busybox.opensvc.com/appdata
dev@deb1.opensvc.com = /dev/mapper/vglocaldeb1-lvbusyboxdata
dev@deb2.opensvc.com = /dev/mapper/vglocaldeb2-lvbusyboxdata
type = ext4

[sync#1]
type = dds
src = /dev/mapper/vglocaldeb1-lvbusyboxroot
dst = /dev/mapper/vglocaldeb2-lvbusyboxroot
target = drpnodes

[sync#2]
type = dds
src = /dev/mapper/vglocaldeb1-lvbusyboxdata
dst = /dev/mapper/vglocaldeb2-lvbusyboxdata
target = drpnodes
";

const INTRODUCTION: &str = "# Two volumes on two sites

The DRP tutorial as it is run by a test (`tests/vm/tutorial.rs`) on two nodes with LVM: what was typed, and what was said. The
container of the same service is in [docker-drp.md](docker-drp.md).

```
";

/// What was typed and said.
struct Transcript(String);

impl Transcript {
    fn tell(&mut self, what: &str) {
        self.0.push_str(&format!("# {what}\n\n"));
    }

    /// Types it on a node; it has to end with `code`.
    fn typed(&mut self, node: Node, code: i32, words: &str) -> String {
        let said = node.try_sh(&format!("cd /; {{ {words}; }} 2>&1"));
        let plain = plain(&said.stdout);
        self.0.push_str(&format!("root@{}:/# {words}\n{plain}\n", node.name));
        assert_eq!(said.code, code, "{}", said.stdout);
        said.stdout
    }
}

/// Without what differs from run to run.
fn plain(said: &str) -> String {
    let mut text: String = said.split_inclusive('\n').filter(|l| !(l.contains("waiting for ") && l.contains(" to answer, "))).collect();
    for (pattern, shown) in [
        (r"(?m)^\d\d:\d\d:\d\d ", "HH:MM:SS "),
        (r"(copy is of) \d\d:\d\d:\d\d", "$1 HH:MM:SS"),
        (r"\d+/(\d+) files, \d+/(\d+) blocks", "N/$1 files, N/$2 blocks"),
        (r"\w{6}(-\w{4}){5}-\w{6}", "xCHoG0-ghs9-Rpzx-nEzk-1pLC-gPku-Mffsyk"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
        (r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?", "2014-06-10 18:13:16"),
        (r"(Exceptions|Exception chunks) ( +)\d+", "$1 ${2}N"),
        (r"(Output size \w+ ?) ( *)\d+ [KM]?B", "$1 ${2}N KB"),
        (r"(ran until) \d\d:\d\d:\d\d", "$1 HH:MM:SS"),
        (r"\d+ s of writes", "N s of writes"),
        (r"(delta|first copy), \d+ chunks, [\d.]+ [KMG]?B in [\d.]+ s", "$1, N chunks, N MB in N s"),
        (r"svcmgr-ssh\.\d+", "svcmgr-ssh.PID"),
        (r": \d+ files?, .* in .* s", ": N files, N MB in N s"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, shown).into_owned();
    }
    text
}

/// The nodes have their full names while it lives.
pub struct Named<'a>([Node<'a>; 2]);

impl<'a> Named<'a> {
    pub fn new(nodes: [Node<'a>; 2]) -> Self {
        for node in nodes {
            node.sh(&format!(
                "hostname {}.opensvc.com
                 printf '10.99.0.25 busybox.opensvc.com\\n10.99.0.24 busybox-drp.opensvc.com\\n10.99.0.11 deb1.opensvc.com\\n10.99.0.12 deb2.opensvc.com\\n' >>/etc/hosts",
                node.name
            ));
        }
        Self(nodes)
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|node| drop(node.try_sh(&format!("hostname {}", node.name))));
    }
}

/// The disk groups, with the filesystems on the first node; the second one has so many MiB.
pub fn volumes(a: Node, b: Node, mib: usize) {
    for (node, vg) in [(a, "vglocaldeb1"), (b, "vglocaldeb2")] {
        node.sh(&format!("if vgs {vg} >/dev/null 2>&1; then vgremove -q -f -y {vg} >/dev/null; fi; rm -rf /opt/opensvc/var/{NAME}* /opt/opensvc/var/*/{NAME}*"));
        node.vg(vg);
        for (lv, mib) in [("lvbusyboxroot", 32), ("lvbusyboxdata", mib)] {
            node.lv(vg, lv, mib);
        }
        node.sh("mkdir -p /opt/busybox.opensvc.com");
    }
    a.sh("for v in root data; do mkfs.ext4 -q -J size=4 /dev/vglocaldeb1/lvbusybox$v; done");
}

fn the_lvm_tutorial(guest: &Guest) {
    let (a, b) = guest.pair();
    let _names = Named::new([a, b]);
    volumes(a, b, 40);
    a.service(NAME, FILE);
    let mut t = Transcript(String::new());

    t.tell("The production server. The volumes were never replicated, and the recovery server does not know the service.");
    t.typed(a, 0, &format!("{NAME} start"));
    write(a, "one");
    t.typed(a, 0, &format!("{NAME} print status"));
    t.tell("The service file, to the recovery server; there its disk group is made ready, and always will be.");
    t.typed(a, 0, &format!("{NAME} syncdrp --rid sync#i0 --force"));
    b.sh(&format!("ln -sf ../bin/svcmgr /opt/opensvc/etc/{NAME}"));
    t.typed(b, 0, &format!("{NAME} startstandby"));
    t.tell("The first copy.");
    t.typed(a, 0, &format!("{NAME} syncfullsync"));
    equal(a, b);
    t.typed(a, 0, &format!("{NAME} print status"));
    write(a, "two");
    t.tell("What changed since.");
    t.typed(a, 0, &format!("{NAME} syncdrp --force"));
    equal(a, b);
    t.typed(a, 0, &format!("{NAME} print status"));

    t.tell("The test of a disaster: the last writes are sent, the service is stopped here and started there.");
    write(a, "three");
    t.typed(a, 0, &format!("{NAME} syncupdate --force"));
    equal(a, b);
    t.typed(a, 0, &format!("{NAME} stop"));
    t.typed(a, 0, &format!("{NAME} print status"));
    t.typed(b, 0, &format!("{NAME} print status"));
    t.typed(b, 0, &format!("{NAME} start"));
    t.typed(b, 0, &format!("{NAME} print status"));
    assert_eq!(b.sh("cat /opt/busybox.opensvc.com/file /opt/busybox.opensvc.com/appdata/file"), "three\nthree");

    b.svcmgr(&format!("-s {NAME} stop --force"));
    guest.is_written("docs/lvm-drp.md", &format!("{INTRODUCTION}{}```\n", t.0));
}

/// To both filesystems.
fn write(a: Node, what: &str) {
    a.sh(&format!("for d in '' /appdata; do echo {what} >/opt/busybox.opensvc.com$d/file; sync -f /opt/busybox.opensvc.com$d; done"));
}

/// Both replicas are the images that were sent.
pub fn equal(a: Node, b: Node) {
    for lv in ["lvbusyboxroot", "lvbusyboxdata"] {
        assert_eq!(b.hash(&format!("/dev/vglocaldeb2/{lv}")), a.hash(&format!("/dev/vglocaldeb1/{lv}_osvc_snap1")), "{lv}");
    }
}

impl Guest {
    /// Fails unless the project's file at `path` is `text`. The host writes it when it is told to by INSTA_UPDATE=always.
    fn is_written(&self, path: &str, text: &str) {
        let text: String = text.lines().map(|l| format!("{}\n", l.trim_end())).collect();
        self.keep(path, &text);
        let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
        let differ = docs.lines().zip(text.lines()).find(|(docs, here)| docs != here);
        assert!(docs == text || self.renews(), "{path} is not what happened (INSTA_UPDATE=always writes it). first: {differ:?}");
    }
}
