//! What goes wrong between two zfs pools, each time really: after it the target has the old or the new data and nothing
//! between, the sender says why, and the next run mends it.

use crate::bed::{Nodes, Said, finish};
use crate::zfs::{nodes, pair, sent, sh};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// Slow enough to be seen under way.
const SLOW: &str = "bwlimit = 1000\n";

fn update(bed: &Nodes) -> Said {
    bed.run("osol1", "svc1 sync update --force")
}

/// What the two nodes' status says of the sync, on one line each.
fn rows(bed: &Nodes) -> String {
    let row = |node: &str| {
        let tree = bed.run(node, "svc1 print status").stdout;
        let lines = tree
            .lines()
            .skip_while(|l| !l.contains("sync#1 "))
            .take_while(|l| l.contains("sync#1 ") || l.contains("   # ") || !l.contains("hb "));
        let words: Vec<String> = lines
            .flat_map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter(|w| w != "|" && w != "'-" && w != "|-")
            .collect();
        format!("{node}: {}", words.join(" "))
    };
    format!("{}\n{}", row("osol1"), row("osol2"))
}

/// One line of the table of faults: what was done, and what came of it.
fn fault(bed: &Nodes, what: &str, said: &Said) {
    let last =
        said.stderr.lines().filter(|l| l.contains("ERROR") || l.contains("WARNING") || l.starts_with("  ")).collect::<Vec<_>>().join("\n");
    println!("== {what}: exit {}\n{last}\n{}", said.code, rows(bed));
}

/// The replica is what it was.
fn unchanged(bed: &Nodes, before: &str, what: &str) {
    assert_eq!(sent(bed, "osol2"), before, "{what}");
    assert!(bed.sh("osol2", "cat '/opt/opensvc/var/svc1/sync#1.replica.json'").contains("\"state\": \"replica\""), "{what}");
}

/// The next run brings all of it; in how it says it did. What was sent.
fn mended(bed: &Nodes, how: &str, what: &str) -> String {
    let said = update(bed);
    println!(
        "-- next run after {what}: exit {}, {}",
        said.code,
        said.stderr.lines().find(|l| l.contains(": full,") || l.contains(": incremental,")).unwrap_or_default()
    );
    assert!(said.code == 0 && said.stderr.contains(how), "{what}: {}", said.stderr);
    let now = sent(bed, "osol1");
    assert_eq!(sent(bed, "osol2"), now, "{what}");
    now
}

/// Something to send.
fn write(bed: &Nodes, megabytes: u32) {
    bed.sh("osol1", &format!("head -c {megabytes}M /dev/urandom >/srv/z3/sub/big; date +%N >/srv/z3/f"));
}

/// A slow update, seen to be under way.
fn under_way(bed: &Nodes) -> std::process::Child {
    write(bed, 8);
    let sync = bed.spawn("osol1", "svc1 sync update --force");
    bed.until("osol2", SOON, "pgrep -x zfs");
    // the first dataset is small, the second is on its way: one is new, one is old
    bed.until("osol2", SOON, "zfs list -H -t snapshot -o name | grep -q osol2_z3_root/data@tosend");
    sync
}

#[test]
fn killed_cut_and_rebooted() {
    let bed = pair(SLOW);
    bed.sh("osol1", "svc1 sync full 2>&1");
    let before = sent(&bed, "osol2");

    let sync = under_way(&bed);
    bed.sh("osol1", "pkill -9 -x svc1");
    let said = finish(sync);
    bed.until("osol2", SOON, "! pgrep -x zfs");
    fault(&bed, "sender killed", &said);
    unchanged(&bed, &before, "sender killed");
    let before = mended(&bed, "incremental", "sender killed");

    let sync = under_way(&bed);
    bed.sh("osol2", "pkill -9 -f 'svcmgr.* recv '");
    let said = finish(sync);
    fault(&bed, "receiver killed", &said);
    assert_eq!(said.code, 1);
    bed.until("osol2", SOON, "! pgrep -x zfs");
    unchanged(&bed, &before, "receiver killed");
    let before = mended(&bed, "incremental", "receiver killed");

    // a start there in the middle, as the sender cannot be reached: the receiver is ended, and the data are the old ones
    let old = bed.sh("osol1", FILES_OF_SENT);
    let sync = under_way(&bed);
    bed.ctl("cut", &["osol2"]);
    let said = bed.run("osol2", "svc1 start");
    fault(&bed, "start on the target in the middle", &said);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("osol2", "cd /srv/z3; find . -type f -exec md5sum {} + | sort -k2"), old, "{before}");
    let said = finish(sync);
    println!("-- the sender: exit {}", said.code);
    assert_eq!(said.code, 1);
}

