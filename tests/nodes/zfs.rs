//! zfs replication on real pools, of zfs-fuse: what two nodes have after each step, with files written meanwhile; peers
//! that are behind; both ways of a takeover.

use crate::bed::Nodes;
use crate::zfs_table::Table;

pub const NODES: [&str; 2] = ["osol1", "osol2"];

/// The service of two Solaris nodes, as its users have it; nodes and fs are added.
const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = osol1 osol2
autostart_node = osol1

[fs#1]
type = zfs
dev@osol1 = osol1_z3_root/data
dev@osol2 = osol2_z3_root/data
mnt = /srv/z3

[sync#1]
type = zfs
src@osol1 = osol1_z3_root/data
src@osol2 = osol2_z3_root/data
dst@osol1 = osol2_z3_root/data
dst@osol2 = osol1_z3_root/data
target = nodes
;recursive = True
";

/// Functions for the nodes' shells. `patient` waits out what is busy with a use that is over. `content DATASET SNAPSHOT`:
/// a line for each file of the snapshot and of those of the datasets below, and for each guid.
pub const TOOLS: &str = r#"
patient() { local i; for i in {1..400}; do ! "$@" 2>/run/patient || return 0; sleep .05; done; cat /run/patient >&2; return 1; }
content() {
    local d i=0 pool=${1%%/*}
    for d in $(zfs list -H -r -t filesystem -o name $1); do
        zfs clone -o mountpoint=/run/show$i $d@$2 $pool/show$i
        (cd /run/show$i; find . -type f -exec md5sum {} + | sort -k2 | sed "s|^|${d#$1} |")
        patient zfs destroy $pool/show$i; i=$((i+1))
    done
    zfs get -Hpr -o name,value guid $1 | grep -P "@$2\t" | sed "s|^$1||" | sort
}
"#;

/// Nodes with a pool each and the service's file, which is not started.
pub fn nodes(names: &[&str], service: &str, size: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(names);
    for node in names {
        bed.zfs(node, "");
        bed.sh(node, &format!("truncate -s {size} /disk/z.img; zpool create {node}_z3_root /disk/z.img 2>&1"));
        bed.write(node, "/disk/tools", TOOLS);
    }
    bed.service(names, "svc1", service);
    bed
}

/// Nodes with the pool z each.
pub fn zfs_nodes(names: &[&str], size: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(names);
    for node in names {
        bed.zfs(node, "");
        bed.sh(node, &format!("truncate -s {size} /disk/z.img; zpool create z /disk/z.img 2>&1"));
        bed.write(node, "/disk/tools", TOOLS);
    }
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

/// The service up on osol1, with a tree of datasets.
pub fn pair(more: &str) -> Nodes {
    let bed = nodes(&NODES, &service(more), "1G");
    sh(
        &bed,
        "osol1",
        "zfs create osol1_z3_root/data; zfs create osol1_z3_root/data/sub; svc1 start 2>&1; echo 1 >/srv/z3/f; echo s >/srv/z3/sub/g",
    );
    bed
}

/// What `node` has as what was sent last.
pub fn sent(bed: &Nodes, node: &str) -> String {
    sh(bed, node, &format!("content {node}_z3_root/data sent"))
}

/// Both nodes have the same: files and guids.
fn same(bed: &Nodes, step: &str) -> String {
    let (here, there) = (sent(bed, "osol1"), sent(bed, "osol2"));
    assert_eq!(here, there, "{step}");
    here
}

/// Commands of svcmgr that may be repeated while files are written; what it said.
fn busy(bed: &Nodes, node: &str, code: &str) -> String {
    let writer = format!(
        "i=0; while [ ! -e /run/enough ]; do i=$((i+1)); echo $i >/srv/z3/w$((i%50)); echo $i >>/srv/z3/sub/log; done & {code}; touch /run/enough; wait; rm /run/enough"
    );
    let said = bed.run(node, &writer);
    assert_eq!(said.code, 0, "{code}: {}", said.stderr);
    said.stderr
}

/// The commands in what was said, without the ssh words.
fn commands(said: &str) -> Vec<String> {
    let ssh = regex::Regex::new(r"/usr/bin/ssh.* (osol\d|n\d) env .* -- ").unwrap();
    let line = |l: &str| l.split_once("#1  ").filter(|(_, c)| c.starts_with("zfs ")).map(|(_, c)| ssh.replace(c, "$1: ").into_owned());
    let ids = regex::Regex::new(r"\d{6,}").unwrap();
    said.lines().filter_map(line).map(|l| ids.replace_all(&l, "GUID").into_owned()).collect()
}

#[test]
fn full_incremental_and_there_and_back() {
    let bed = pair("");
    let said = busy(&bed, "osol1", "sleep .3; svc1 sync full");
    assert_eq!(
        commands(&said),
        [
            "zfs snapshot -r osol1_z3_root/data@tosend",
            "zfs send -R osol1_z3_root/data@tosend | osol2: zfs receive osol2_z3_root/data",
            "zfs rename -r osol1_z3_root/data@tosend osol1_z3_root/data@sent",
        ]
    );
    let first = same(&bed, "full");
    assert!(first.contains("/sub "), "{first}");
    let state = bed.sh("osol1", "cat '/opt/opensvc/var/svc1_sync#1_zfs_state'");
    let created = bed.sh("osol1", "zfs get -H -o value creation osol1_z3_root/data@sent");
    assert!(state.ends_with(&format!(";{created}")) && said.contains(&format!("update state file with snap uuid {created}")), "{state}");
    assert_eq!(bed.sh("osol2", "cat '/opt/opensvc/var/svc1_sync#1_zfs_state'"), state);

    // a dataset more, one less, one renamed
    sh(
        &bed,
        "osol1",
        "zfs create osol1_z3_root/data/sub/deep; zfs create osol1_z3_root/data/old; echo d >/srv/z3/sub/deep/d; rm /srv/z3/f; svc1 sync update --force 2>/dev/null",
    );
    let second = same(&bed, "a dataset more");
    assert!(second.contains("/sub/deep ") && second.contains("/old@") && second != first, "{second}");
    sh(
        &bed,
        "osol1",
        "patient zfs unmount osol1_z3_root/data/old; patient zfs destroy -r osol1_z3_root/data/old; mkdir /srv/z3/dir; echo x >/srv/z3/dir/x",
    );
    let said = busy(&bed, "osol1", "svc1 sync nodes --force");
    assert_eq!(
        commands(&said),
        [
            "zfs snapshot -r osol1_z3_root/data@tosend",
            "zfs send -R -i osol1_z3_root/data@sent osol1_z3_root/data@tosend | osol2: zfs receive osol2_z3_root/data --base GUID",
            "zfs destroy -r osol1_z3_root/data@sent",
            "zfs rename -r osol1_z3_root/data@tosend osol1_z3_root/data@sent",
        ]
    );
    let third = same(&bed, "incremental");
    assert!(third.contains("./dir/x") && !third.contains("/old@"), "{third}");
    // a target is not mounted, not writable, and has that snapshot alone
    let target = "zfs list -H -r -t all -o name,mounted,readonly osol2_z3_root | grep -v ^osol2_z3_root[^/]";
    assert_eq!(
        bed.sh("osol2", target),
        "osol2_z3_root/data\tno\ton\nosol2_z3_root/data@sent\t-\t-\nosol2_z3_root/data/sub\tno\ton\nosol2_z3_root/data/sub@sent\t-\t-\nosol2_z3_root/data/sub/deep\tno\ton\nosol2_z3_root/data/sub/deep@sent\t-\t-"
    );
    bed.sh("osol1", "svc1 sync verify");

    // there and back; nothing is sent whole
    let live = "cd /srv/z3; find . -type f -exec md5sum {} + | sort -k2";
    let before = bed.sh("osol1", live);
    let said = bed.run("osol2", "svc1 takeover");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("zfs send -R -i ") && !said.stderr.contains("zfs send -R osol"), "{}", said.stderr);
    assert_eq!(bed.sh("osol2", live), before);
    bed.sh("osol2", "echo away >/srv/z3/away; echo a >>/srv/z3/sub/g; svc1 sync update --force");
    same(&bed, "from osol2");
    bed.sh("osol2", "echo more >/srv/z3/more");
    let before = bed.sh("osol2", live);
    let said = bed.run("osol2", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("zfs send -R -i ") && !said.stderr.contains("zfs send -R osol"), "{}", said.stderr);
    assert_eq!(bed.sh("osol1", live), before);
    let said = bed.run("osol1", "echo home >/srv/z3/home; svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("zfs send -R -i "), "{}", said.stderr);
    same(&bed, "home again");
    // really full: beside the old one
    let said = bed.run("osol1", "svc1 sync full");
    assert!(said.code == 0 && said.stderr.contains("zfs send -R osol1"), "{}", said.stderr);
    same(&bed, "really full");
}

/// n1 sends to n2 and n3; sync#2 sends the same dataset to n3 under another name.
const THREE: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n2 n3
autostart_node = n1

[fs#1]
type = zfs
dev = z/d
mnt = /srv/d

[sync#1]
type = zfs
src = z/d
target = drpnodes
";

fn three(service: &str) -> Nodes {
    let names = ["n1", "n2", "n3"];
    let bed = zfs_nodes(&names, "256M");
    bed.service(&names, "svc1", service);
    bed.sh("n1", "zfs create z/d; svc1 start 2>&1; echo 1 >/srv/d/f; svc1 sync full 2>&1");
    bed
}

#[test]
fn who_was_away_gets_what_it_lacks() {
    let bed = three(THREE);
    let mut table = Table::new(&bed);
    bed.ctl("cut", &["n3"]);
    for round in 2..=4 {
        let said = bed.run("n1", &format!("echo {round} >/srv/d/f; svc1 sync update --force"));
        assert!(said.code == 1 && said.stderr.contains("n3"), "{}", said.stderr);
        table.fault(&format!("n3 is away, round {round}"), &said);
        assert_eq!(sh(&bed, "n1", "content z/d sent"), sh(&bed, "n2", "content z/d sent"));
    }
    let names = bed.sh("n1", "zfs list -H -t snapshot -o name | sed -E 's/[0-9]{6,}/GUID/'");
    assert_eq!(names, "z/d@sent.GUID\nz/d@sent", "what n3 has is kept, and no more");
    // nobody destroys it by accident
    assert_ne!(bed.run("n1", "zfs destroy $(zfs list -H -t snapshot -o name | head -1)").code, 0);
    bed.ctl("heal", &["n3"]);
    bed.until("n1", std::time::Duration::from_secs(20), "ssh n3 true");
    let said = bed.run("n1", "echo 5 >/srv/d/f; svc1 sync update --force");
    assert_eq!(said.code, 0, "{}", said.stderr);
    table.fault("it is back", &said);
    table.done("zfs_faults_away");
    let sends: Vec<String> = commands(&said.stderr).into_iter().filter(|c| c.contains("send")).collect();
    assert!(
        sends.iter().any(|c| c.contains("-i z/d@sent.GUID z/d@tosend | n3"))
            && sends.iter().any(|c| c.contains("-i z/d@sent z/d@tosend | n2")),
        "{sends:?}"
    );
    let here = sh(&bed, "n1", "content z/d sent");
    assert_eq!((&here, &here), (&sh(&bed, "n2", "content z/d sent"), &sh(&bed, "n3", "content z/d sent")));
    assert_eq!(bed.sh("n1", "zfs list -H -t snapshot -o name"), "z/d@sent");
}

#[test]
fn two_syncs_of_one_dataset_and_what_2014_left() {
    let more = "target = nodes drpnodes\ndst = z/e\n";
    let two = format!("{THREE}dst = z/c\n\n[sync#2]\ntype = zfs\nsrc = z/d\n{more}");
    let bed = three(&two);
    for (sync, dst) in [("sync.1", "z/c"), ("sync.2", "z/e")] {
        let here = sh(&bed, "n1", &format!("content z/d {sync}.sent"));
        assert_eq!(here, sh(&bed, "n3", &format!("content {dst} {sync}.sent")));
    }
    bed.sh("n1", "echo 2 >/srv/d/f; svc1 sync update --force --rid sync#2");
    bed.sh("n1", "echo 3 >/srv/d/f; svc1 sync update --force");
    let names = bed.sh("n1", "zfs list -H -t snapshot -o name | sort");
    assert_eq!(names, "z/d@sync.1.sent\nz/d@sync.2.sent");
    assert_eq!(sh(&bed, "n1", "content z/d sync.1.sent"), sh(&bed, "n2", "content z/c sync.1.sent"));
    let tree = |node: &str| format!("{node}:\n{}", bed.run(node, "svc1 print status").stdout);
    crate::snapshot("zfs_two_syncs", &["n1", "n2", "n3"].map(tree).concat());

    // what the commands of 2014 have left is gone on with; a snapshot that they left on the way is not sent as one of now
    let bed = three(THREE);
    for node in ["n1", "n2", "n3"] {
        let clean = "patient zfs destroy -r z/d || :; rm -rf /opt/opensvc/var/svc1* /opt/opensvc/var/sync /opt/opensvc/var/last*";
        sh(
            &bed,
            node,
            &format!(
                "svc1 stop 2>/dev/null || :; for s in $(zfs list -H -t snapshot -o name); do zfs release svcmgr:svc1.sync.1 $s; done; {clean}"
            ),
        );
    }
    bed.sh("n1", "zfs create -o mountpoint=/srv/d z/d; echo 1 >/srv/d/f; zfs snapshot -r z/d@tosend");
    bed.sh("n1", "for n in n2 n3; do zfs send -R z/d@tosend | ssh $n zfs receive -dF z; ssh $n zfs rename -r z/d@tosend z/d@sent; done; zfs rename -r z/d@tosend z/d@sent");
    for node in ["n2", "n3"] {
        sh(&bed, node, "patient zfs unmount z/d; patient zfs rollback z/d@sent");
    }
    bed.sh("n1", "zfs snapshot -r z/d@tosend; echo 2 >/srv/d/f; svc1 start 2>&1");
    let said = bed.run("n1", "svc1 sync update --force");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = commands(&said.stderr);
    assert_eq!(said[..2], ["zfs destroy -r z/d@tosend", "zfs snapshot -r z/d@tosend"]);
    assert!(said.iter().any(|c| c.contains("-i z/d@sent z/d@tosend | n3")), "{said:?}");
    assert_eq!(sh(&bed, "n1", "content z/d sent"), sh(&bed, "n3", "content z/d sent"));
}

#[test]
fn a_node_without_zfs() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    let service = THREE.replace("n2 n3", "n2");
    bed.service(
        &["n1", "n2"],
        "svc1",
        &format!("{service}\n[pool#1]\npoolname = z\n\n[sync#2]\nsrc = /etc/hostname\ndst = /srv/\ntarget = drpnodes\n"),
    );
    for node in ["n1", "n2"] {
        bed.sh(node, "rm -f /usr/sbin/zfs /usr/sbin/zpool /sbin/zfs /sbin/zpool; mkdir -p /srv");
    }
    for node in ["n1", "n2"] {
        let tree = bed.sh(node, "svc1 print status");
        for row in ["fs#1 ", "pool#1 ", "sync#1 "] {
            assert!(tree.lines().any(|l| l.contains(row) && l.contains(" n/a ")), "{row}: {tree}");
        }
        let words: String = tree.chars().filter(|c| !c.is_whitespace() && !"#|".contains(*c)).collect();
        assert_eq!(words.matches("zfsisnotinstalled:installzfsutils-linux").count(), 3, "{tree}");
    }
    // nothing else is kept from its work
    bed.sh("n1", "svc1 sync drp --force --rid sync#2 2>&1");
    let said = bed.run("n1", "svc1 sync drp --force --rid sync#1");
    assert!(said.code == 1 && said.stderr.contains("zfs is not installed: install zfsutils-linux on n1"), "{}", said.stderr);
}
