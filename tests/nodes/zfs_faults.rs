//! What goes wrong between two zfs pools, each time really: after it the target has the old or the new data and nothing
//! between, the sender says why, and the next run mends it.

use crate::bed::Nodes;
use crate::bed::finish;
use crate::zfs::{nodes, pair, sent, sh};
use crate::zfs_table::Table;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Slow enough to be seen under way.
const SLOW: &str = "bwlimit = 1000\n";

/// Something to send.
pub fn write(bed: &Nodes, megabytes: u32) {
    bed.sh("osol1", &format!("head -c {megabytes}M /dev/urandom >/srv/z3/sub/big; date +%N >/srv/z3/f"));
}

/// A slow update, seen to be under way.
fn under_way(bed: &Nodes) -> std::process::Child {
    write(bed, 4);
    let sync = bed.spawn("osol1", "svc1 sync update --force");
    bed.until("osol2", SOON, "pgrep -x zfs");
    // the first dataset is small, the second is on its way: one is new, one is old
    bed.until("osol2", SOON, "zfs list -H -t snapshot -o name | grep -q osol2_z3_root/data@tosend");
    sync
}

#[test]
fn the_sender_or_the_receiver_is_killed_or_starts() {
    let bed = pair(SLOW);
    let mut table = Table::new(&bed);
    bed.sh("osol1", "svc1 sync full 2>&1");
    let before = sent(&bed, "osol2");

    let sync = under_way(&bed);
    bed.sh("osol1", "pkill -9 -x svc1");
    let said = finish(sync);
    bed.until("osol2", SOON, "! pgrep -x zfs");
    table.fault("the sender is killed", &said);
    table.unchanged(&before, "sender killed");
    let before = table.mended("incremental");

    let sync = under_way(&bed);
    bed.sh("osol2", "pkill -9 -f 'svcmgr.* recv '");
    let said = finish(sync);
    table.fault("the receiver is killed", &said);
    assert_eq!(said.code, 1);
    bed.until("osol2", SOON, "! pgrep -x zfs");
    table.unchanged(&before, "receiver killed");
    table.mended("incremental");

    // a start there in the middle: not while the service is up elsewhere, and that does not disturb the transfer
    let sync = under_way(&bed);
    let said = bed.run("osol2", "svc1 start");
    let sync = finish(sync);
    table.fault("start on the target in the middle", &said);
    table.also("the sender", &sync);
    assert!(said.code == 1 && sync.code == 0, "{}{}", said.stderr, sync.stderr);
    table.mended("incremental");
    // the sender cannot be reached: the receiver is ended, and the data are the old ones
    let old = bed.sh("osol1", FILES_OF_SENT);
    let sync = under_way(&bed);
    bed.ctl("cut", &["osol2"]);
    let said = bed.run("osol2", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("osol2", "cd /srv/z3; find . -type f -exec md5sum {} + | sort -k2"), old);
    let sync = finish(sync);
    assert_eq!(sync.code, 1);
    table.fault("start on the target in the middle, the sender cannot be reached", &said);
    table.also("the sender", &sync);
    // the next run learns who has the data now
    bed.ctl("heal", &["osol2"]);
    bed.until("osol1", SOON, "ssh osol2 true");
    let said = bed.run("osol1", "svc1 sync update --force");
    table.also("next run", &said);
    assert_eq!(said.code, 1);
    table.done("zfs_faults_killed");
}

/// The files of the tree as they were when they were sent last: two datasets below one mount point.
const FILES_OF_SENT: &str = "zfs clone -o mountpoint=/run/old osol1_z3_root/data@sent osol1_z3_root/old; zfs clone -o mountpoint=/run/old/sub osol1_z3_root/data/sub@sent osol1_z3_root/oldsub
    cd /run/old; find . -type f -exec md5sum {} + | sort -k2";

#[test]
fn full_pool_lost_bases_and_foreign_writes() {
    let bed = nodes(&["osol1", "osol2"], &crate::zfs::service(""), "128M");
    let mut table = Table::new(&bed);
    let update = || bed.run("osol1", "svc1 sync update --force");
    sh(
        &bed,
        "osol1",
        "zfs create osol1_z3_root/data; zfs create osol1_z3_root/data/sub; svc1 start 2>&1; echo 1 >/srv/z3/f; svc1 sync full 2>&1",
    );
    let before = sent(&bed, "osol2");
    bed.sh("osol2", "zfs create osol2_z3_root/other; head -c 80M /dev/urandom >/osol2_z3_root/other/big");
    write(&bed, 40);
    let said = update();
    table.fault("the pool of the target is full", &said);
    assert!(said.code == 1 && said.stderr.contains("space"), "{}", said.stderr);
    table.unchanged(&before, "target pool full");
    bed.sh("osol2", "rm /osol2_z3_root/other/big");
    bed.sh("osol1", "head -c 1M /dev/urandom >/srv/z3/sub/big");
    table.mended("incremental");

    // the base is gone on the target, on the source
    for (node, side) in [("osol2", "target"), ("osol1", "source")] {
        let base = format!("{node}_z3_root/data@sent");
        sh(&bed, node, &format!("zfs release svcmgr:svc1.sync.1 {base}; patient zfs destroy -r {base}"));
        write(&bed, 1);
        let said = update();
        table.fault(&format!("the base is destroyed on the {side}"), &said);
        assert!(said.code == 0 && said.stderr.contains("full sync needed: "), "{}", said.stderr);
        assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));
        table.mended("incremental");
    }
    // an earlier run left its snapshot, and nobody has it: it is not sent as one of now
    bed.sh("osol1", "zfs snapshot -r osol1_z3_root/data@tosend");
    write(&bed, 1);
    let said = update();
    table.fault("a snapshot that was left on the source", &said);
    let line = |words: &str| said.stderr.lines().position(|l| l.ends_with(words));
    let (gone, made) = (line("zfs destroy -r osol1_z3_root/data@tosend"), line("zfs snapshot -r osol1_z3_root/data@tosend"));
    assert!(said.code == 0 && gone.is_some() && gone < made, "{}", said.stderr);
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));

    // somebody writes to the copy
    sh(
        &bed,
        "osol2",
        "d=osol2_z3_root/data; zfs set readonly=off $d; zfs set mountpoint=/srv/w $d; zfs mount $d; echo mine >/srv/w/mine; patient zfs unmount $d; zfs set svcmgr:x=1 $d",
    );
    write(&bed, 1);
    let said = update();
    table.fault("somebody wrote to the copy", &said);
    assert!(said.code == 1 && said.stderr.contains("--abandon osol2"), "{}", said.stderr);
    sh(&bed, "osol2", "zfs clone -o mountpoint=/run/w osol2_z3_root/data@sent osol2_z3_root/w; patient zfs destroy osol2_z3_root/w");
    let said = bed.run("osol1", "svc1 sync update --force --abandon osol2");
    table.fault("the same, given up", &said);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));
    table.done("zfs_faults_pool_base_writes");
}
