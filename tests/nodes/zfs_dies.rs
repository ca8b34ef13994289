//! The target of a zfs replication dies: in the middle of a transfer, and at each step of putting what has arrived in its
//! place, of a full one as of an incremental one. What it offers is all old or all new at each of them.

use crate::bed::{Nodes, finish};
use crate::zfs::{pair, sent, sh};
use crate::zfs_faults::write;
use crate::zfs_table::Table;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// The target's machine is off and on again, with its pool.
fn reboot(bed: &Nodes) {
    bed.ctl("crash", &["osol2"]);
    bed.ctl("boot", &["osol2"]);
    bed.zfs("osol2", "");
    bed.sh("osol2", "zpool import -f -d /disk osol2_z3_root 2>&1");
    bed.until("osol1", SOON, "ssh osol2 true");
}

/// The receiver there is to be killed at its step of that number or name; what the run said, and at what step it died.
fn dies_at(bed: &Nodes, step: &str, command: &str) -> (crate::bed::Said, String) {
    bed.sh("osol2", &format!("echo 'recv {step}' >/opt/opensvc/var/.die; rm -f /opt/opensvc/var/.died"));
    let said = bed.run("osol1", command);
    let died = bed.run("osol2", "cat /opt/opensvc/var/.died").stdout;
    bed.sh("osol2", "rm -f /opt/opensvc/var/.die");
    (said, died)
}

/// All has arrived, and is to be put in place; it is.
const RECORD: &str = "before writing /opt/opensvc/var/svc1/sync#1.replica.json";
const DESTROY: &str = "before zfs destroy";

/// The copy as it stands on the target, whatever the snapshots are called: its datasets with the guid of the newest.
fn offered(bed: &Nodes) -> String {
    let list = "for d in $(zfs list -H -r -t filesystem -o name osol2_z3_root/data); do
        zfs get -Hpr -d 1 -o name,value guid $d | grep \"^$d@\" | tail -1 | sed 's/@[^\\t]*//'; done";
    sh(bed, "osol2", list)
}

#[test]
fn the_target_is_rebooted() {
    let bed = pair("bwlimit = 1000\n");
    let mut table = Table::new(&bed);
    bed.sh("osol1", "svc1 sync full 2>&1");
    let before = sent(&bed, "osol2");
    write(&bed, 4);
    let sync = bed.spawn("osol1", "svc1 sync update --force");
    bed.until("osol2", SOON, "zfs list -H -t snapshot -o name | grep -q osol2_z3_root/data@tosend");
    let begun = Instant::now();
    reboot(&bed);
    let said = finish(sync);
    table.fault("the target is rebooted in the middle of a transfer", &said);
    assert!(said.code == 1 && begun.elapsed() < Duration::from_secs(100), "{:?} {}", begun.elapsed(), said.stderr);
    table.unchanged(&before, "rebooted in the middle");
    table.mended("incremental");
    bed.sh("osol1", "sed -i /bwlimit/d /opt/opensvc/etc/svc1.env");

    // all has arrived; it has not begun to put that in place, then it has
    for (step, what) in [(RECORD, "between receive and switch"), (DESTROY, "while it switches")] {
        let before = sent(&bed, "osol2");
        write(&bed, 1);
        let (said, died) = dies_at(&bed, step, "svc1 sync update --force");
        assert!(said.code == 1 && !died.is_empty(), "{died}{}", said.stderr);
        reboot(&bed);
        table.fault(&format!("the target is rebooted {what} ({died})"), &said);
        if step == RECORD {
            table.unchanged(&before, what);
        }
        table.mended("incremental");
    }
    // it is the only one left: it finishes by itself what it had begun
    write(&bed, 1);
    let files = "cd /srv/z3; find . -type f -exec md5sum {} + | sort -k2";
    let new = bed.sh("osol1", files);
    let (_, died) = dies_at(&bed, DESTROY, "svc1 sync update --force");
    assert!(died.contains("zfs destroy"), "{died}");
    bed.ctl("crash", &["osol1"]);
    reboot_alone(&bed);
    let said = bed.run("osol2", "svc1 start");
    table.also("the sender is gone for good, start on the target", &said);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("osol2", files), new);
    table.done("zfs_faults_rebooted");
}

fn reboot_alone(bed: &Nodes) {
    bed.ctl("crash", &["osol2"]);
    bed.ctl("boot", &["osol2"]);
    bed.zfs("osol2", "");
    bed.sh("osol2", "zpool import -f -d /disk osol2_z3_root 2>&1");
}

/// Kills the receiver once at each of its steps, of updates or of whole ones.
fn at_each_step(verb: &str, next: &str, at_least: u32) {
    let bed = pair("");
    bed.sh("osol1", "svc1 sync full 2>&1");
    let mut table = Table::new(&bed);
    for step in 1..40 {
        write(&bed, 1);
        let before = offered(&bed);
        let (said, died) = dies_at(&bed, &step.to_string(), &format!("svc1 sync {verb} --force"));
        eprintln!("{verb}, step {step}: {died}: exit status {}", said.code);
        if died.is_empty() || died.contains("rsync") {
            assert!(step > at_least, "only {step} steps");
            return;
        }
        assert_eq!(said.code, 1, "{step} {died}: {}", said.stderr);
        // all datasets old, or all new; between two renames it is not there, and recv and start put it back
        let after = offered(&bed);
        let both = after.lines().count() == before.lines().count();
        let moved = before.lines().filter(|l| !after.contains(*l)).count();
        let whole = both && (moved == 0 || moved == before.lines().count());
        assert!(whole || (after.is_empty() && died.contains("zfs rename")), "{died}:\n{before}\nthen\n{after}");
        table.mended(next);
    }
    panic!("more steps than that");
}

#[test]
fn the_target_dies_at_each_step_of_an_update() {
    at_each_step("update", "incremental", 8);
}

#[test]
fn the_target_dies_at_each_step_of_a_full_one() {
    at_each_step("full", "", 12);
}
