//! The vg resource on real LVM: tags and who may take them over, a stop that stops, what is half there.

use crate::guest::{Guest, Node};
use crate::{Scenario, scenario};

pub const ALL: &[Scenario] = &[
    scenario!(a_shared_group_moves_and_is_refused_while_its_owner_is_silent),
    scenario!(a_stop_unmaps_partitions_and_names_who_holds_what).on_demand(),
    scenario!(what_is_half_there_is_told).on_demand(),
    scenario!(always_on),
];

fn service(vg: &str, more: &str) -> String {
    format!(
        "[DEFAULT]
service_type = TST
nodes = deb1 deb2
autostart_node = deb1

[vg#1]
vgname = {vg}
{more}
"
    )
}

fn tags(node: &Node, vg: &str) -> String {
    node.run(["vgs", "--noheadings", "-o", "vg_tags", vg]).trim().to_owned()
}

/// The console's lines without their time and padding: `INFO vgchange …`, and what commands printed.
fn lines(said: &str) -> Vec<String> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(time), Some(level), Some(_)) if time.len() == 8 && time.as_bytes()[2] == b':' => {
                format!("{level} {}", words.collect::<Vec<_>>().join(" "))
            }
            _ => line.trim().to_owned(),
        }
    };
    said.lines().map(words).filter(|l| !l.is_empty()).collect()
}

fn a_shared_group_moves_and_is_refused_while_its_owner_is_silent(guest: &Guest) {
    let (a, b) = guest.pair();
    let vg = "vg-shared";
    guest.shared_vg(vg);
    a.lv(vg, "da-ta", 16);
    a.sh("mkfs.ext4 -q /dev/vg-shared/da-ta");
    a.run(["lvcreate", "-q", "-s", "-L", "4M", "-n", "da-ta_osvc_snap1", "vg-shared/da-ta"]);
    a.sh("vgchange -q --addtag gold vg-shared; vgchange -q -a n vg-shared");
    // the two spellings of a device
    let fs = |dev: &str| service(vg, &format!("\n[fs#1]\ntype = ext4\ndev = {dev}\nmnt = /srv/shared"));
    a.service("shared", &fs("/dev/mapper/vg--shared-da--ta"));
    b.service("shared", &fs("/dev/vg-shared/da-ta"));

    let said = lines(&a.svcmgr("-s shared start"));
    let at = said.iter().position(|l| l.contains("vgchange")).unwrap();
    assert_eq!(
        said[at..at + 6],
        [
            "INFO vgchange --addtag @deb1 vg-shared",
            "INFO output:",
            "Volume group \"vg-shared\" successfully changed",
            "INFO vgchange -a y vg-shared",
            "INFO output:",
            "2 logical volume(s) in volume group \"vg-shared\" now active",
        ]
    );
    assert_eq!(tags(&a, vg), "deb1,gold");
    assert!(a.svcmgr("-s shared print status").contains("vg#1           .... up       vg-shared"));
    a.sh("echo kept >/srv/shared/f");

    let said = lines(&a.svcmgr("-s shared stop"));
    let at = said.iter().position(|l| l.contains("vgchange")).unwrap();
    assert_eq!(
        said[at..],
        [
            "INFO vgchange --deltag @deb1 vg-shared",
            "INFO output:",
            "Volume group \"vg-shared\" successfully changed",
            "INFO kpartx -d /dev/vg-shared/da-ta",
            "INFO kpartx -d /dev/vg-shared/da-ta_osvc_snap1",
            "INFO vgchange -a n vg-shared",
            "INFO output:",
            "0 logical volume(s) in volume group \"vg-shared\" now active",
        ]
    );
    assert_eq!(tags(&a, vg), "gold");

    // as after a crash: the tag is there, its owner says that it is down
    a.run(["vgchange", "-q", "--addtag", "deb1", vg]);
    let said = b.svcmgr("-s shared start");
    assert!(said.contains("vg-shared has the tag of deb1, where shared is down: taken over"), "{said}");
    assert_eq!((tags(&b, vg), b.sh("cat /srv/shared/f")), ("deb2,gold".into(), "kept".into()));
    b.svcmgr("-s shared stop");

    // and when it says nothing
    b.run(["vgchange", "-q", "--addtag", "deb1", vg]);
    a.kill();
    b.sh("sed -i.kept 's/60/12/g' /opt/opensvc/etc/node.conf"); // a dead one is not waited for as long as a slow one
    let said = b.try_svcmgr("-s shared start");
    assert_eq!(said.code, 1);
    for part in ["vg-shared is not activated on deb2: it has the tag of deb1", "at stake: ", "svcmgr -s shared start --force"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert_eq!(tags(&b, vg), "deb1,gold");
    assert_eq!(b.run(["lvs", "--noheadings", "-o", "lv_attr", vg]).matches("wi-a").count(), 0);
    let said = b.svcmgr("-s shared start --force");
    assert!(said.contains("vg-shared has the tag of deb1, which was not heard ("), "{said}");
    assert_eq!((tags(&b, vg), b.sh("cat /srv/shared/f")), ("deb2,gold".into(), "kept".into()));
    b.svcmgr("-s shared stop");
    b.sh("mv /opt/opensvc/etc/node.conf.kept /opt/opensvc/etc/node.conf");
    a.boot(&[]);
}

fn a_stop_unmaps_partitions_and_names_who_holds_what(guest: &Guest) {
    let (a, _) = guest.pair();
    a.vg("vgheld");
    let lv = a.lv("vgheld", "disk", 16);
    a.lv("vgheld", "plain", 8);
    a.service("held", &service("vgheld", ""));
    a.sh(&format!("echo 'label: dos\nsize=4MiB' | sfdisk -q {lv}; kpartx -a {lv}; dmsetup ls | grep -q 'vgheld-diskp\\?1'"));
    assert!(a.svcmgr("-s held start").contains("vgheld is already up"));
    assert_eq!(tags(&a, "vgheld"), "deb1");

    let holder = a.spawn("exec 7</dev/vgheld/plain; exec sleep 1000");
    a.until(std::time::Duration::from_secs(60), "pgrep -x sleep");
    let said = a.try_svcmgr("-s held stop");
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("failed to stop vgheld: still in use: plain (used by sleep (pid "), "{}", said.stderr);
    assert_eq!(tags(&a, "vgheld"), "deb1");
    a.sh("pkill -x sleep");
    drop(crate::guest::finish(holder));

    a.svcmgr("-s held stop");
    assert_eq!((tags(&a, "vgheld"), a.sh("dmsetup ls | grep -c vgheld || true")), (String::new(), "0".into()));
}

