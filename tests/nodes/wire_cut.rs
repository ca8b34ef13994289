//! The cable is cut when a tenth, a half and nine tenths of a full and of an incremental transfer have arrived: six targets,
//! each with a cable and a service of its own. The same for each driver that sends a stream of snapshots.

use crate::bed::{Nodes, finish};
use crate::zfs::zfs_nodes;
use crate::zfs_table::{row, words};
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

/// What differs from driver to driver. `NAME` stands for the target's.
struct Kind {
    driver: &'static str,
    nodes: fn(&[&str]) -> Nodes,
    /// The program that receives, and the begin of its line.
    program: &'static str,
    receives: &'static str,
    src: &'static str,
    make: &'static str,
    /// What a target holds; what the last snapshot of both sides is.
    held: &'static str,
    sent: &'static str,
}

const ZFS: Kind = Kind {
    driver: "zfs",
    nodes: |names| zfs_nodes(names, "256M"),
    program: "zfs",
    receives: "^zfs receive",
    src: "z/NAME",
    make: "zfs create z/NAME",
    held: "zfs get -Hpr -o name,value guid z | grep @ || :",
    sent: "zfs get -Hp -o value guid z/NAME@sent",
};

const BTRFS: Kind = Kind {
    driver: "btrfs",
    nodes: btrfs_nodes,
    program: "btrfs",
    receives: "^btrfs -q receive",
    src: "z:NAME",
    make: "btrfs subvolume create /z/NAME",
    held: "btrfs subvolume list -R /z | (grep -v 'in/' || :) | sed 's/.*received_uuid/image/' | sort; cd /z; find . -type f -exec md5sum {} + | (grep -v svcmgr || :) | sort -k2",
    sent: "cd /z/NAME@sent; find . -type f -exec md5sum {} + | sort -k2",
};

fn btrfs_nodes(names: &[&str]) -> Nodes {
    let bed = Nodes::with_svcmgr(names);
    for node in names {
        bed.sh(node, "truncate -s 300M /disk/b.img; mkfs.btrfs -q -L z /disk/b.img 2>&1; losetup -f /disk/b.img; mkdir /z; mount -t btrfs -o subvolid=5 LABEL=z /z");
    }
    bed
}

#[test]
fn at_a_tenth_a_half_and_nine_tenths_of_zfs() {
    cuts(&ZFS);
}

#[test]
fn at_a_tenth_a_half_and_nine_tenths_of_btrfs() {
    cuts(&BTRFS);
}

/// Lets so many of a hundred bytes in, and none after them: the kernel counts, so that nobody can be late.
fn lets_in(bed: &Nodes, node: &str, percent: u64) {
    let quota = SIZE * percent / 100;
    bed.sh(node, &format!("iptables -A INPUT -i eth0 -m quota --quota {quota} -j ACCEPT; iptables -A INPUT -i eth0 -j DROP"));
}

/// Cuts the cable when all of that has come in, while it is being received.
fn cut(bed: &Nodes, receives: &str, node: &str) {
    let dropped = "iptables -nvxL INPUT | awk '$3 == \"DROP\" { exit $1 == 0 }'";
    bed.until(node, SOON, &format!("{dropped} && pgrep -f '{receives}'"));
    bed.ctl("cut", &[node]);
}

fn cuts(kind: &Kind) {
    let mut names = vec!["n1"];
    names.extend(TARGETS.iter().map(|(name, ..)| *name));
    let bed = (kind.nodes)(&names);
    for (name, ..) in TARGETS {
        let env = format!(
            "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = {name}\nautostart_node = n1\n\n[sync#1]\ntype = {}\nsrc = {}\ntarget = drpnodes\nbwlimit = {LIMIT}\n",
            kind.driver,
            kind.src.replace("NAME", name)
        );
        bed.service(&["n1", name], name, &env);
        bed.sh("n1", &format!("{}; echo 1 >/z/{name}/f", kind.make.replace("NAME", name)));
    }
    bed.sh("n1", "for s in i10 i50 i90; do $s sync full 2>&1; done");
    let write = |name: &str| format!("head -c {SIZE} /dev/urandom >/z/{name}/big; ");
    bed.sh("n1", &format!("{} sync", TARGETS.map(|(name, ..)| write(name)).concat()));
    let held = |name: &str| bed.sh(name, kind.held);
    let before = TARGETS.map(|(name, ..)| held(name));

    let bed = &bed;
    let told = std::thread::scope(|scope| {
        let mut all = Vec::new();
        for ((name, percent, how), before) in TARGETS.iter().zip(&before) {
            all.push(scope.spawn(move || {
                lets_in(bed, name, *percent);
                let sync = bed.spawn("n1", &format!("{name} sync update --force"));
                cut(bed, kind.receives, name);
                let begun = Instant::now();
                let said = finish(sync);
                let line = said.stderr.lines().find(|l| l.contains("ERROR")).unwrap_or_default();
                eprintln!("{how}, {percent} % had arrived: exit status {} after {:?}: {line}", said.code, begun.elapsed());
                assert!(said.code == 1 && line.contains(&format!("the connection to {name} was lost")), "{name}: {}", said.stderr);
                assert!(begun.elapsed() < Duration::from_secs(90), "hung for {:?}", begun.elapsed());
                bed.until(name, Duration::from_secs(90), &format!("! pgrep -x {}", kind.program));
                assert_eq!(held(name), *before, "{name}: old, all of it");
                let rows = ["n1", name].map(|node| format!("  {}: {}\n", if node == "n1" { node } else { "NODE" }, row(bed, node, name)));
                let text = format!("exit status {}\n{}{}", said.code, words(&said), rows.concat());
                bed.ctl("heal", &[name]);
                bed.sh(name, "iptables -F INPUT");
                bed.until("n1", SOON, &format!("ssh {name} true"));
                let said = bed.run("n1", &format!("sed -i /bwlimit/d /opt/opensvc/etc/{name}.env; {name} sync update --force"));
                assert!(said.code == 0 && said.stderr.contains(&format!("{name}: {how},")), "{name}: {}", said.stderr);
                let sent = |node: &str| bed.sh(node, &kind.sent.replace("NAME", name));
                assert_eq!(sent("n1"), sent(name), "{name}");
                format!("== {how}, cut at {percent} %: {}", text.replace(name, "NODE").replace(&name.to_uppercase(), "NAME"))
            }));
        }
        all.into_iter().map(|one| one.join().unwrap()).collect::<String>()
    });
    crate::snapshot(&format!("wire_cut_{}", kind.driver), &told);
}
