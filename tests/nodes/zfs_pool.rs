//! A zfs pool on disks that two nodes see, as a resource of a service: imported where it starts, exported where it stops,
//! and never imported on two nodes.

use crate::bed::{Nodes, Said, finish};
use crate::snapshot;
use regex::Regex;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = n1 n2
autostart_node = n1

[pool#1]
poolname = p
devices = /shared

[fs#1]
type = zfs
dev = p/d
mnt = /srv/d
";

/// What was typed, and what is to be read of it.
struct Story<'b> {
    bed: &'b Nodes,
    text: String,
}

impl Story<'_> {
    fn typed(&mut self, node: &str, words: &str, code: i32) -> Said {
        let said = self.bed.run(node, words);
        let lines: Vec<&str> = said.stderr.lines().map(|l| l.get(9..).filter(|_| l.get(2..3) == Some(":")).unwrap_or(l)).collect();
        let pool = said.stdout.lines().skip_while(|l| !l.contains("overall")).take_while(|l| !l.contains("sync "));
        let rows: String = pool.map(|l| format!("{l}\n")).collect();
        let text = format!("{node}# {words}\n{}\n{rows}exit status {}\n\n", lines.join("\n"), said.code);
        let times = Regex::new(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}").unwrap().replace_all(&text, "TIME").into_owned();
        self.text += &Regex::new(r"does not answer \(.*?\)").unwrap().replace_all(&times, "does not answer (WHY)");
        assert_eq!(said.code, code, "{}", self.text);
        said
    }
}

#[test]
fn a_pool_is_imported_once() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        bed.zfs(node, "");
    }
    bed.sh(
        "n1",
        "truncate -s 128M /shared/a.img /shared/b.img; zpool create p mirror /shared/a.img /shared/b.img 2>&1; zfs create p/d; zpool export p",
    );
    bed.service(&["n1", "n2"], "svc1", SERVICE);
    let mut story = Story { bed: &bed, text: String::new() };
    story.typed("n1", "svc1 print status", 0);
    story.typed("n1", "svc1 start", 0);
    bed.sh("n1", "echo kept >/srv/d/f");
    story.typed("n1", "svc1 start", 0);
    // its state is that of the pool
    bed.sh("n1", "zpool offline p /shared/b.img");
    story.typed("n1", "svc1 print status", 0);
    bed.sh("n1", "zpool online p /shared/b.img");
    // in use on the other node, which says so; or cannot be asked: the pool tells
    story.typed("n2", "svc1 start", 1);
    bed.ctl("cut", &["n1"]);
    let said = story.typed("n2", "svc1 start", 1);
    assert!(said.stderr.contains("start --force"), "{}", said.stderr);
    assert_eq!(bed.run("n2", "zpool list -H p").code, 1);
    bed.ctl("heal", &["n1"]);
    bed.until("n1", SOON, "ssh n2 true");
    // exported: the other one has it
    story.typed("n1", "svc1 stop", 0);
    assert_eq!(bed.run("n1", "zpool list -H p").code, 1);
    story.typed("n2", "svc1 start", 0);
    assert_eq!(bed.sh("n2", "cat /srv/d/f; echo two >/srv/d/f; zfs snapshot p/d@written"), "kept");
    // that node crashes, and has exported nothing. Somebody has to say that it is off
    bed.ctl("crash", &["n2"]);
    story.typed("n1", "svc1 start", 1);
    story.typed("n1", "svc1 start --force", 0);
    assert_eq!(bed.sh("n1", "cat /srv/d/f"), "two");
    // in use by others: it stays, and the next stop has it
    bed.sh("n1", "zfs create p/other");
    let holder = bed.spawn("n1", "cd /p/other; exec sleep 300");
    bed.until("n1", SOON, "pgrep -f '^sleep 300'");
    story.typed("n1", "svc1 stop", 1);
    bed.sh("n1", "pkill -f '^sleep 300'");
    _ = finish(holder);
    story.typed("n1", "svc1 stop", 0);
    // its disks are away
    bed.sh("n1", "mkdir /shared/away; mv /shared/*.img /shared/away");
    story.typed("n1", "svc1 start", 1);
    story.typed("n1", "svc1 stop", 0);
    snapshot("zfs_pool", &story.text);
}
