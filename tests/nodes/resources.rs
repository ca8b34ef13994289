//! The drivers against real tools: each kind of file system, loops, launchers, addresses.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::snapshot;

const HEAD: &str = "[DEFAULT]\nservice_type = TST\nnodes = n1\nautostart_node = n1\n";

fn node(env: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1"]);
    bed.service(&["n1"], "svc1", &format!("{HEAD}{env}"));
    bed
}

fn avail(bed: &Nodes) -> String {
    let tree = bed.sh("n1", "svc1 print status");
    let line = tree.lines().find(|l| l.starts_with("|- avail")).unwrap_or_default();
    line.trim_start_matches("|- avail").trim().to_owned()
}

#[test]
fn every_kind_of_file_system() {
    let bed = node(
        "[loop#1]\nfile = /disk/l.img\n\
         [fs#1]\ntype = ext4\ndev = LABEL=data\nmnt = /srv/e\n\
         [fs#2]\ntype = xfs\ndev = /disk/x.img\nmnt = /srv/x\nmnt_opt = loop\n\
         [fs#3]\ntype = btrfs\ndev = LABEL=btr\nmnt = /srv/docker\nmnt_opt = defaults,subvol=docker\n\
         [fs#4]\ntype = btrfs\ndev = LABEL=btr\nmnt = /srv/sub\nmnt_opt = defaults,subvol=data\n\
         [fs#5]\ntype = tmpfs\ndev = none\nmnt = /srv/t\n\
         [fs#6]\ntype = none\ndev = /srv/t\nmnt = /srv/u\nmnt_opt = bind,rw\n\
         [fs#7]\ntype = ext2\ndev = /disk/two.img\nmnt = /srv/e/below\nmnt_opt = loop,ro\n",
    );
    bed.sh(
        "n1",
        "truncate -s 16M /disk/l.img /disk/two.img; truncate -s 300M /disk/x.img; truncate -s 128M /disk/b.img
         mkfs.ext4 -q -L data /disk/l.img; mkfs.ext2 -q /disk/two.img; mkfs.xfs -q /disk/x.img; mkfs.btrfs -q -L btr /disk/b.img
         losetup -f /disk/b.img; mkdir -p /mnt/b; mount LABEL=btr /mnt/b
         btrfs subvolume create /mnt/b/docker; btrfs subvolume create /mnt/b/data; umount /mnt/b",
    );
    bed.sh("n1", "svc1 start");
    snapshot("file_systems_up", &bed.sh("n1", "svc1 print status"));
    bed.sh("n1", "for d in e x docker sub t u; do echo $d >/srv/$d/f; done; grep -q u /srv/t/f; ! touch /srv/e/below/f 2>/dev/null");
    // once more: nothing to do, and nothing is mounted twice
    let said = bed.run("n1", "svc1 start");
    assert_eq!((said.code, said.stderr.matches("is already mounted").count()), (0, 7), "{}", said.stderr);
    assert_eq!(bed.sh("n1", "findmnt -rn -o TARGET | grep -c ^/srv"), "7");

    bed.sh("n1", "svc1 stop");
    nothing_left(&bed, "n1", &["loop /disk/b.img"]); // the test's own
    assert_eq!(avail(&bed), "down");
}

#[test]
fn a_status_writes_nothing_and_survives_a_hung_script() {
    let bed = node("[fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/t\n[app#1]\nscript = /disk/app\nstart = 1\nstop = 1\ncheck = 1\n");
    bed.write("n1", "/disk/app", "#!/bin/sh\ncase $1 in start) touch /run/up;; stop) rm -f /run/up;; status) [ ! -e /run/hang ] || sleep 600; [ -e /run/up ];; esac\n");
    bed.sh("n1", "chmod 700 /disk/app; svc1 start");
    let before = bed.sh("n1", "find /srv/t /disk/app /opt/opensvc -printf '%p %m %s\\n' | sort");
    assert_eq!(avail(&bed), "up");
    let files = |text: String| text.lines().filter(|l| !l.contains(".log ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(files(bed.sh("n1", "find /srv/t /disk/app /opt/opensvc -printf '%p %m %s\\n' | sort")), files(before));
    bed.sh("n1", "touch /run/hang");
    let said = bed.run("n1", "timeout 60 svc1 print status");
    assert_eq!(said.code, 0, "hung: {}", said.stderr);
    assert!(said.stdout.contains("app#1          .... warn"), "{}", said.stdout);
    bed.sh("n1", "rm /run/hang");
    nothing_left(&bed, "n1", &["mount /srv/t"]);
}

#[test]
fn a_busy_file_system_is_freed_or_the_stop_fails() {
    let bed = node("[fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/t\n");
    bed.sh("n1", "svc1 start");
    let user = bed.spawn("n1", "cd /srv/t; exec sleep 300");
    bed.until("n1", std::time::Duration::from_secs(5), "fuser -s -m /srv/t");
    let said = bed.run("n1", "svc1 stop");
    assert_eq!(said.code, 0, "{}", said.stderr);
    crate::bed::finish(user);
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn a_failed_start_undoes_what_it_did_and_says_why() {
    let bed =
        node("[ip#1]\nipdev = eth0\nipname = 10.99.0.100\n[fs#1]\ntype = ext4\ndev = /disk/garbage.img\nmnt = /srv/g\nmnt_opt = loop\n");
    bed.sh("n1", "head -c 8M /dev/urandom >/disk/garbage.img");
    let said = bed.run("n1", "svc1 start");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("'start' action stopped on execution error"), "{}", said.stderr);
    assert!(said.stderr.contains("trying to rollback start on ip#1"), "{}", said.stderr);
    assert_eq!(bed.sh("n1", "ip -o addr | grep -c 10.99.0.100 || true"), "0");
    assert_eq!(bed.sh("n1", "ip -o link show eth0 | grep -c UP"), "1");
    nothing_left(&bed, "n1", &[]);
}
