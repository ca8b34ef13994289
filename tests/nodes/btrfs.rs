//! btrfs replication on real filesystems: what two nodes have after each step, with files written meanwhile; a standby
//! mount that follows; peers that are behind; both ways of a takeover.

use crate::bed::Nodes;

/// The data of the users' first example, without its containers; the label instead of the device.
const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n3
autostart_node = n1

[fs#1]
type = btrfs
dev = LABEL=svc1
mnt = /srv/svc1/data
mnt_opt = defaults,subvol=data
always_on = drpnodes

[sync#1]
type = btrfs
target = drpnodes
src = svc1:data
dst = svc1:data
";

/// Functions for the nodes' shells. `top CODE`: runs it at the top of the filesystem. `content SUBVOL`: a line for each
/// file, and what the snapshot is everywhere.
const TOOLS: &str = r#"
top() { mkdir -p /run/top; mount -t btrfs -o subvolid=5 LABEL=svc1 /run/top; (cd /run/top; eval "$@"); local rc=$?; umount /run/top; return $rc; }
content() { top "
    cd '$1'; find . -type f -exec md5sum {} + | sort -k2
    btrfs subvolume show . | awk '/Received UUID:/ { r = \$3 } /^\tUUID:/ { u = \$2 } END { print r == \"-\" ? u : r }'"; }
"#;

/// Nodes with a filesystem each and the service's file, which is not started; `data` exists on the first.
pub fn nodes(names: &[&str], service: &str, size: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(names);
    for node in names {
        bed.sh(node, &format!("truncate -s {size} /disk/b.img; mkfs.btrfs -q -L svc1 /disk/b.img 2>&1; losetup -f /disk/b.img"));
        bed.write(node, "/disk/tools", TOOLS);
    }
    sh(&bed, names[0], "top btrfs subvolume create data");
    bed.service(names, "svc1", service);
    bed
}

/// The service, with more in its sync.
pub fn service(more: &str) -> String {
    format!("{SERVICE}{more}")
}

/// Runs shell code that knows the tools.
pub fn sh(bed: &Nodes, node: &str, code: &str) -> String {
    bed.sh(node, &format!(". /disk/tools; {code}"))
}

/// The service up on n1, with files.
pub fn pair(more: &str) -> Nodes {
    let bed = nodes(&["n1", "n3"], &service(more), "400M");
    bed.sh("n1", "svc1 start 2>&1; echo 1 >/srv/svc1/data/f; mkdir /srv/svc1/data/d; echo s >/srv/svc1/data/d/g");
    bed
}

/// What `node` has as what was sent last.
pub fn sent(bed: &Nodes, node: &str) -> String {
    sh(bed, node, "content data@sent")
}

/// Both nodes have the same: files and what they are.
fn same(bed: &Nodes, step: &str) -> String {
    let (here, there) = (sent(bed, "n1"), sent(bed, "n3"));
    assert_eq!(here, there, "{step}");
    here
}

/// Commands of svcmgr while files are written; what it said.
fn busy(bed: &Nodes, node: &str, code: &str) -> String {
    let writer = format!(
        "i=0; while [ ! -e /run/enough ]; do i=$((i+1)); echo $i >/srv/svc1/data/w$((i%50)); echo $i >>/srv/svc1/data/d/log; done & rc=0; {code} || rc=$?; touch /run/enough; wait; rm /run/enough; exit $rc"
    );
    let said = bed.run(node, &writer);
    assert_eq!(said.code, 0, "{code}: {}", said.stderr);
    said.stderr
}

/// The commands in what was said, without the ssh words and the ids.
fn commands(said: &str) -> Vec<String> {
    let ssh = regex::Regex::new(r"/usr/bin/ssh.* (n\d) env .* -- ").unwrap();
    let ids = regex::Regex::new(r"[0-9a-f]{8}-[0-9a-f-]{27}").unwrap();
    let line = |l: &str| {
        let (_, command) = l.split_once("#1  ")?;
        let ours = ["btrfs ", "mv ", "mount ", "umount ", "exchange "].iter().any(|w| command.starts_with(w));
        ours.then(|| ids.replace_all(&ssh.replace(command, "$1: "), "UUID").replace("/opt/opensvc/var/", ""))
    };
    said.lines().filter_map(line).collect()
}

#[test]
fn full_incremental_and_there_and_back() {
    let bed = pair("");
    let said = busy(&bed, "n1", "sleep .3; svc1 sync full");
    println!("{said}");
    let device = bed.sh("n1", "blkid -L svc1");
    assert_eq!(
        commands(&said),
        [
            &format!("mount -t btrfs -o subvolid=5 {device} btrfs/svc1"),
            "btrfs subvolume snapshot -r btrfs/svc1/data btrfs/svc1/data@tosend",
            "btrfs send -q btrfs/svc1/data@tosend | n3: btrfs receive svc1:data 0",
            "mv -T btrfs/svc1/data@tosend btrfs/svc1/data@sent",
        ]
    );
    let first = same(&bed, "full");
    assert!(first.contains("./d/g"), "{first}");
    let state = bed.sh("n1", "cat '/opt/opensvc/var/svc1_sync#1_btrfs_state'");
    assert_eq!(bed.sh("n3", "cat '/opt/opensvc/var/svc1_sync#1_btrfs_state'"), state);
    let n = state.split(';').nth(1).unwrap();
    assert!(said.contains(&format!("update state file with snap uuid {n}")), "{state}");

    // a standby mount follows; who reads there is not in the way
    bed.sh("n3", "svc1 startstandby 2>&1");
    let reader = bed.spawn("n3", "cd /srv/svc1/data; cat f; sleep 3; cat /srv/svc1/data/f");
    bed.sh("n1", "echo 2 >/srv/svc1/data/f; rm /srv/svc1/data/d/g");
    let said = busy(&bed, "n1", "svc1 sync drp --force");
    assert_eq!(
        commands(&said)[1..],
        [
            "btrfs subvolume snapshot -r btrfs/svc1/data btrfs/svc1/data@tosend",
            "btrfs send -q -p btrfs/svc1/data@sent btrfs/svc1/data@tosend | n3: btrfs receive svc1:data 0 --base UUID",
            "btrfs subvolume delete btrfs/svc1/data@sent",
            "mv -T btrfs/svc1/data@tosend btrfs/svc1/data@sent",
        ]
    );
    let second = same(&bed, "incremental");
    assert!(second != first && !second.contains("./d/g"), "{second}");
    assert_eq!(crate::bed::finish(reader).stdout, "1\n2\n");
    assert_eq!(
        bed.sh("n3", "cat /srv/svc1/data/f; touch /srv/svc1/data/x 2>&1 || echo no"),
        "2\ntouch: cannot touch '/srv/svc1/data/x': Read-only file system\nno"
    );
    let seen = sh(&bed, "n3", "top btrfs subvolume list . | sed 's/.* path //' | sort");
    assert_eq!(seen, "data\ndata@sent");
    assert!(bed.sh("n3", "svc1 print status").contains("fs#1           .... stdby up"));
    bed.sh("n1", "svc1 sync verify");

    // there and back; nothing is sent whole
    let live = "cd /srv/svc1/data; find . -type f -exec md5sum {} + | sort -k2";
    let before = bed.sh("n1", live);
    let said = bed.run("n3", "svc1 takeover");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("btrfs send -q -p ") && !said.stderr.contains("full"), "{}", said.stderr);
    assert_eq!(bed.sh("n3", live), before);
    bed.sh("n3", "echo away >/srv/svc1/data/away; echo a >>/srv/svc1/data/d/log; svc1 sync update --force");
    same(&bed, "from n3");
    bed.sh("n3", "echo more >/srv/svc1/data/more");
    let before = bed.sh("n3", live);
    let said = bed.run("n3", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("btrfs send -q -p ") && !said.stderr.contains("full"), "{}", said.stderr);
    assert_eq!(bed.sh("n1", live), before);
    let said = bed.run("n1", "echo home >/srv/svc1/data/home; svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("n3: incremental"), "{}", said.stderr);
    same(&bed, "home again");
    // really full: beside the old one
    let said = bed.run("n1", "svc1 sync full");
    assert!(said.code == 0 && said.stderr.contains("n3: full") && !said.stderr.contains("WARNING"), "{}", said.stderr);
    same(&bed, "really full");
    for node in ["n1", "n3"] {
        let seen = sh(&bed, node, "top btrfs subvolume list . | sed 's/.* path //' | sort");
        assert_eq!(seen, "data\ndata@sent", "{node}");
    }
    // nothing of ours stays mounted
    for node in ["n1", "n3"] {
        assert_eq!(bed.run(node, "grep var/btrfs /proc/self/mountinfo").stdout, "", "{node}");
    }
}
