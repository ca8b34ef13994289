//! The users' DRP tutorial with a real docker engine: what docs/docker-drp.md shows is what happens here.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::engine::{CLOCK, image};
use regex::Regex;
use std::path::Path;
use std::time::Duration;

const NAME: &str = "busybox.opensvc.com";

/// The tutorial's first file; volume groups are replaced by plain disks, and dds, below, by rsync.
const FIRST: &str = "[DEFAULT]
autostart_node = deb1.opensvc.com
app = OSVCLAB
service_type = DEV
nodes = deb1.opensvc.com
docker_data_dir = /opt/busybox.opensvc.com/appdata
docker_daemon_args = --ip 10.99.0.25

[container#1]
type = docker
run_image = IMAGE

[ip#1]
ipdev = eth0
ipname = busybox.opensvc.com

[fs#1]
mnt_opt = rw
mnt = /opt/busybox.opensvc.com
dev = /dev/mapper/vglocaldeb1-lvbusyboxroot
type = ext4

[fs#2]
mnt_opts = rw
mnt = /opt/busybox.opensvc.com/appdata
dev = /dev/mapper/vglocaldeb1-lvbusyboxdata
type = ext4
";

const INTRODUCTION: &str = "# A container on two sites

The DRP tutorial as it is run by a test (`tests/nodes/tutorial.rs`) on two nodes with a docker engine each: what was typed, and what
was said. Ids are those of the tutorial; the volume groups are plain disks here, and the data go by rsync.

```
";

fn second() -> String {
    FIRST
        .replace("docker_daemon_args = --ip 10.99.0.25", "drpnodes = deb2.opensvc.com\ndocker_daemon_args@nodes = --ip 10.99.0.25\ndocker_daemon_args@drpnodes = --ip 10.99.0.24")
        .replace("ipname = ", "ipname@deb2.opensvc.com = busybox-drp.opensvc.com\nipname@deb1.opensvc.com = ")
        .replace("dev = /dev/mapper/vglocaldeb1-lvbusyboxroot", "always_on = drpnodes\ndev@deb1.opensvc.com = /dev/mapper/vglocaldeb1-lvbusyboxroot\ndev@deb2.opensvc.com = /dev/mapper/vglocaldeb2-lvbusyboxroot")
        .replace("dev = /dev/mapper/vglocaldeb1-lvbusyboxdata", "always_on = drpnodes\ndev@deb1.opensvc.com = /dev/mapper/vglocaldeb1-lvbusyboxdata\ndev@deb2.opensvc.com = /dev/mapper/vglocaldeb2-lvbusyboxdata")
        + "
[sync#1]
src = /opt/busybox.opensvc.com/
dst = /opt/busybox.opensvc.com
dstfs = /opt/busybox.opensvc.com
target = drpnodes

[sync#2]
src = /opt/busybox.opensvc.com/appdata/
dst = /opt/busybox.opensvc.com/appdata
dstfs = /opt/busybox.opensvc.com/appdata
options = -X
target = drpnodes
"
}

fn two_servers() -> Nodes {
    let bed = Nodes::with_svcmgr(&["deb1", "deb2"]);
    for node in ["deb1", "deb2"] {
        bed.sh(
            node,
            &format!(
                "hostname {node}.opensvc.com
                 printf '10.99.0.25 busybox.opensvc.com\\n10.99.0.24 busybox-drp.opensvc.com\\n10.99.0.11 deb1.opensvc.com\\n10.99.0.12 deb2.opensvc.com\\n' >>/etc/hosts
                 for v in root data; do truncate -s 128M /disk/$v.img; mkfs.ext4 -q /disk/$v.img
                 ln -s $(losetup -f --show /disk/$v.img) /dev/mapper/vglocal{node}-lvbusybox$v; done"
            ),
        );
    }
    bed
}

/// What was typed and said, with the ids of the tutorial's own image and container.
struct Transcript {
    bed: Nodes,
    text: String,
    ids: Vec<(String, &'static str)>,
}

impl Transcript {
    /// Types it on a node; it has to end with `code`.
    fn typed(&mut self, node: &str, code: i32, words: &str) -> String {
        let said = self.bed.run(node, &format!("cd /; {{ {words}; }} 2>&1"));
        let plain = self.plain(&said.stdout);
        self.text.push_str(&format!("root@{node}:/# {words}\n{plain}\n"));
        assert_eq!(said.code, code, "{}", self.text);
        said.stdout
    }

    fn plain(&self, said: &str) -> String {
        // on a busy machine a peer may take more than a second
        let mut text: String = said.split_inclusive('\n').filter(|l| !(l.contains("waiting for ") && l.contains(" to answer, "))).collect();
        for (id, shown) in &self.ids {
            text = text.replace(id.as_str(), shown);
        }
        for (pattern, shown) in [
            (r"(?m)^\d\d:\d\d:\d\d ", "HH:MM:SS "),
            (r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}", "Fri Jun  6 15:08:25 UTC 2014"),
            (r"ce6204fcec5a[0-9a-f]{52}", "ce6204fcec5a1e449a52d232c87d724fb0349cf9d932abfd8dfc9e976c10ab8b"),
            (r"\d+/(\d+) files, \d+/(\d+) blocks", "N/$1 files, N/$2 blocks"),
            // the kernel takes its time to let go of a container's mounts
            (r"HH:MM:SS INFO    \S+ +umount \S+\nHH:MM:SS WARNING \S+ +stderr:\numount: \S+: target is busy.\n\n", ""),
            (r"(copy is of) \d\d:\d\d:\d\d", "$1 HH:MM:SS"),
            (r"svcmgr-ssh\.\d+", "svcmgr-ssh.PID"),
            (r": \d+ files?, .* in .* s", ": N files, N MB in N s"),
            (r#""   +[^"]*? ago   +Up .*?   +"#, "\"   2 hours ago   Up a moment   "),
            (r"(CREATED|STATUS|PORTS)   +", "$1   "),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, shown).into_owned();
        }
        text
    }

    fn tell(&mut self, what: &str) {
        self.text.push_str(&format!("# {what}\n\n"));
    }
}

#[test]
fn the_docker_tutorial() {
    let bed = two_servers();
    let id = image(&bed, "deb1", "opensvc/busybox:date", CLOCK, "date.tar");
    bed.service(&["deb1"], NAME, &FIRST.replace("IMAGE", &id));
    bed.sh("deb1", &format!("{NAME} startip; {NAME} startfs"));
    let mut t = Transcript { bed, text: String::new(), ids: vec![(id.clone(), "b073e328878e")] };

    t.tell("One server: address and file systems are up, the image is not there yet.");
    t.typed("deb1", 0, &format!("{NAME} print status"));
    t.typed("deb1", 0, &format!("{NAME} docker images"));
    t.typed("deb1", 0, &format!("{NAME} docker load -i /shared/date.tar"));
    t.typed("deb1", 0, &format!("{NAME} print status"));
    let said = t.bed.sh("deb1", &format!("{NAME} startcontainer 2>&1"));
    let container = Regex::new("[0-9a-f]{64}").unwrap().find(&said).unwrap().as_str()[..12].to_owned();
    t.ids.push((container, "ce6204fcec5a"));
    t.text.push_str(&format!("root@deb1:/# {NAME} startcontainer\n{}\n\n", t.plain(&said)));
    t.typed("deb1", 0, &format!("{NAME} print status"));
    t.bed.until("deb1", Duration::from_secs(5), &format!("[ $({NAME} docker logs {NAME}.container.1 | wc -l) -ge 2 ]"));
    t.dates("deb1");

    t.tell("A recovery server: the file names it, and what differs there.");
    t.bed.service(&["deb1"], NAME, &second().replace("IMAGE", &id));
    t.typed("deb1", 0, &format!("{NAME} print status"));
    t.typed("deb1", 1, &format!("{NAME} syncfullsync"));
    t.tell("The file is there now. The file systems that receive are mounted, and always will be.");
    t.bed.sh("deb2", &format!("ln -sf ../bin/svcmgr /opt/opensvc/etc/{NAME}"));
    t.typed("deb2", 0, &format!("{NAME} startstandby"));
    t.typed("deb1", 0, &format!("{NAME} syncfullsync"));
    t.typed("deb1", 0, &format!("{NAME} print status"));
    t.typed("deb1", 0, &format!("{NAME} syncdrp --force"));
    t.typed("deb1", 0, &format!("{NAME} print status"));

    t.tell("The test of a disaster: the last writes are sent, the service is stopped here and started there.");
    t.typed("deb1", 0, &format!("{NAME} syncupdate --force"));
    t.typed("deb1", 0, &format!("{NAME} stop"));
    t.typed("deb1", 0, &format!("{NAME} print status"));
    t.typed("deb2", 0, &format!("{NAME} print status"));
    t.typed("deb2", 0, &format!("{NAME} start"));
    t.typed("deb2", 0, &format!("{NAME} print status"));
    t.dates("deb2");
    t.typed("deb2", 0, &format!("{NAME} docker ps"));

    t.bed.sh("deb2", &format!("{NAME} stop --force"));
    nothing_left(&t.bed, "deb1", &["loop /disk/data.img", "loop /disk/root.img"]);
    nothing_left(&t.bed, "deb2", &["loop /disk/data.img", "loop /disk/root.img"]);
    same_as_the_docs(&t.text);
}

impl Transcript {
    /// The container's dates; how many lines there were depends on the moment.
    fn dates(&mut self, node: &str) {
        let said = self.bed.run(
            node,
            &format!(
                "{NAME} docker attach --no-stdin {NAME}.container.1 >/run/dates & p=$!
                 for i in {{1..200}}; do [ $(grep -c UTC /run/dates) -lt 2 ] || break; sleep .1; done; kill $p; wait $p || :; grep -m2 UTC /run/dates"
            ),
        );
        let dates: Vec<&str> = said.stdout.lines().collect();
        assert_eq!(dates.len(), 2, "{}{}", said.stdout, said.stderr);
        let text = self.plain(&format!("{}\n", dates.join("\n").replace('\r', "")));
        self.text.push_str(&format!("root@{node}:/# {NAME} docker attach --no-stdin {NAME}.container.1\n{text}\n"));
    }
}

fn same_as_the_docs(text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/docker-drp.md");
    let text: String = format!("{INTRODUCTION}{text}```\n").lines().map(|l| format!("{}\n", l.trim_end())).collect();
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::write(&path, &text).unwrap();
    }
    let docs = std::fs::read_to_string(&path).unwrap();
    let differ = docs.lines().zip(text.lines()).find(|(docs, here)| docs != here);
    assert!(docs == text, "docs/docker-drp.md is not what happened (INSTA_UPDATE=always writes it). first: {differ:?}\n{text}");
}
