//! What goes wrong between two btrfs filesystems, each time really: after it the target has the old or the new data and
//! nothing between, the sender says why, and the next run mends it.

use crate::bed::{Nodes, Said, finish};
use crate::btrfs::{nodes, pair, sent, service, sh};
use crate::zfs_table::Table;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// Slow enough to be seen under way.
const SLOW: &str = "bwlimit = 1000\n";

/// The files of the service, as they stand.
const FILES: &str = "cd /srv/svc1/data; find . -type f -exec md5sum {} + | sort -k2";

/// Something to send.
fn write(bed: &Nodes, megabytes: u32) {
    bed.sh("n1", &format!("head -c {megabytes}M /dev/urandom >/srv/svc1/data/d/big; date +%N >/srv/svc1/data/f"));
}

/// A slow update, seen to be under way.
pub fn under_way(bed: &Nodes) -> std::process::Child {
    write(bed, 4);
    let sync = bed.spawn("n1", "svc1 sync update --force");
    bed.until("n3", SOON, "pgrep -x btrfs && ls /opt/opensvc/var/btrfs/svc1/.svcmgr.svc1.sync.1/in/data/data@tosend/d");
    sync
}

#[test]
fn the_sender_or_the_receiver_is_killed_or_starts() {
    let bed = pair(SLOW);
    let mut table = Table::of(&bed, sent);
    bed.sh("n1", "svc1 sync full 2>&1");
    let before = sent(&bed, "n3");

    let sync = under_way(&bed);
    bed.sh("n1", "pkill -9 -x svc1");
    let said = finish(sync);
    bed.until("n3", SOON, "! pgrep -x btrfs");
    table.fault("the sender is killed", &said);
    table.unchanged(&before, "sender killed");
    let before = table.mended("incremental");

    let sync = under_way(&bed);
    bed.sh("n3", "pkill -9 -f 'svcmgr.* recv '");
    let said = finish(sync);
    table.fault("the receiver is killed", &said);
    assert_eq!(said.code, 1);
    bed.until("n3", SOON, "! pgrep -x btrfs");
    table.unchanged(&before, "receiver killed");
    table.mended("incremental");

    // a start there in the middle: not while the service is up elsewhere, and that does not disturb the transfer
    let sync = under_way(&bed);
    let said = bed.run("n3", "svc1 start");
    let sync = finish(sync);
    table.fault("start on the target in the middle", &said);
    table.also("the sender", &sync);
    assert!(said.code == 1 && sync.code == 0, "{}{}", said.stderr, sync.stderr);
    table.mended("incremental");
    // the sender cannot be reached: the receiver is ended, and the data are the old ones
    let old = bed.sh("n1", FILES);
    let sync = under_way(&bed);
    bed.ctl("cut", &["n3"]);
    let said = bed.run("n3", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("n3", FILES), old);
    let sync = finish(sync);
    assert_eq!(sync.code, 1);
    table.fault("start on the target in the middle, the sender cannot be reached", &said);
    table.also("the sender", &sync);
    // the next run learns who has the data now
    bed.ctl("heal", &["n3"]);
    bed.until("n1", SOON, "ssh n3 true");
    let said = bed.run("n1", "svc1 sync update --force");
    table.also("next run", &said);
    assert_eq!(said.code, 1);
    assert_eq!(bed.sh("n3", "echo new >/srv/svc1/data/new; btrfs subvolume list /srv/svc1/data | grep -c @tosend || :"), "0");
    table.done("btrfs_faults_killed");
}

#[test]
fn full_disk_lost_bases_and_foreign_writes() {
    let bed = nodes(&["n1", "n3"], &service(""), "200M");
    let mut table = Table::of(&bed, sent);
    let update = || bed.run("n1", "svc1 sync update --force");
    bed.sh("n1", "svc1 start 2>&1; mkdir /srv/svc1/data/d; echo 1 >/srv/svc1/data/f; svc1 sync full 2>&1");
    let before = sent(&bed, "n3");
    sh(&bed, "n3", "top 'head -c 90M /dev/urandom >big; sync'");
    write(&bed, 50);
    let said = update();
    table.fault("the filesystem of the target is full", &said);
    assert!(said.code == 1 && said.stderr.contains("space"), "{}", said.stderr);
    table.unchanged(&before, "target full");
    sh(&bed, "n3", "top rm big");
    write(&bed, 1);
    table.mended("incremental");

    // the base is gone on the target, on the source
    for (node, side) in [("n3", "target"), ("n1", "source")] {
        sh(&bed, node, "top btrfs subvolume delete data@sent");
        write(&bed, 1);
        let said = update();
        table.fault(&format!("the base is destroyed on the {side}"), &said);
        assert!(said.code == 0 && said.stderr.contains("full sync needed: "), "{}", said.stderr);
        assert_eq!(sent(&bed, "n1"), sent(&bed, "n3"));
        table.mended("incremental");
    }
    // the copy itself is gone, what it was made of is there
    sh(&bed, "n3", "top btrfs subvolume delete data");
    write(&bed, 1);
    let said = update();
    table.fault("the copy is destroyed on the target", &said);
    assert!(said.code == 0 && said.stderr.contains("n3: incremental"), "{}", said.stderr);
    assert_eq!(offered(&bed), bed.sh("n1", FILES));
    // an earlier run left its snapshot, and nobody has it: it is not sent as one of now
    sh(&bed, "n1", "top btrfs subvolume snapshot -r data data@tosend");
    write(&bed, 1);
    let said = update();
    table.fault("a snapshot that was left on the source", &said);
    let line = |words: &str| said.stderr.lines().position(|l| l.contains(words));
    let (gone, made) = (line("btrfs subvolume delete /opt/opensvc/var/btrfs/svc1/data@tosend"), line("btrfs subvolume snapshot -r"));
    assert!(said.code == 0 && gone.is_some() && gone < made, "{}", said.stderr);
    assert_eq!(sent(&bed, "n1"), sent(&bed, "n3"));

    // somebody writes to the copy; the filesystem was balanced, which is no write
    sh(&bed, "n3", "top btrfs balance start --full-balance . >/dev/null");
    table.mended("incremental");
    sh(&bed, "n3", "top 'btrfs property set -ts data ro false; echo mine >data/mine; btrfs property set -ts data ro true'");
    write(&bed, 1);
    let said = bed.run("n1", "svc1 sync verify");
    table.fault("somebody wrote to the copy", &said);
    assert!(said.code == 1, "{}", said.stderr);
    let said = update();
    table.also("the next sync", &said);
    assert!(said.code == 1 && said.stderr.contains("--abandon n3"), "{}", said.stderr);
    assert_eq!(sh(&bed, "n3", "top cat data/mine"), "mine");
    let said = bed.run("n1", "svc1 sync update --force --abandon n3");
    table.fault("the same, given up", &said);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(sent(&bed, "n1"), sent(&bed, "n3"));
    assert_eq!(
        sh(&bed, "n3", "top 'cat .svcmgr.svc1.sync.1.kept.*.data/mine 2>/dev/null; ls data/mine 2>/dev/null || echo none'"),
        "mine\nnone"
    );
    table.mended("incremental");
    table.done("btrfs_faults_disk_base_writes");
}