/// The files of the tree as they were when they were sent last: two datasets below one mount point.
const FILES_OF_SENT: &str = "zfs clone -o mountpoint=/run/old osol1_z3_root/data@sent osol1_z3_root/old; zfs clone -o mountpoint=/run/old/sub osol1_z3_root/data/sub@sent osol1_z3_root/oldsub
    cd /run/old; find . -type f -exec md5sum {} + | sort -k2";

#[test]
fn the_target_dies() {
    let bed = pair(SLOW);
    bed.sh("osol1", "svc1 sync full 2>&1");
    let before = sent(&bed, "osol2");
    let again = |bed: &Nodes| {
        bed.ctl("boot", &["osol2"]);
        bed.zfs("osol2", "");
        bed.sh("osol2", "zpool import -f -d /disk osol2_z3_root 2>&1");
        bed.until("osol1", SOON, "ssh osol2 true");
    };
    let sync = under_way(&bed);
    bed.ctl("crash", &["osol2"]);
    let begun = Instant::now();
    again(&bed);
    let said = finish(sync);
    fault(&bed, "target rebooted in the middle", &said);
    assert!(said.code == 1 && begun.elapsed() < Duration::from_secs(100), "{:?} {}", begun.elapsed(), said.stderr);
    unchanged(&bed, &before, "target rebooted in the middle");
    mended(&bed, "incremental", "target rebooted in the middle");

    // all has arrived, and it dies before that is put in place: each step of it once
    bed.sh("osol1", "sed -i /bwlimit/d /opt/opensvc/etc/svc1.env");
    let mut tried = 0;
    for step in 1..=12 {
        write(&bed, 1);
        let before = sent(&bed, "osol2");
        bed.sh("osol2", &format!("echo 'recv {step}' >/opt/opensvc/var/.die; rm -f /opt/opensvc/var/.died"));
        let said = update(&bed);
        let died = bed.run("osol2", "cat /opt/opensvc/var/.died").stdout;
        bed.sh("osol2", "rm -f /opt/opensvc/var/.die");
        if died.is_empty() || died.contains("rsync") {
            println!("-- step {step}: survived, exit {}", said.code);
            break;
        }
        tried += 1;
        println!("-- died at step {step}: {died}: exit {}", said.code);
        assert_eq!(said.code, 1, "{step} {died}: {}", said.stderr);
        // both datasets have the same snapshots, so one of them is whole
        let of = |dataset: &str| {
            bed.sh(
                "osol2",
                &format!("zfs list -H -r -d 1 -t snapshot -o name osol2_z3_root/{dataset} | grep {dataset}@ | sed 's/.*@//' | sort"),
            )
        };
        assert!(of("data") == of("data/sub") && !of("data").is_empty(), "{}: {}", of("data"), of("data/sub"));
        let after = mended(&bed, "", "the target died while it put it in place");
        assert_ne!(after, before);
    }
    assert!(tried > 3, "{tried}");
}

#[test]
fn full_pool_lost_bases_and_foreign_writes() {
    let bed = nodes(&["osol1", "osol2"], &crate::zfs::service(""), "128M");
    sh(
        &bed,
        "osol1",
        "zfs create osol1_z3_root/data; zfs create osol1_z3_root/data/sub; svc1 start 2>&1; echo 1 >/srv/z3/f; svc1 sync full 2>&1",
    );
    let before = sent(&bed, "osol2");
    bed.sh("osol2", "zfs create osol2_z3_root/other; head -c 80M /dev/urandom >/osol2_z3_root/other/big");
    write(&bed, 40);
    let said = update(&bed);
    fault(&bed, "target pool full", &said);
    assert!(said.code == 1 && said.stderr.contains("space"), "{}", said.stderr);
    unchanged(&bed, &before, "target pool full");
    bed.sh("osol2", "rm /osol2_z3_root/other/big");
    bed.sh("osol1", "head -c 1M /dev/urandom >/srv/z3/sub/big");
    mended(&bed, "incremental", "target pool full");

    // the base is gone on the target, on the source
    sh(&bed, "osol2", "zfs release svcmgr:svc1.sync.1 osol2_z3_root/data@sent; patient zfs destroy -r osol2_z3_root/data@sent");
    write(&bed, 1);
    let said = update(&bed);
    fault(&bed, "base destroyed on the target", &said);
    println!("{}", said.stderr);
    sh(&bed, "osol1", "zfs release svcmgr:svc1.sync.1 osol1_z3_root/data@sent; patient zfs destroy -r osol1_z3_root/data@sent");
    write(&bed, 1);
    let said = update(&bed);
    fault(&bed, "base destroyed on the source", &said);
    println!("{}", said.stderr);

    // somebody writes to the copy
    sh(
        &bed,
        "osol2",
        "d=osol2_z3_root/data; zfs set readonly=off $d; zfs set mountpoint=/srv/w $d; zfs mount $d; echo mine >/srv/w/mine; patient zfs unmount $d; zfs set svcmgr:x=1 $d",
    );
    write(&bed, 1);
    let said = update(&bed);
    fault(&bed, "target written to", &said);
    assert_eq!(said.code, 1, "{}", said.stderr);
    println!("{}", said.stderr);
    let said = bed.run("osol1", "svc1 sync update --force --abandon osol2");
    fault(&bed, "given up", &said);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));
}

