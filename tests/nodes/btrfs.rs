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
pub const TOOLS: &str = r#"
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
    let reader =
        bed.spawn("n3", "cd /srv/svc1/data; cat f; touch /run/read; until [ -e /run/sent ]; do sleep .1; done; cat /srv/svc1/data/f");
    bed.until("n3", std::time::Duration::from_secs(10), "[ -e /run/read ]");
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
    bed.sh("n3", "touch /run/sent");
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

/// n1 sends to n2 and n3.
fn three(more: &str) -> Nodes {
    let service = service(more).replace("drpnodes = n3", "drpnodes = n2 n3").replace("always_on = drpnodes\n", "");
    let bed = nodes(&["n1", "n2", "n3"], &service, "256M");
    bed.sh("n1", "svc1 start 2>&1; echo 1 >/srv/svc1/data/f; svc1 sync full 2>&1");
    bed
}

/// The paths of all subvolumes, ids as UUID.
pub fn subvolumes(bed: &Nodes, node: &str) -> String {
    sh(bed, node, "top btrfs subvolume list . | sed -E 's/.* path //; s/[0-9a-f]{8}-[0-9a-f-]{27}/UUID/' | sort")
}

#[test]
fn who_was_away_gets_what_it_lacks() {
    let bed = three("");
    bed.ctl("cut", &["n3"]);
    for round in 2..=4 {
        let said = bed.run("n1", &format!("echo {round} >/srv/svc1/data/f; svc1 sync update --force"));
        assert!(said.code == 1 && said.stderr.contains("n3"), "{}", said.stderr);
        assert_eq!(sent(&bed, "n1"), sent(&bed, "n2"));
    }
    assert_eq!(subvolumes(&bed, "n1"), "data\ndata@sent\ndata@sent.UUID", "what n3 has is kept, and no more");
    bed.ctl("heal", &["n3"]);
    bed.until("n1", std::time::Duration::from_secs(20), "ssh n3 true");
    let said = bed.run("n1", "echo 5 >/srv/svc1/data/f; svc1 sync update --force");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let sends: Vec<String> = commands(&said.stderr).into_iter().filter(|c| c.contains("send")).collect();
    let has = |words: &str| sends.iter().any(|c| c.contains(words));
    assert!(has("-p btrfs/svc1/data@sent.UUID btrfs/svc1/data@tosend | n3") && has("-p btrfs/svc1/data@sent btrfs/svc1/data@tosend | n2"));
    let here = sent(&bed, "n1");
    assert_eq!((&here, &here), (&sent(&bed, "n2"), &sent(&bed, "n3")));
    assert_eq!(subvolumes(&bed, "n1"), "data\ndata@sent");
}

#[test]
fn two_syncs_of_one_subvolume_several_of_one_sync_and_what_2014_left() {
    let two =
        "\n[sync#2]\ntype = btrfs\nsrc = svc1:data svc1:deep/er\ntarget = drpnodes\ndst = svc1:copy svc1:copies/er\ncompress = zstd\n";
    let bed = nodes(&["n1", "n3"], &service(two).replace("always_on = drpnodes\n", ""), "256M");
    sh(&bed, "n1", "top 'mkdir deep; btrfs subvolume create deep/er; echo e >deep/er/e'; svc1 start 2>&1; echo 1 >/srv/svc1/data/f");
    bed.sh("n1", "svc1 sync full 2>&1; svc1 sync verify 2>&1");
    bed.sh("n1", "echo 2 >/srv/svc1/data/f; svc1 sync update --force --rid sync#2");
    bed.sh("n1", "echo 3 >/srv/svc1/data/f; svc1 sync update --force; svc1 sync verify");
    assert_eq!(subvolumes(&bed, "n1"), "data\ndata@sync.1.sent\ndata@sync.2.sent\ndeep/er\ndeep_er@sync.2.sent");
    assert_eq!(subvolumes(&bed, "n3"), "copies/er\ncopies_er@sync.2.sent\ncopy\ncopy@sync.2.sent\ndata\ndata@sync.1.sent");
    assert_eq!(sh(&bed, "n3", "top 'cat data/f copy/f copies/er/e'"), "3\n3\ne");

    // what the commands of 2014 have left is gone on with; a snapshot that they left on the way is not sent as one of now
    let bed = nodes(&["n1", "n3"], &service("").replace("always_on = drpnodes\n", ""), "256M");
    let old = "echo 1 >data/f; btrfs subvolume snapshot -r data data@tosend; btrfs send -q data@tosend | ssh n3 'mkdir -p /run/top; mount -t btrfs -o subvolid=5 LABEL=svc1 /run/top; cd /run/top; btrfs -q receive .; mv data@tosend data@sent; btrfs subvolume snapshot data@sent data; cd /; umount /run/top'; mv data@tosend data@sent; btrfs subvolume snapshot -r data data@tosend; echo 2 >data/f";
    bed.write("n1", "/disk/old", old);
    sh(&bed, "n1", "top . /disk/old; svc1 start 2>&1");
    let said = bed.run("n1", "svc1 sync update --force");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(
        commands(&said.stderr)[1..4],
        [
            "btrfs subvolume delete btrfs/svc1/data@tosend",
            "btrfs subvolume snapshot -r btrfs/svc1/data btrfs/svc1/data@tosend",
            "btrfs send -q -p btrfs/svc1/data@sent btrfs/svc1/data@tosend | n3: btrfs receive svc1:data 0 --base UUID",
        ]
    );
    same(&bed, "after 2014");
    assert_eq!(subvolumes(&bed, "n3"), "data\ndata@sent");
}

