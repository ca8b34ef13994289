//! btrfs replication where two things come together: a power cut behind a transfer, a killed sync on shared disks, edits of
//! the service file, a disk that was replaced, mounts inside mounts.

use crate::bed::{Nodes, finish};
use crate::btrfs::{nodes, pair, service, sh, subvolumes};
use crate::btrfs_faults::under_way;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

const FILES: &str = "cd /srv/svc1/data; find . -type f -exec md5sum {} + | sort -k2";

/// Changes the service file of both nodes.
fn edit(bed: &Nodes, script: &str) {
    for node in bed.names() {
        bed.sh(node, &format!("sed -i '{script}' /opt/opensvc/etc/svc1.env"));
    }
}

/// The errors and warnings of a command, as far as they are the same each time.
fn words(said: &crate::bed::Said) -> String {
    format!("exit {}\n{}", said.code, crate::zfs_table::words(said))
}

/// All that a transfer brought is on the disk before the copy counts as it.
#[test]
fn the_power_goes_when_all_has_arrived() {
    let bed = pair("");
    bed.sh("n1", "svc1 sync full 2>&1");
    bed.sh("n3", "svc1 startstandby 2>&1");
    let cut = (12..30).find_map(|step| {
        bed.sh("n1", &format!("for i in 1 2 3; do head -c 40K /dev/urandom >/srv/svc1/data/d/new{step}.$i; done"));
        bed.sh("n3", &format!("echo 'recv {step}' >/opt/opensvc/var/.die; rm -f /opt/opensvc/var/.died"));
        let sync = bed.spawn("n1", "svc1 sync update --force");
        bed.until("n3", SOON, "[ -e /opt/opensvc/var/.died ]");
        // what the disk has at that instant
        let died = bed.sh("n3", "cp --sparse=always /disk/b.img /disk/cut.img; cat /opt/opensvc/var/.died");
        let new = bed.sh("n1", FILES);
        finish(sync);
        let applying = "grep -q applying '/opt/opensvc/var/svc1/sync#1.replica.json' && echo yes || echo no";
        (died.contains("after writing") && bed.sh("n3", applying) == "yes").then_some(new)
    });
    let new = cut.expect("a step at which it is on record");
    bed.ctl("crash", &["n3"]);
    bed.ctl("crash", &["n1"]);
    bed.ctl("boot", &["n3"]);
    bed.sh("n3", "losetup -D; mv /disk/cut.img /disk/b.img; losetup -f /disk/b.img");
    let said = bed.run("n3", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("n3", FILES), new);
}