#[test]
fn a_cable_cut_at_any_time() {
    // six services, which are a tenth, a half and nearly all through when the cable is cut: three send all, three what
    // has changed
    let names = ["f1", "f5", "f9", "i1", "i5", "i9"];
    let bed = Nodes::with_svcmgr(&crate::zfs::NODES);
    for node in crate::zfs::NODES {
        bed.zfs(node, "");
        bed.sh(node, "truncate -s 1G /disk/z.img; zpool create z /disk/z.img 2>&1");
    }
    for (name, limit) in names.iter().zip([150, 500, 900, 150, 500, 900]) {
        let env = format!(
            "[DEFAULT]\nservice_type = TST\nnodes = osol1\ndrpnodes = osol2\nautostart_node = osol1\n\n[sync#1]\ntype = zfs\nsrc = z/{name}\ntarget = drpnodes\nbwlimit = {limit}\n"
        );
        bed.service(&crate::zfs::NODES, name, &env);
        bed.sh("osol1", &format!("zfs create z/{name}; echo 1 >/z/{name}/f"));
    }
    bed.sh("osol1", "for s in i1 i5 i9; do $s sync full 2>&1 & done; wait");
    bed.sh("osol1", &format!("for s in {}; do head -c 16000K /dev/urandom >/z/$s/big; done; sync", names.join(" ")));
    let before = bed.sh("osol2", "zfs get -Hpr -o name,value guid z | grep @");
    let mut syncs = std::collections::BTreeMap::new();
    for pair in [["f1", "i1"], ["f5", "i5"], ["f9", "i9"]] {
        pair.iter().for_each(|name| _ = syncs.insert(*name, bed.spawn("osol1", &format!("{name} sync update --force"))));
        bed.until("osol2", SOON, &format!("pgrep -f '^zfs receive z/svcmgr.{}' && pgrep -f '^zfs receive z/{}'", pair[0], pair[1]));
    }
    std::thread::sleep(Duration::from_secs(12)); // of transfer: a tenth, a half, nearly all
    bed.ctl("cut", &["osol2"]);
    let begun = Instant::now();
    for (name, sync) in syncs {
        let said = finish(sync);
        let line = said.stderr.lines().filter(|l| l.contains("ERROR")).collect::<Vec<_>>().join("; ");
        println!("== {name}: exit {} after {:?}: {line}", said.code, begun.elapsed());
        assert!(said.code == 1 && line.contains("lost") || line.contains("n2") || line.contains("osol2"), "{name}: {}", said.stderr);
    }
    assert!(begun.elapsed() < Duration::from_secs(90), "hung for {:?}", begun.elapsed());
    bed.until("osol2", Duration::from_secs(90), "! pgrep -x zfs");
    assert_eq!(bed.sh("osol2", "zfs get -Hpr -o name,value guid z | grep @"), before, "old, all of it");
    bed.ctl("heal", &["osol2"]);
    bed.until("osol1", SOON, "ssh osol2 true");
    for name in names {
        let said = bed.run("osol1", &format!("sed -i /bwlimit/d /opt/opensvc/etc/{name}.env; {name} sync update --force"));
        let how = if name.starts_with('f') { "full" } else { "incremental" };
        assert!(said.code == 0 && said.stderr.contains(&format!("osol2: {how},")), "{name}: {}", said.stderr);
        let guid = |node: &str| bed.sh(node, &format!("zfs get -Hp -o value guid z/{name}@sent"));
        assert_eq!(guid("osol1"), guid("osol2"), "{name}");
    }
}