fn what_is_half_there_is_told(guest: &Guest) {
    let (a, _) = guest.pair();
    let (one, two) = (a.disk(), a.disk());
    a.run(["vgcreate", "-q", "vghalf", &one, &two]);
    a.run(["lvcreate", "-q", "-W", "n", "-Z", "n", "-L", "8M", "-n", "on-one", "vghalf", &one]);
    a.run(["lvcreate", "-q", "-W", "n", "-Z", "n", "-L", "8M", "-n", "on-two", "vghalf", &two]);
    a.service("half", &service("vghalf", "\n[fs#1]\ntype = ext4\ndev = /dev/mapper/vghalf-on--two\nmnt = /srv/half"));
    a.sh(&format!("mkfs.ext4 -q {}; vgchange -q -a n vghalf", "/dev/vghalf/on-two"));

    let said = a.try_svcmgr("-s half start --rid fs#1");
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("the logical volume on-two is not active. to make it so: vgchange -a y vghalf"), "{}", said.stderr);
    assert!(said.stderr.contains("device does not exist /dev/mapper/vghalf-on--two"), "{}", said.stderr);

    a.run(["lvchange", "-a", "y", "vghalf/on-one"]);
    let status = a.try_svcmgr("-s half print status").stdout;
    assert!(status.contains("vg#1           .... up       vghalf") && status.contains("# not active: on-two"), "{status}");
    a.svcmgr("-s half start");
    assert!(!a.svcmgr("-s half print status").contains("not active"));
    a.svcmgr("-s half stop");

    a.sh(&format!("mv {two} /run/hidden"));
    let said = a.try_svcmgr("-s half start");
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("vghalf is not activated on deb1: a disk of it is not seen"), "{}", said.stderr);
    assert!(a.try_svcmgr("-s half print status").stdout.contains("# disks not seen: 1"));
    a.sh(&format!("mv /run/hidden {two}"));
    a.svcmgr("-s half start");
    a.svcmgr("-s half stop");
}

fn always_on(guest: &Guest) {
    let (a, _) = guest.pair();
    a.vg("vgstandby");
    a.lv("vgstandby", "data", 8);
    a.run(["vgchange", "-q", "-a", "n", "vgstandby"]);
    a.service("standby", &service("vgstandby", "always_on = nodes"));
    assert!(a.try_svcmgr("-s standby print status").stdout.contains("stdby down vgstandby"));
    a.svcmgr("-s standby startstandby");
    assert!(a.try_svcmgr("-s standby print status").stdout.contains("stdby up vgstandby"));
    assert!(a.svcmgr("-s standby stop").contains("skip 'stop' on standby resource (--force to override)"));
    assert!(a.svcmgr("-s standby start").contains("vgstandby is already up"));
    // a tag of a node that this action does not ask
    a.svcmgr("-s standby stop --force");
    a.run(["vgchange", "-q", "--addtag", "deb2", "vgstandby"]);
    let said = a.try_svcmgr("-s standby startstandby");
    assert!(said.code == 1 && said.stderr.contains("this action does not ask deb2"), "{}", said.stderr);
}
