//! Snapshots of the destination, against transcripts; those of btrfs are in tests/nodes/dst_snap.rs.

use super::super::tests::Bench;
use super::*;
use crate::cmd::replay::Replay;
use std::sync::Arc;

/// Node n3 with a filesystem on DIR/m, whose device is /dev/x.
fn bench(section: &str, fstype: &str, replay: &Arc<Replay>) -> Bench {
    let bench = Bench::new("n3", &format!("[sync#1]\nsrc = DIR/m/d\ntarget = drpnodes\ndst_snap = true\n{section}"));
    std::fs::create_dir_all(bench.path("m/d")).unwrap();
    bench.mounts(&[("/", "ext4"), ("DIR/m", fstype)]).plays(replay)
}

fn kept(bench: &Bench, dst: &str) -> Result<Option<String>, String> {
    let p = bench.config.section("sync#1");
    keep(&bench.cx("sync#1"), &p, &bench.path(dst)).map_err(|e| e.to_string())
}

const LVS: &str = "lvs -o vg_name,lv_name,lv_size --noheadings --units m --nosuffix /dev/x";

#[test]
fn of_a_dataset() {
    let zfs = "/dev/x@svcmgr-svc1-sync_1".trim_start_matches('/');
    let list = format!("zfs list -H -t snapshot -o name {zfs}");
    let replay = Arc::new(
        Replay::default()
            .then(&list, 1, "")
            .then(&format!("zfs snapshot {zfs}"), 0, "")
            // the next one: the old one goes first, which is busy for a moment
            .then(&list, 0, zfs)
            .then(&format!("zfs destroy {zfs}"), 1, "")
            .then(&list, 0, zfs)
            .then(&format!("zfs destroy {zfs}"), 0, "")
            .then(&format!("zfs snapshot {zfs}"), 0, "")
            .then(&list, 1, ""),
    );
    let bench = bench("", "fuse.zfs", &replay);
    let name = format!("zfs snapshot {zfs}");
    assert_eq!(kept(&bench, "m/"), Ok(Some(name.clone())));
    assert_eq!(kept(&bench, "m/"), Ok(Some(name.clone())));
    drop_kept(&bench.cx("sync#1"), &name).unwrap();
    assert_eq!(replay.faults(), Vec::<String>::new());
}

#[test]
fn of_a_logical_volume() {
    let test = "lvs --noheadings -o lv_name vg1/svcmgr-svc1-sync_1";
    for (section, size) in [("", 102), ("[fs#1]\nmnt = DIR/m\ndev = /dev/x\nsnap_size = 64\n", 64)] {
        let replay = Arc::new(
            Replay::default()
                .then(LVS, 0, "  vg1 data 1024.00\n")
                .then(test, 5, "")
                .then(&format!("lvcreate -A n -s -L{size}M -n svcmgr-svc1-sync_1 vg1/data"), 0, "")
                .then(test, 0, "svcmgr-svc1-sync_1")
                .then("lvremove -A n -f vg1/svcmgr-svc1-sync_1", 0, ""),
        );
        let bench = bench(section, "ext4", &replay);
        assert_eq!(kept(&bench, "m/d"), Ok(Some("logical volume vg1/svcmgr-svc1-sync_1".into())));
        drop_kept(&bench.cx("sync#1"), "logical volume vg1/svcmgr-svc1-sync_1").unwrap();
        assert_eq!(replay.faults(), Vec::<String>::new());
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let replay = Arc::new(
        Replay::default()
            .then(LVS, 0, "  vg1 data 1024.00\n")
            .then("lvs --noheadings -o lv_name vg1/svcmgr-svc1-sync_1", 5, "")
            .then_with("lvcreate -A n -s -L102M -n svcmgr-svc1-sync_1 vg1/data", 5, "", "  insufficient free space\n")
            .then(LVS, 5, ""),
    );
    let bench = bench("", "ext4", &replay);
    let d = bench.path("m/d");
    assert_eq!(
        kept(&bench, "m/d"),
        Err(format!(
            "sync#1 has dst_snap, and on n3 no snapshot of {d} can be made: lvcreate: exit status 5:   insufficient free space. nothing is transferred. make room there, or set dst_snap = false in section [sync#1]"
        ))
    );
    assert_eq!(
        kept(&bench, "m/d"),
        Err(format!(
            "sync#1 has dst_snap, but on n3 {d} is on {} (ext4 of /dev/x), of which no snapshot can be made: it takes btrfs, zfs or a logical volume. nothing is transferred. move it there, or set dst_snap = false in section [sync#1]",
            bench.path("m")
        ))
    );
    assert_eq!(replay.faults(), Vec::<String>::new());
    std::fs::remove_dir_all(bench.path("m/d")).unwrap();
    assert_eq!(kept(&bench, "m/d"), Ok(None), "nothing is there to be kept");
}

#[test]
fn data_on_two_filesystems_are_not_of_one_instant() {
    let replay = Arc::new(Replay::default());
    let bench = Bench::new("n3", "[sync#1]\nsrc = /a /b\ndst = DIR\ntarget = drpnodes\ndst_snap = true\n");
    std::fs::create_dir_all(bench.path("a")).unwrap();
    std::fs::create_dir_all(bench.path("b")).unwrap();
    let bench = bench.mounts(&[("/", "ext4"), ("DIR/a", "zfs"), ("DIR/b", "btrfs")]).plays(&replay);
    assert!(kept(&bench, "").unwrap_err().contains("it is not known which subvolume"), "this is none");
    let bench = bench.mounts(&[("/", "zfs"), ("DIR/b", "ext4")]);
    let replay = Arc::new(Replay::default().then(LVS, 0, "  vg1 data 1024.00\n"));
    let bench = bench.plays(&replay);
    assert!(kept(&bench, "").unwrap_err().contains("on several filesystems"), "{:?}", replay.faults());
}

#[test]
fn only_our_own_are_dropped() {
    let bench = bench("", "ext4", &Arc::new(Replay::default()));
    for name in ["", "/srv", "btrfs subvolume /srv/d", "zfs snapshot p/d@hourly", "logical volume vg1/data", "logical volume svcmgr-x"] {
        assert_eq!(drop_kept(&bench.cx("sync#1"), name).unwrap_err().to_string(), format!("{name} is no snapshot of sync#1"));
    }
    for snap in [Snap::Btrfs { of: "/srv/d".into(), at: "/srv/d/.svcmgr-svc1-sync_1".into() }, Snap::Zfs("p/d@svcmgr-svc1-sync_1".into())] {
        assert_eq!(Snap::named(&snap.name()), Some(snap));
    }
}

#[test]
fn the_sender_leaves_snapshots_alone() {
    let replay = Arc::new(Replay::default().always("rsync --version", 0, "rsync  version 3.2.7"));
    let bench = Bench::new("n1", "[sync#1]\nsrc = /etc\ndst = /x\ntarget = nodes\noptions = -z\ndst_snap = true\n").plays(&replay);
    let job = crate::sync::Job {
        peer: "n2".into(),
        class: crate::sync::Class::Nodes,
        mode: crate::sync::Mode::Update,
        epoch: 0,
        held: None,
        image: crate::state::replica::Image::default(),
        progress: None,
        content: None,
    };
    bench.sync().send(&bench.cx("sync#1"), &job).unwrap_err();
    assert!(
        replay.ran()[0].contains("--timeout=3600 --modify-window=-1 --filter=P .svcmgr-* --exclude=.svcmgr-* -z -e "),
        "{:?}",
        replay.ran()
    );
}
