//! Who knows why a transfer failed; what an OpenZFS is asked for and says, which no machine of the tests has: transcripts.

use super::*;
use crate::cmd::replay::Replay;
use crate::cmd::{End, Stage};
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::host::Host;
use crate::host::zfs::Snapshot;
use crate::log::{Logger, Memory};
use crate::sync::common::spoken;

#[test]
fn who_knows_why_it_failed() {
    let stage = |end: End, stderr: &str| Stage { argv: vec!["ssh".into()], end, stderr: stderr.into() };
    let of = |sender: &str, receiver: Stage| {
        spoken("n2", &Output { stages: vec![stage(End::Exited(1), sender), receiver], ..Output::default() })
    };
    let pipe = "warning: cannot send 'p/d@tosend': Broken pipe\n";
    assert_eq!(of(pipe, stage(End::Exited(1), "cannot receive: out of space\n")), "cannot receive: out of space");
    assert_eq!(of(pipe, stage(End::Exited(255), "")), "what receives it on n2 was killed, or the node died");
    assert_eq!(of("cannot open 'p/d@sent'", stage(End::Exited(0), "")), "cannot open 'p/d@sent'");
    let log = "19:02:23 INFO    SVC1.SYNC#1  zfs destroy -r q/d@sent\n";
    let out = |end, stderr: &str| spoken("n2", &Output { stages: vec![stage(end, stderr)], ..Output::default() });
    assert_eq!(out(End::Exited(255), log), "what receives it on n2 was killed, or the node died");
    assert_eq!(out(End::Exited(1), &format!("{log}it is busy")), "it is busy");
    assert_eq!(out(End::Exited(1), log), "ssh: exit status 1: 19:02:23 INFO    SVC1.SYNC#1  zfs destroy -r q/d@sent");
}

#[test]
fn what_a_zfs_can_is_in_its_usage() {
    let fuse = "missing snapshot argument\nusage:\n\tsend [-RDp] [-[iI] snapshot] <snapshot>\n";
    assert_eq!(Can::of(fuse), Can::default());
    // OpenZFS 2.1, as its manual page has it; cannot be run here
    let open = "usage:\n\tsend [-DLPbcehnpsvw] [-i|-I snapshot]\n\t     [-R [-X dataset[,dataset]...]]     <snapshot>\n";
    assert_eq!(Can::of(open), Can { compressed: true, raw: true, estimate: true });
}

/// What a zfs that can do all is asked for, where `encryption` is said of the datasets, and the size it tells.
fn of_openzfs(encryption: &str, plan: &Plan, sent: &str) -> (String, Option<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let mut host = Host::fake("n1", dir.path());
    let size = "full\tp/d@tosend\t1073741824\nfull\tp/d/sub@tosend\t4096\nsize\t1073745920\n";
    let replay = Arc::new(Replay::default().then("zfs get -Hpr -o name,property,value,source encryption p/d", 0, encryption).then(
        &format!("zfs send -nvP {}", sent.trim_start_matches("zfs send ")),
        0,
        size,
    ));
    host.runner = replay.clone();
    let text = b"[DEFAULT]\nnodes = n1\ndrpnodes = n2\n\n[sync#1]\ntype = zfs\nsrc = p/d\ntarget = drpnodes\n";
    let env = EnvFile::parse(&dir.path().join("etc/svc1.env"), text).unwrap();
    let config = ServiceConfig::new(Arc::new(env), "n1");
    let p = config.section("sync#1");
    let zfs = super::super::make(&p, ("p/d".into(), "p/d".into()), common::targets(&p)).unwrap();
    let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
    let cx = Cx { host: &host, log: &log, service: "svc1", scope: &config.scope, rid: "sync#1", force: false };
    let argv = words(&zfs, &cx, "p/d", plan, Can { compressed: true, raw: true, estimate: true });
    let total = estimate(&cx, &argv);
    assert_eq!(replay.faults(), Vec::<String>::new());
    (argv.join(" "), total)
}

#[test]
fn a_transcript_of_openzfs() {
    let plain = "p/d\tencryption\toff\tdefault\np/d/sub\tencryption\toff\tdefault\n";
    let sub = "p/d\tencryption\toff\tdefault\np/d/sub\tencryption\taes-256-gcm\t-\n";
    let base = Snapshot { name: "sent".into(), guid: "10".into(), ..Snapshot::default() };
    for (encryption, plan, sent) in [
        (plain, Plan::Whole(None), "zfs send -R -c p/d@tosend"),
        (sub, Plan::Whole(None), "zfs send -R -w p/d@tosend"),
        (plain, Plan::Since(base), "zfs send -R -c -i p/d@sent p/d@tosend"),
    ] {
        assert_eq!(of_openzfs(encryption, &plan, sent), (sent.to_owned(), Some(1_073_745_920)));
    }
    assert_eq!(sum("53248\n0\n-\n4096\n"), 57344, "zfs get -Hpr -t filesystem -o value written");
}