/// Four nodes, two sites, each with shared disks: a sync that is killed leaves no filesystem mounted twice.
#[test]
fn a_killed_sync_leaves_nothing_mounted_on_shared_disks() {
    let names = ["n1", "n2", "n3", "n4"];
    let bed = Nodes::with_svcmgr(&names);
    for (label, site) in [("home", ["n1", "n2"]), ("drp", ["n3", "n4"])] {
        bed.sh(site[0], &format!("truncate -s 256M /shared/{label}.img; mkfs.btrfs -q -L {label} /shared/{label}.img 2>&1; losetup -f /shared/{label}.img; mount LABEL={label} /mnt; btrfs subvolume create /mnt/data; umount /mnt"));
        bed.sh(site[1], &format!("losetup -f /shared/{label}.img"));
    }
    let text = "[DEFAULT]\nservice_type = TST\nnodes = n1 n2\ndrpnodes = n3 n4\ncopies = site\nautostart_node = n1\n\n[fs#1]\ntype = btrfs\ndev = LABEL=home\ndev@drpnodes = LABEL=drp\nmnt = /srv/svc1/data\nmnt_opt = subvol=data\n\n[sync#1]\ntype = btrfs\nsrc = home:data\ndst = drp:data\ntarget = drpnodes\n";
    bed.service(&names, "svc1", text);
    bed.sh("n1", "svc1 start 2>&1; echo 1 >/srv/svc1/data/f; svc1 sync full 2>&1 || :");
    bed.sh("n3", "svc1 takeover 2>&1; head -c 8M /dev/urandom >/srv/svc1/data/big");
    edit(&bed, "s/^src/bwlimit = 500\\nsrc/");
    let mounted =
        |node: &str| bed.run(node, "grep -E ' btrfs .*(home|drp)|var/btrfs|/srv/svc1' /proc/self/mountinfo | cut -d' ' -f5").stdout;
    let mut back = bed.spawn("n3", "svc1 giveback");
    bed.until("n1", SOON, "pgrep -f '^btrfs -q [r]eceive' && grep -q var/btrfs /proc/self/mountinfo");
    bed.sh("n3", "pkill -STOP -x svc1");
    bed.sh("n1", "pkill -9 -f 'svcmgr.* [r]ecv '");
    bed.sh("n1", "pkill -9 -x btrfs || :");
    bed.until("n1", SOON, "! pgrep -x btrfs");
    bed.sh("n3", "pkill -9 -x svc1");
    _ = back.kill();
    assert!(mounted("n1").contains("var/btrfs/home") && mounted("n3").contains("var/btrfs/drp"), "{} {}", mounted("n1"), mounted("n3"));

    let said = bed.run("n3", "svc1 stop");
    assert_eq!((said.code, mounted("n3").as_str()), (0, ""), "{}", said.stderr);
    let said = bed.run("n4", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = bed.run("n1", "svc1 stop");
    assert_eq!((said.code, mounted("n1").as_str()), (0, ""), "{}", said.stderr);
}

/// One pair of nodes through what its administrators do to it.
#[test]
fn what_came_from_elsewhere_stays_and_edits_make_no_orphan() {
    let plain = service("").replace("always_on = drpnodes\n", "");
    let bed = nodes(&["n1", "n3"], &plain, "256M");
    let update = |more: &str| bed.run("n1", &format!("svc1 sync update --force {more}"));
    let mut all = Vec::new();
    // somebody's own data with a snapshot that is called as ours are
    sh(
        &bed,
        "n3",
        "top 'btrfs subvolume create x; echo only >x/only; btrfs subvolume snapshot -r x data@sent; btrfs subvolume snapshot -r data@sent data; btrfs subvolume delete x'",
    );
    bed.sh("n1", "svc1 start 2>&1; mkdir /srv/svc1/data/d; echo 1 >/srv/svc1/data/f");
    all.push(words(&update("")));
    all.push(words(&bed.run("n1", "svc1 sync full --rid sync#1")));
    assert_eq!(sh(&bed, "n3", "top 'cat data/only data@sent/only'"), "only\nonly");
    sh(&bed, "n3", "top btrfs subvolume delete data");
    assert_eq!(bed.run("n1", "svc1 sync full --rid sync#1").code, 1);
    sh(&bed, "n3", "top btrfs subvolume delete data@sent");
    assert_eq!(update("").code, 0);

    // transfers that break do not fill the disk of the sender; what somebody calls alike is his
    sh(&bed, "n1", "top btrfs subvolume snapshot -r data data@sent.2026-11-21");
    edit(&bed, "s/^src/bwlimit = 1000\\nsrc/");
    for _ in 0..3 {
        let sync = under_way(&bed);
        bed.until("n3", SOON, "pkill -9 -f 'svcmgr.* [r]ecv .* receive '");
        assert_eq!(finish(sync).code, 1);
        bed.until("n3", SOON, "! pgrep -x btrfs");
    }
    assert_eq!(subvolumes(&bed, "n1"), "data\ndata@sent\ndata@sent.2026-11-21\ndata@sent.UUID");
    edit(&bed, "/bwlimit/d");
    assert_eq!(update("").code, 0);
    assert_eq!(subvolumes(&bed, "n1"), "data\ndata@sent\ndata@sent.2026-11-21");

    // a subvolume more; another order: the copy is what it was
    for node in ["n1", "n3"] {
        sh(&bed, node, "top btrfs subvolume create logs");
    }
    for places in ["svc1:data svc1:logs", "svc1:logs svc1:data"] {
        edit(&bed, &format!("s/^src.*/src = {places}/; s/^dst.*/dst = {places}/"));
        let where_is = bed.run("n1", "svc1 where");
        assert!(!where_is.stdout.contains("orphan"), "{}", where_is.stdout);
        sh(&bed, "n1", "top 'date +%N >logs/l'");
        let said = update("");
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(sh(&bed, "n1", "top 'cat logs/l data/f'"), sh(&bed, "n3", "top 'cat logs/l data/f'"));
    }
    // who writes to one of them is seen all the same, also if he put it there read-only and its origin is gone
    sh(
        &bed,
        "n3",
        "top 'btrfs subvolume snapshot logs y; echo mine >y/mine; btrfs subvolume delete logs; btrfs subvolume snapshot -r y logs; btrfs subvolume delete y'",
    );
    assert_eq!(update("").code, 1);
    all.push(words(&update("--abandon n3")));
    assert_eq!(sh(&bed, "n3", "top 'cat .svcmgr.svc1.sync.1.kept.*.logs/mine'"), "mine");

    // another sync of one of them comes, and goes: nothing is sent whole for that
    sh(&bed, "n3", "top btrfs subvolume delete .svcmgr.svc1.sync.1.kept.*.logs");
    for (change, names, there) in [
        (
            "printf '\\n[sync#2]\\ntype = btrfs\\ntarget = drpnodes\\nsrc = svc1:data\\ndst = svc1:second\\n' >>",
            "sync.1.",
            "second\nsecond@sync.2.sent",
        ),
        ("sed -i '/sync#2/,$d'", "", "second\nsecond@sync.2.sent"),
    ] {
        for node in ["n1", "n3"] {
            bed.sh(node, &format!("{change} /opt/opensvc/etc/svc1.env"));
        }
        sh(&bed, "n1", "top 'date +%N >logs/l'");
        let said = update("");
        let whole = said.stderr.lines().any(|l| l.contains("SYNC#1") && l.contains("n3: incremental"));
        assert!(said.code == 0 && whole && !said.stderr.contains("full sync needed"), "{}", said.stderr);
        let one = format!("data\ndata@{names}sent\n");
        let two = format!("logs\nlogs@{names}sent");
        assert_eq!(subvolumes(&bed, "n3"), format!("{one}{two}\n{there}"));
        assert_eq!(subvolumes(&bed, "n1").replace("data@sync.2.sent\n", "").replace("data@sent.2026-11-21\n", ""), format!("{one}{two}"));
        assert_eq!(bed.run("n1", "svc1 sync verify").code, 0);
    }

    // the disk of the sender was replaced: the only copy is the other one
    let files = sh(&bed, "n3", "top 'md5sum data/d/big logs/l'");
    bed.sh("n1", "svc1 stop 2>&1; losetup -d $(losetup -j /disk/b.img | cut -d: -f1); rm /disk/b.img; truncate -s 256M /disk/b.img; mkfs.btrfs -q -L svc1 /disk/b.img; losetup -f /disk/b.img");
    sh(&bed, "n1", "top 'btrfs subvolume create data; btrfs subvolume create logs'; svc1 start 2>&1");
    all.push(words(&update("")));
    assert_eq!(sh(&bed, "n3", "top 'md5sum data/d/big logs/l'"), files);
    let said = bed.run("n1", "svc1 sync full --rid sync#1");
    assert_eq!(said.code, 0, "{}", said.stderr);
    crate::snapshot("btrfs_edges", &all.join("==\n"));
}

/// What is mounted on the target, one in the other, and a folder of it elsewhere: all of it shows the new data.
#[test]
fn mounts_inside_mounts_follow() {
    let fs = |n: u32, mnt: &str, subvol: &str| {
        format!("[fs#{n}]\ntype = btrfs\ndev = LABEL=svc1\nmnt = {mnt}\nmnt_opt = subvol={subvol}\nalways_on = drpnodes\n\n")
    };
    let text = format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n3\nautostart_node = n1\n\n{}{}[fs#3]\ntype = none\ndev = /srv/svc1/d\nmnt = /srv/zbind\nmnt_opt = bind\nalways_on = drpnodes\n\n[sync#1]\ntype = btrfs\ntarget = drpnodes\nsrc = svc1:app svc1:db\n",
        fs(1, "/srv/svc1", "app"),
        fs(2, "/srv/svc1/db", "db")
    );
    let bed = nodes(&["n1", "n3"], &text, "256M");
    sh(&bed, "n1", "top 'btrfs subvolume create app; btrfs subvolume create db; mkdir app/db app/d'");
    let write = |n: u32| bed.sh("n1", &format!("for d in . db d; do echo ${{d}}{n} >/srv/svc1/$d/f; done"));
    bed.sh("n1", "svc1 start 2>&1");
    write(1);
    bed.sh("n1", "svc1 sync full 2>&1");
    bed.sh("n3", "svc1 startstandby 2>&1");
    for n in 2..4 {
        write(n);
        let reader = bed.spawn("n3", "cd /srv/svc1/db; touch /run/read; until [ -e /run/sent ]; do sleep .1; done");
        bed.until("n3", SOON, "[ -e /run/read ]");
        let said = bed.run("n1", "svc1 sync update --force");
        assert!(said.code == 0 && !said.stderr.contains("WARNING"), "{}", said.stderr);
        bed.sh("n3", "touch /run/sent");
        finish(reader);
        bed.sh("n3", "rm /run/read /run/sent");
        let seen = bed.run("n3", "cat /srv/svc1/f /srv/svc1/db/f /srv/zbind/f").stdout;
        assert_eq!(seen, format!(".{n}\ndb{n}\nd{n}\n"));
        let tree = bed.sh("n3", "svc1 print status");
        assert_eq!(tree.matches("stdby up").count(), 4, "{tree}");
        assert_eq!(bed.run("n3", "grep var/btrfs /proc/self/mountinfo").stdout, "");
    }
    bed.ctl("crash", &["n1"]);
    let said = bed.run("n3", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("n3", "echo 5 >/srv/zbind/f; cat /srv/svc1/d/f; cat /srv/svc1/db/f"), "5\ndb3");
}

/// What is left out of the copies is at home after the way there and back as before.
#[test]
fn a_subvolume_inside_is_there_again_after_a_giveback() {
    let plain = service("recursive = false\n").replace("always_on = drpnodes\n", "");
    let bed = nodes(&["n1", "n3"], &plain, "256M");
    bed.sh("n1", "svc1 start 2>&1; cd /srv/svc1/data; btrfs subvolume create in; mkdir in/d; btrfs subvolume create in/d/deep; btrfs subvolume create gone; echo i >in/i; echo d >in/d/deep/d; echo g >gone/g; svc1 sync full 2>&1");
    bed.sh(
        "n3",
        "svc1 takeover 2>&1; mkdir /srv/svc1/data/gone; echo x >/srv/svc1/data/gone/x; echo 3 >/srv/svc1/data/f; svc1 giveback 2>&1",
    );
    assert_eq!(bed.sh("n1", "cd /srv/svc1/data; cat f in/i in/d/deep/d gone/*; ls"), "3\ni\nd\nx\nf\ngone\nin");
    assert_eq!(sh(&bed, "n1", "top 'cat .svcmgr.svc1.sync.1.kept.*.data/gone/g'"), "g");
    let said = bed.run("n1", "echo 4 >/srv/svc1/data/f; svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("n3: incremental"), "{}", said.stderr);
    assert_eq!(bed.run("n1", "svc1 sync verify").code, 0);
}
