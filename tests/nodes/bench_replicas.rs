//! What a replication costs beside the same tools in a bare pipe, in the same run: `make bench` prints it
//! (scripts/bench-replicas.sh). The bytes are asserted, the times are only printed: they depend on what else runs.

use crate::bed::Nodes;
use crate::zfs::TOOLS;
use std::time::Instant;

/// One driver: how its data are made on n1 and what is sent to n2 without svcmgr. Shell code runs on n1 but for `gone`.
struct Bench {
    name: &'static str,
    nodes: fn() -> Nodes,
    section: &'static str,
    /// Makes what is replicated. `DATA` is where files are written.
    make: &'static str,
    data: &'static str,
    /// Removes the replica on n2.
    none: &'static str,
    /// All of what svcmgr has sent last, to another place on n2.
    full: &'static str,
    /// What the bare pipe leaves to later and svcmgr does not, as it confirms: the data are on the disk.
    flush: &'static str,
    /// Removes that place, on n2.
    gone: &'static str,
    /// Keeps what svcmgr has sent last, so that the next transfer can be repeated.
    keep: &'static str,
    /// The changes since then, to the other place.
    incremental: &'static str,
}

const DRIVERS: [Bench; 2] = [
    Bench {
        name: "zfs",
        nodes: zfs_nodes,
        section: "type = zfs\nsrc = z/d\n",
        make: "zfs create z/d",
        data: "/z/d",
        none: "zfs release svcmgr:svc1.sync.1 z/d@sent 2>/dev/null || :; ! zfs list z/d >/dev/null 2>&1 || patient zfs destroy -r z/d",
        full: "zfs send -R z/d@sent | ssh n2 zfs receive z/bare",
        flush: "ssh n2 true",
        gone: "! zfs list z/bare >/dev/null 2>&1 || patient zfs destroy -r z/bare",
        keep: "zfs hold bench z/d@sent",
        incremental: "zfs send -R -i $(zfs list -H -t snapshot -o name -r z/d | grep @sent. | tail -1) z/d@sent | ssh n2 zfs receive -F z/bare",
    },
    Bench {
        name: "btrfs",
        nodes: btrfs_nodes,
        section: "type = btrfs\nsrc = z:d\n",
        make: "btrfs subvolume create /z/d",
        data: "/z/d",
        none: "for s in $(ls -d /z/d /z/d@sent 2>/dev/null); do btrfs subvolume delete -c $s; done; btrfs subvolume sync /z; sync",
        full: "btrfs send -q /z/d@sent | ssh n2 btrfs -q receive /z/bare",
        flush: "ssh n2 btrfs filesystem sync /z",
        gone: "mkdir -p /z/bare; for s in $(ls -d /z/bare/* 2>/dev/null); do btrfs subvolume delete -c $s; done; btrfs subvolume sync /z; sync",
        // svcmgr deletes its own when the next one is confirmed
        keep: "btrfs subvolume snapshot -r /z/d /z/k; ssh n2 btrfs subvolume delete /z/bare/d@sent; btrfs send -q /z/k | ssh n2 btrfs -q receive /z/bare",
        incremental: "btrfs send -q -p /z/k /z/d@sent | ssh n2 btrfs -q receive /z/bare",
    },
];

/// In memory, 5 GiB of each node: the disk of a virtual machine differs more from run to run than what is compared.
const RAM: &str = "mkdir /ram; mount -t tmpfs -o size=5G tmpfs /ram; truncate -s 5G /ram/img";

fn zfs_nodes() -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        bed.sh(node, RAM);
        bed.zfs(node, "");
        bed.sh(node, "zpool create z /ram/img 2>&1");
        bed.write(node, "/disk/tools", TOOLS);
    }
    bed
}

fn btrfs_nodes() -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        // no discards of what an earlier round has deleted: they would cost whoever runs
        let code = "mkfs.btrfs -q -L z /ram/img 2>&1; losetup -f /ram/img; mkdir -p /z; mount -t btrfs -o subvolid=5,nodiscard LABEL=z /z";
        bed.sh(node, &format!("{RAM}; {code}; touch /disk/tools"));
    }
    bed
}

/// Times of each: each order as often.
const ROUNDS: usize = 6;

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    f64::midpoint(seconds[(seconds.len() - 1) / 2], seconds[seconds.len() / 2])
}

/// Seconds of a command on n1, and bytes that came in at n2's card meanwhile; what it said.
fn cost(bed: &Nodes, code: &str) -> (f64, u64, String) {
    let card = || bed.sh("n2", "cat /sys/class/net/eth0/statistics/rx_bytes").parse::<u64>().unwrap();
    let (before, begun) = (card(), Instant::now());
    let said = bed.run("n1", code);
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(said.code, 0, "{code}: {}", said.stderr);
    (took, card() - before, said.stderr)
}

