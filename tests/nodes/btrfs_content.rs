//! What is in the files that btrfs has carried: compared on both sides when asked to; and what is told and called while they are on their way.

use crate::bed::Said;
use crate::btrfs::{nodes, pair, service, sh};

/// What a comparison said, without the commands.
fn told(said: &Said) -> String {
    let ids = regex::Regex::new(r"[0-9a-f]{8}-[0-9a-f-]{27}").unwrap();
    let lines = said.stderr.lines().filter(|l| !l.contains("  rsync "));
    let words = |l: &str| l.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    let text: String = lines.map(|l| format!("{}\n", words(l))).collect();
    format!("exit {}\n{}", said.code, ids.replace_all(&text, "UUID"))
}

#[test]
fn a_copy_that_a_disk_has_changed_is_found_by_its_content() {
    let bed = nodes(&["n1", "n3"], &service("recursive = false\n"), "400M");
    // without checksums, as a database's files often are: the filesystem itself does not see what follows
    sh(&bed, "n3", "mkdir /run/held; mount -t btrfs -o subvolid=5,nodatasum LABEL=svc1 /run/held");
    bed.sh("n1", "svc1 start 2>&1");
    bed.sh("n1", "cd /srv/svc1/data; mkdir -p d/e; btrfs subvolume create \"in*\"; echo left out >in*/f; echo i >ins; for i in $(seq 97); do seq -f \"line $i of %.0f\" 400 >d/f$i; done; ln -s f1 d/e/l; ln d/f1 d/e/h; chmod 640 d/f2; chown 1:2 d/f3");
    bed.sh("n1", "svc1 sync full 2>&1; sleep .1");
    let verify = |how: &str| told(&bed.run("n1", &format!("svc1 sync verify {how}")));
    let mut all = vec![verify(""), verify("--content"), verify("--content=9%")];
    // a disk changes a few bytes of one file of the snapshot
    bed.sh("n3", "umount /run/held; losetup -j /disk/b.img | cut -d: -f1 | xargs losetup -d; grep -abom1 'line 77 of' /disk/b.img | cut -d: -f1 | { read at; printf 'lime 77 of' | dd of=/disk/b.img bs=1 seek=$at conv=notrunc status=none; }; losetup -f /disk/b.img");
    all.extend([verify(""), verify("--content"), verify("--content=100")]);
    assert!(bed.sh("n1", "btrfs subvolume list /srv/svc1/data").lines().count() == 3, "nothing is left behind");
    bed.sh("n3", "mv /usr/bin/rsync /usr/bin/rsync.away");
    all.push(verify("--content"));
    for wrong in ["sync verify --content=0", "sync verify --content=much", "sync update --content"] {
        let said = bed.run("n1", &format!("svc1 {wrong}"));
        all.push(format!("exit {} {}", said.code, said.stderr));
    }
    crate::snapshot("btrfs_content", &all.join("\n"));
}

#[test]
fn who_watches_sees_how_long_it_takes_and_triggers_stand_around_the_snapshot() {
    let bed = pair("bwlimit = 2000\n");
    let triggers = "presnap_trigger = /disk/hook pre\\npostsnap_trigger = /disk/hook post";
    bed.sh("n1", &format!("sed -i '/^nodes/i {triggers}' /opt/opensvc/etc/svc1.env"));
    bed.write("n1", "/disk/hook", "#!/bin/sh\nmkdir -p /run/t; mount -t btrfs -o subvolid=5 LABEL=svc1 /run/t; echo $1 $(ls -d /run/t/data@tosend 2>/dev/null) >>/disk/hooks; umount /run/t\n");
    bed.sh("n1", "chmod 755 /disk/hook; head -c 6M /dev/urandom >/srv/svc1/data/big; sync -f /srv/svc1/data");
    for (verb, whole) in [("full", 6_300_000), ("update --force", 3_150_000)] {
        let screen = bed.sh("n1", &format!("TERM=xterm script -qec 'svcmgr -s svc1 sync {verb}' /dev/null"));
        let told = regex::Regex::new(r"sync#1 (\d+\.\d) MB (\d+)% \d+\.\d [KM]B/s 0:0\d:\d\d").unwrap();
        let seen: Vec<(f64, f64)> =
            told.captures_iter(&screen).map(|c| (c[1].parse::<f64>().unwrap() * 1e6, c[2].parse::<f64>().unwrap())).collect();
        assert!(!seen.is_empty(), "{screen}");
        for (bytes, percent) in seen {
            let expected = bytes / f64::from(whole) * 100.0;
            assert!((percent - expected).abs() < 3.0 || percent >= 99.0, "{bytes} of {whole} are {percent} %: {screen}");
        }
        bed.sh("n1", "head -c 3M /dev/urandom >/srv/svc1/data/big2; sync -f /srv/svc1/data");
    }
    assert_eq!(bed.sh("n1", "cat /disk/hooks"), "pre\npost /run/t/data@tosend\npre\npost /run/t/data@tosend");
    bed.sh("n1", "printf '#!/bin/sh\\nexit 3\\n' >/disk/hook");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.code == 1 && !said.stderr.contains("subvolume snapshot"), "{}", said.stderr);
}