#[test]
fn what_cannot_be_sent_says_so() {
    let bed = pair("");
    let try_it = |code: &str| {
        let said = sh(&bed, "n1", &format!("{code}; svc1 sync update --force 2>&1 || :"));
        let ids = regex::Regex::new(r"[0-9a-f]{8}-[0-9a-f-]{27}|/dev/loop\d+").unwrap();
        let line = said.lines().find(|l| l.contains(" ERROR ")).unwrap_or_default();
        ids.replace_all(&line.split_whitespace().skip(3).collect::<Vec<_>>().join(" "), "X").into_owned()
    };
    let mut all = vec![try_it("btrfs subvolume create /srv/svc1/data/inside")];
    let said = bed.run("n1", "sed -i 's/^target/recursive = false\\ntarget/' /opt/opensvc/etc/svc1.env; svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("which a snapshot leaves out: data/inside"), "{}", said.stderr);
    all.push(try_it("sed -i 's/^recursive.*/recursive = true/' /opt/opensvc/etc/svc1.env"));
    sh(&bed, "n1", "sed -i /recursive/d /opt/opensvc/etc/svc1.env; btrfs subvolume delete /srv/svc1/data/inside; svc1 sync update --force");
    // two filesystems with the label, on either side; none
    for node in ["n1", "n3"] {
        let other = "truncate -s 120M /disk/o.img; mkfs.btrfs -q -L svc1 /disk/o.img 2>&1; losetup -f /disk/o.img";
        bed.sh(node, other);
        all.push(try_it(":"));
        bed.sh(node, "losetup -d $(losetup -j /disk/o.img | cut -d: -f1)");
        bed.until(node, std::time::Duration::from_secs(10), "[ $(blkid -o device -t LABEL=svc1 | wc -l) = 1 ]");
    }
    bed.sh("n1", "svc1 sync update --force");
    bed.sh("n3", "btrfs filesystem label $(blkid -L svc1) other");
    all.push(try_it(":"));
    bed.sh("n3", "btrfs filesystem label $(blkid -L other) svc1");
    bed.sh("n1", "svc1 sync update --force");
    same(&bed, "at last");

    // a node without the tool
    for node in ["n1", "n3"] {
        bed.sh(node, "rm -f /usr/bin/btrfs /bin/btrfs /sbin/btrfs");
        let tree = bed.sh(node, "svc1 print status");
        assert!(tree.lines().any(|l| l.contains("sync#1 ") && l.contains(" n/a ")), "{tree}");
        let words: String = tree.chars().filter(|c| !c.is_whitespace() && !"#|".contains(*c)).collect();
        assert!(words.contains("btrfsisnotinstalled:installbtrfs-progs"), "{tree}");
    }
    all.push(try_it(":"));
    // the service itself needs it not
    bed.sh("n1", "svc1 stop 2>&1; svc1 start 2>&1");
    crate::snapshot("btrfs_refusals", &(all.join("\n") + "\n"));
}

/// The users' first example, on shared disks: what was sent from one node is gone on with from the other.
#[test]
fn the_other_node_of_the_site_goes_on() {
    let service = service("").replace("nodes = n1\n", "nodes = n1 n2\n");
    let bed = Nodes::with_svcmgr(&["n1", "n2", "n3"]);
    bed.sh("n3", "truncate -s 256M /disk/b.img; mkfs.btrfs -q -L svc1 /disk/b.img 2>&1; losetup -f /disk/b.img");
    bed.sh("n1", "truncate -s 256M /shared/b.img; mkfs.btrfs -q -L svc1 /shared/b.img 2>&1; losetup -f /shared/b.img");
    for node in bed.names() {
        bed.write(node, "/disk/tools", TOOLS);
    }
    for node in ["n1", "n3"] {
        sh(&bed, node, "top btrfs subvolume create data");
    }
    bed.service(&["n1", "n2", "n3"], "svc1", &service);
    bed.sh("n3", "svc1 startstandby 2>&1");
    bed.sh("n1", "svc1 start 2>&1; echo 1 >/srv/svc1/data/f; svc1 sync all --force 2>&1");
    same(&bed, "from n1");
    bed.sh("n1", "svc1 stop 2>&1; losetup -d $(losetup -j /shared/b.img | cut -d: -f1)");
    bed.sh("n2", "losetup -f /shared/b.img; svc1 start 2>&1; echo 2 >/srv/svc1/data/f");
    let said = bed.run("n2", "svc1 sync all --force");
    assert!(said.code == 0 && said.stderr.contains("n3: incremental"), "{}", said.stderr);
    assert_eq!(sent(&bed, "n2"), sent(&bed, "n3"));
    assert_eq!(bed.sh("n3", "cat /srv/svc1/data/f"), "2");
    // the site is lost
    bed.ctl("crash", &["n2"]);
    let said = bed.run("n3", "svc1 start; echo 3 >/srv/svc1/data/f; cat /srv/svc1/data/f");
    assert!(said.code == 0 && said.stdout.ends_with("3\n"), "{}", said.stderr);
    // the way back: one of the two nodes receives, as the other sees the same disk
    bed.ctl("boot", &["n2"]);
    for node in ["n1", "n2"] {
        bed.sh(node, "losetup -j /shared/b.img | grep -q . || losetup -f /shared/b.img");
        bed.until("n3", std::time::Duration::from_secs(20), &format!("ssh {node} true"));
    }
    bed.sh("n3", "echo 4 >/srv/svc1/data/f");
    let said = bed.run("n3", "svc1 giveback");
    assert!(said.code == 0 && !said.stderr.contains("n1: full"), "{}", said.stderr);
    assert_eq!(bed.sh("n1", "cat /srv/svc1/data/f"), "4");
    assert_eq!(bed.run("n2", "grep btrfs /proc/self/mountinfo").stdout, "");
    // n2 is sent nothing, and no snapshot waits for it
    for round in 5..7 {
        bed.sh("n1", &format!("echo {round} >/srv/svc1/data/f; svc1 sync all --force"));
    }
    assert_eq!((subvolumes(&bed, "n1"), subvolumes(&bed, "n3")), ("data\ndata@sent".into(), "data\ndata@sent".into()));

    // both see the disk, one has it mounted: nobody who looks has the other mount it
    let top = "/opt/opensvc/var/btrfs/svc1";
    bed.sh("n2", &format!("rm -f /opt/opensvc/var/svc1/*.replica.json; rmdir {top}"));
    for node in ["n1", "n2", "n3"] {
        bed.run(node, "svc1 where");
    }
    assert_ne!(bed.run("n3", "svc1 start").code, 0);
    bed.sh("n2", &format!("[ ! -e {top} ]")); // it is made to mount there
    // a sync that was killed has left its mount: a stop takes it away, or says that it cannot
    bed.sh("n1", &format!("mkdir -p {top}; mount -t btrfs -o subvolid=5 LABEL=svc1 {top}"));
    let sleeper = bed.spawn("n1", &format!("cd {top}; touch /run/within; until [ -e /run/enough ]; do sleep .1; done"));
    bed.until("n1", std::time::Duration::from_secs(10), "[ -e /run/within ]");
    let said = bed.run("n1", "svc1 stop");
    assert!(said.code == 1 && said.stderr.contains("is still mounted on n1, and another node has the same disks"), "{}", said.stderr);
    bed.sh("n1", "touch /run/enough");
    crate::bed::finish(sleeper);
    bed.sh("n1", "svc1 stop 2>&1");
    assert_eq!(bed.run("n1", "grep btrfs /proc/self/mountinfo").stdout, "");
    let said = bed.run("n2", "svc1 start; cat /srv/svc1/data/f");
    assert!(said.code == 0 && said.stdout == "6\n", "{}", said.stderr);
}

/// Home crashes with writes that it never sent, another copy takes over and comes home: they are kept beside.
#[test]
fn what_home_never_sent_is_kept() {
    let bed = pair("");
    bed.sh("n1", "svc1 sync full 2>&1; echo unsent >/srv/svc1/data/unsent; sync");
    bed.ctl("crash", &["n1"]);
    bed.sh("n3", "svc1 start 2>&1; echo 3 >/srv/svc1/data/f");
    bed.ctl("boot", &["n1"]);
    bed.sh("n1", "losetup -j /disk/b.img | grep -q . || losetup -f /disk/b.img");
    bed.until("n3", std::time::Duration::from_secs(20), "ssh n1 true");
    let said = bed.run("n3", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let kept = said.stderr.lines().find(|l| l.contains("is kept: it was written to")).unwrap_or_default();
    assert!(kept.contains("n1: what svc1:data was on n1 is kept") && said.stderr.contains("n1: incremental"), "{}", said.stderr);
    assert_eq!(bed.sh("n1", "cat /srv/svc1/data/f; ls /srv/svc1/data/unsent 2>/dev/null || echo gone"), "3\ngone");
    assert_eq!(sh(&bed, "n1", "top cat .svcmgr.svc1.sync.1.kept.*.data/unsent"), "unsent");
    let said = bed.run("n1", "echo 4 >/srv/svc1/data/f; svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("n3: incremental"), "{}", said.stderr);
    same(&bed, "home again");
}