/// The target's machine is off and on again, with its disk.
fn reboot(bed: &Nodes) {
    bed.ctl("crash", &["n3"]);
    bed.ctl("boot", &["n3"]);
    bed.sh("n3", "losetup -j /disk/b.img | grep -q . || losetup -f /disk/b.img");
}

/// The receiver there is to be killed at a step (src/steps.rs); what the run said, and at what step it died.
fn dies_at(bed: &Nodes, step: &str, command: &str) -> (Said, String) {
    bed.sh("n3", &format!("echo '{step}' >/opt/opensvc/var/.die; rm -f /opt/opensvc/var/.died"));
    let said = bed.run("n1", command);
    let died = bed.run("n3", "cat /opt/opensvc/var/.died").stdout;
    bed.sh("n3", "rm -f /opt/opensvc/var/.die");
    (said, died)
}

/// The files of the copy, as it stands on the target.
fn offered(bed: &Nodes) -> String {
    sh(bed, "n3", "top 'cd data; find . -type f -exec md5sum {} + | sort -k2'")
}

#[test]
fn the_target_is_rebooted() {
    let bed = pair(SLOW);
    let mut table = Table::of(&bed, sent);
    bed.sh("n1", "svc1 sync full 2>&1");
    let before = sent(&bed, "n3");
    let sync = under_way(&bed);
    let begun = Instant::now();
    reboot(&bed);
    bed.until("n1", SOON, "ssh n3 true");
    let said = finish(sync);
    table.fault("the target is rebooted in the middle of a transfer", &said);
    assert!(said.code == 1 && begun.elapsed() < Duration::from_secs(100), "{:?} {}", begun.elapsed(), said.stderr);
    table.unchanged(&before, "rebooted in the middle");
    table.mended("incremental");
    bed.sh("n1", "sed -i /bwlimit/d /opt/opensvc/etc/svc1.env");

    // it is the only one left: it finishes by itself what it had begun
    write(&bed, 1);
    let new = bed.sh("n1", FILES);
    let (said, died) = dies_at(&bed, "recv exchange", "svc1 sync update --force");
    assert!(died.contains("exchange"), "no step of that: {}", said.stderr);
    bed.ctl("crash", &["n1"]);
    reboot(&bed);
    let said = bed.run("n3", "svc1 start");
    table.also("the target dies before the switch, the sender is gone for good, start on the target", &said);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("n3", FILES), new);
    table.done("btrfs_faults_rebooted");
}

#[test]
fn the_target_dies_at_each_step_of_the_switch() {
    let bed = pair("");
    bed.sh("n1", "svc1 sync full 2>&1");
    bed.sh("n3", "svc1 startstandby 2>&1");
    let mut table = Table::of(&bed, sent);
    for step in 1..60 {
        let before = offered(&bed);
        write(&bed, 1);
        let new = bed.sh("n1", FILES);
        let (said, died) = dies_at(&bed, &format!("recv-apply {step}"), "svc1 sync update --force");
        eprintln!("step {step}: {died}: exit status {}", said.code);
        if died.is_empty() {
            assert!(step > 12, "only {step} steps");
            return;
        }
        assert_eq!(said.code, 1, "{step} {died}: {}", said.stderr);
        let after = offered(&bed);
        assert!(after == before || after == new, "{died}:\n{before}\nthen\n{after}");
        if died.contains("mount -t btrfs -o relatime") {
            // between the umount of the old and the mount of the new
            assert!(bed.sh("n3", "svc1 print status; svc1 startstandby 2>&1").contains("stdby down"));
        }
        table.mended("incremental");
        assert_eq!(bed.sh("n3", FILES), bed.sh("n1", FILES), "{died}: the standby mount");
        let seen = sh(&bed, "n3", "top btrfs subvolume list . | sed 's/.* path //' | sort");
        assert_eq!(seen, "data\ndata@sent", "{died}");
    }
    panic!("more steps than that");
}
