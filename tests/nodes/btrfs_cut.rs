//! The cable is cut when a tenth, a half and nine tenths of a full and of an incremental btrfs transfer have arrived: six
//! targets, each with a cable and a service of its own.

use crate::bed::{Nodes, finish};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// A target: its name, the percentage after which its cable is cut, and how all is sent to it.
const TARGETS: [(&str, u64, &str); 6] = [
    ("f10", 10, "full"),
    ("f50", 50, "full"),
    ("f90", 90, "full"),
    ("i10", 10, "incremental"),
    ("i50", 50, "incremental"),
    ("i90", 90, "incremental"),
];

/// Bytes of the one file, and KB/s on the wire.
const SIZE: u64 = 4_000_000;
const LIMIT: u64 = 400;

/// What has come in by the cable.
const ARRIVED: &str = "cat /sys/class/net/eth0/statistics/rx_bytes";

/// Cuts the cable once so many of a hundred bytes have come in; how many had.
fn cut_at(bed: &Nodes, node: &str, percent: u64) -> u64 {
    let wanted = SIZE * percent / 100;
    // the stream begins when the receiver is there: what came before was talk
    let wait = format!(
        "until pgrep -f '^btrfs -q receive' >/dev/null; do sleep .01; done; b=$({ARRIVED}); until [ $(($({ARRIVED}) - b)) -ge {wanted} ]; do pgrep -f '^btrfs -q receive' >/dev/null || exit 1; sleep .01; done; echo $b"
    );
    let begun: u64 = bed.sh(node, &wait).parse().unwrap();
    bed.ctl("cut", &[node]);
    let arrived: u64 = bed.sh(node, ARRIVED).parse().unwrap();
    (arrived - begun) * 100 / SIZE
}

#[test]
fn a_cable_is_cut_at_a_tenth_a_half_and_nine_tenths() {
    let mut names = vec!["n1"];
    names.extend(TARGETS.iter().map(|(name, ..)| *name));
    let bed = Nodes::with_svcmgr(&names);
    for node in &names {
        bed.sh(node, "truncate -s 300M /disk/b.img; mkfs.btrfs -q -L z /disk/b.img 2>&1; losetup -f /disk/b.img; mkdir /z; mount -t btrfs -o subvolid=5 LABEL=z /z");
    }
    for (name, ..) in TARGETS {
        let env = format!(
            "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = {name}\nautostart_node = n1\n\n[sync#1]\ntype = btrfs\nsrc = z:{name}\ntarget = drpnodes\nbwlimit = {LIMIT}\n"
        );
        bed.service(&["n1", name], name, &env);
        bed.sh("n1", &format!("btrfs subvolume create /z/{name}; echo 1 >/z/{name}/f"));
    }
    bed.sh("n1", "for s in i10 i50 i90; do $s sync full 2>&1; done");
    let write = |name: &str| format!("head -c {SIZE} /dev/urandom >/z/{name}/big; ");
    bed.sh("n1", &format!("{} sync", TARGETS.map(|(name, ..)| write(name)).concat()));
    let guids = |name: &str| {
        bed.sh(name, "btrfs subvolume list -R /z | (grep -v 'in/' || :) | sed 's/.*received_uuid/image/' | sort; cd /z; find . -type f -exec md5sum {} + | (grep -v svcmgr || :) | sort -k2")
    };
    let before = TARGETS.map(|(name, ..)| guids(name));

    let bed = &bed;
    std::thread::scope(|scope| {
        for ((name, percent, how), before) in TARGETS.iter().zip(&before) {
            scope.spawn(move || {
                let sync = bed.spawn("n1", &format!("{name} sync update --force"));
                let arrived = cut_at(bed, name, *percent);
                let begun = Instant::now();
                let said = finish(sync);
                let line = said.stderr.lines().find(|l| l.contains("ERROR")).unwrap_or_default();
                eprintln!("{how}, {arrived} % had arrived: exit status {} after {:?}: {line}", said.code, begun.elapsed());
                // the hand that cuts may be late on a busy machine
                assert!((*percent..99.min(percent + 15)).contains(&arrived), "{name}: {arrived} %");
                assert!(said.code == 1 && line.contains(&format!("the connection to {name} was lost")), "{name}: {}", said.stderr);
                assert!(begun.elapsed() < Duration::from_secs(90), "hung for {:?}", begun.elapsed());
                bed.until(name, Duration::from_secs(90), "! pgrep -x btrfs");
                assert_eq!(guids(name), *before, "{name}: old, all of it");
                bed.ctl("heal", &[name]);
                bed.until("n1", SOON, &format!("ssh {name} true"));
                let said = bed.run("n1", &format!("sed -i /bwlimit/d /opt/opensvc/etc/{name}.env; {name} sync update --force"));
                assert!(said.code == 0 && said.stderr.contains(&format!("{name}: {how},")), "{name}: {}", said.stderr);
                let guid = |node: &str| bed.sh(node, &format!("cd /z/{name}@sent; find . -type f -exec md5sum {{}} + | sort -k2"));
                assert_eq!(guid("n1"), guid(name), "{name}");
            });
        }
    });
}