/// How long the data were on their way: their bytes by the rate that was said.
fn seconds_of_pipe(bed: &Nodes, said: &str) -> f64 {
    let bytes =
        bed.sh("n1", "tac /opt/opensvc/var/svc1/history.jsonl | grep -m1 'sync#1.*bytes' | sed 's/.*\"bytes\":\\([0-9]*\\).*/\\1/'");
    let rate = regex::Regex::new(r" at ([\d.]+) ([KMG])B/s").unwrap();
    let (_, [value, unit]) = rate.captures(said.lines().find(|l| l.contains(": full,")).unwrap()).unwrap().extract();
    let unit = match unit {
        "K" => 1e3,
        "M" => 1e6,
        _ => 1e9,
    };
    bytes.parse::<f64>().unwrap() / (value.parse::<f64>().unwrap() * unit)
}

fn beside(svcmgr: f64, bare: f64) -> f64 {
    (svcmgr / bare - 1.0) * 100.0
}

#[test]
#[ignore = "takes minutes: make bench"]
fn replicas() {
    let megabytes: u64 = std::env::var("BENCH_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(1024);
    let only = std::env::var("BENCH_DRIVER").ok();
    for driver in DRIVERS.into_iter().filter(|d| only.as_deref().is_none_or(|only| only == d.name)) {
        let bed = (driver.nodes)();
        let env = format!(
            "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n2\nautostart_node = n1\n\n[sync#1]\n{}target = drpnodes\n",
            driver.section
        );
        bed.service(&["n1", "n2"], "svc1", &env);
        let write = |file: &str, megabytes: u64| bed.sh("n1", &format!("head -c {megabytes}M /dev/urandom >{}/{file}; sync", driver.data));
        bed.sh("n1", driver.make);
        write("all", megabytes);
        let ours = || {
            bed.sh("n2", &format!(". /disk/tools; {}", driver.none));
            let (took, _, said) = cost(&bed, "svc1 sync full --force");
            (took, seconds_of_pipe(&bed, &said))
        };
        let yardstick = |ssh: &str| {
            bed.sh("n2", &format!(". /disk/tools; {}", driver.gone));
            (cost(&bed, &driver.full.replace("ssh ", ssh)).0, cost(&bed, driver.flush).0)
        };
        let mut rounds: Vec<[f64; 5]> = Vec::new();
        for round in 0..=ROUNDS {
            let own = || yardstick("ssh ");
            let same = || yardstick("ssh -c aes128-gcm@openssh.com ");
            // in turn, as each leaves the disk to the next as it likes
            let ((whole, pipe), (bare, flushed), (same, _)) = match round % 3 {
                0 => {
                    let ours = ours();
                    (ours, own(), same())
                }
                1 => {
                    let (own, same) = (own(), same());
                    (ours(), own, same)
                }
                _ => {
                    let same = same();
                    let ours = ours();
                    (ours, own(), same)
                }
            };
            println!(
                "{}, round {round}: svcmgr {whole:.2} s, of which its pipe {pipe:.2} s; bare pipe {bare:.2} s, on the disk {flushed:.2} s later; with aes128-gcm {same:.2} s",
                driver.name
            );
            rounds.push([whole, pipe, bare, bare + flushed, same]);
        }
        // the first one warms all
        let of = |which: usize| median(rounds.iter().skip(1).map(|round| round[which]).collect());
        let [whole, pipe, bare, settled, same] = [0, 1, 2, 3, 4].map(of);
        println!(
            "{}: a full transfer of {megabytes} MiB: bare pipe {bare:.2} s; svcmgr's pipe {pipe:.2} s: {:+.1} %, {:+.1} % of a bare pipe with aes128-gcm ({same:.2} s); the whole command {whole:.2} s: {:+.1} %, {:+.1} % of a bare pipe that is on the disk ({settled:.2} s)",
            driver.name,
            beside(pipe, bare),
            beside(pipe, same),
            beside(whole, bare),
            beside(whole, settled)
        );

        bed.sh("n1", driver.keep);
        write("some", megabytes / 16);
        let (_, ours, _) = cost(&bed, "svc1 sync update --force");
        let (_, bare, _) = cost(&bed, driver.incremental);
        let more = beside(ours as f64, bare as f64);
        println!("{}: an incremental one: svcmgr {ours} bytes on the wire, bare pipe {bare}: {more:+.2} %", driver.name);
        assert!(more < 2.0, "{more} %");
    }
}
