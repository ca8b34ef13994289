//! The rows of transfers that were not confirmed.

use super::super::tests::Bench;
use super::*;
use crate::clock::{Clock, FixedClock};
use crate::host::lock::Lock;
use crate::state::replica::{Image, Sent};
use chrono::{DateTime, Local};

fn at(time: &str) -> DateTime<Local> {
    FixedClock::at(&format!("2014-06-06 {time}")).now()
}

/// The row on `node`, whose service is `state`, with what it keeps on record.
fn row(node: &str, state: Status, own: Option<&Replica>, sent: &[(&str, Sent)], lock: bool) -> (Status, String) {
    let bench = Bench::new(node, "[sync#1]\nsrc = /etc\ndst = /x\nsync_max_delay = 60\ntarget = drpnodes\n");
    let var = &bench.host.paths.var;
    for peer in ["n3", node] {
        stamp::write(&stamp::of_node(var, peer, "svc1", "sync#1"), at("17:50:00")).unwrap();
    }
    if let Some(own) = own {
        replica::write(var, "svc1", "sync#1", own).unwrap();
    }
    if !sent.is_empty() {
        replica::write_sent(var, "svc1", "sync#1", &sent.iter().map(|(n, s)| ((*n).to_owned(), s.clone())).collect()).unwrap();
    }
    let _lock = lock.then(|| Lock::wait(&var.join("lock/svc1"), std::time::Duration::ZERO).unwrap());
    let probe = bench.sync().status(&bench.cx("sync#1"), &View { avail_without_app: state, avail: state, flex: false });
    (probe.status, probe.messages.join("\n"))
}

fn broken(image: Option<&str>, why: Option<&str>) -> Sent {
    let image = Image { frozen_at: image.map(at), ..Image::default() };
    Sent { image, broken_since: Some(at("12:01:02")), why: why.map(str::to_owned), ..Sent::default() }
}

fn replica(node: &str, state: State, kept: Option<&str>) -> Replica {
    Replica {
        dst: Some("/x".into()),
        from: Some("n1".into()),
        image: Image { frozen_at: kept.map(|_| at("11:00:00")), ..Image::default() },
        kept: kept.map(str::to_owned),
        ..Replica::new(node, state, 0, at("12:01:02"))
    }
}

#[test]
fn a_sender_tells_what_was_not_confirmed() {
    let up = |sent: &[(&str, Sent)]| row("n1", Status::Up, None, sent, false);
    assert_eq!(
        up(&[("n3", broken(Some("11:00:00"), Some("rsync: full")))]),
        (Status::Warn, "last sync to n3, begun 12:01:02, failed: rsync: full. the copy there is of 11:00:00".into())
    );
    assert_eq!(
        up(&[("n3", broken(None, None))]),
        (Status::Warn, "last sync to n3, begun 12:01:02, was broken off. there is no whole copy there".into())
    );
    assert_eq!(up(&[("n3", Sent::default())]), (Status::Up, String::new()), "confirmed");
    assert_eq!(up(&[("gone", broken(None, None))]), (Status::Up, String::new()), "not a node of the service any more");
    let sent = [("n3", broken(None, None))];
    assert_eq!(row("n1", Status::Up, None, &sent, true), (Status::Up, String::new()), "it is at work");
    assert_eq!(row("n1", Status::Up, Some(&replica("n1", State::Live, None)), &sent, false).0, Status::Warn);
    assert_eq!(row("n1", Status::Down, None, &sent, false).0, Status::Na, "nothing is sent from here");
    assert_eq!(row("n1", Status::Na, Some(&replica("n1", State::Replica, None)), &sent, false).0, Status::Na, "nor from here");
}

#[test]
fn a_receiver_tells_that_files_are_of_two_times() {
    let line = "a transfer from n1 is in progress since 12:01:02, or was broken off: files may be partly new, partly old";
    let down = |own: Replica| row("n3", Status::Down, Some(&own), &[], false);
    assert_eq!(down(replica("n3", State::InProgress, None)), (Status::Warn, line.into()));
    assert_eq!(
        down(replica("n3", State::InProgress, Some("zfs snapshot p/d@x"))),
        (Status::Warn, format!("{line}. the copy of 11:00:00 is kept: zfs snapshot p/d@x"))
    );
    assert_eq!(down(replica("n3", State::Replica, None)), (Status::Na, "no destination nodes".into()));
    assert_eq!(down(replica("n4", State::InProgress, None)), (Status::Na, "no destination nodes".into()), "of another node");
}

#[test]
fn who_has_taken_over_sends_to_the_rest_of_its_site() {
    let row = |drpnodes: &str, holder: Option<(u64, &str)>, stamped: bool| {
        let bench = Bench::new("n3", &format!("drpnodes = {drpnodes}\n[sync#1]\nsrc = /etc\ndst = /x\ntarget = nodes drpnodes\n"));
        let var = &bench.host.paths.var;
        if let Some((epoch, node)) = holder {
            let holder = authority::Holder {
                epoch,
                copy: node.into(),
                node: node.into(),
                since: at("12:00:00"),
                from: None,
                handed: false,
                partial: false,
                away: None,
            };
            authority::write(var, "svc1", &authority::Record::of(holder)).unwrap();
        }
        if stamped {
            stamp::write(&stamp::of_node(var, "n4", "svc1", "sync#1"), at("17:50:00")).unwrap();
        }
        let probe = bench.sync().status(&bench.cx("sync#1"), &View { avail_without_app: Status::Up, avail: Status::Up, flex: false });
        (probe.status, probe.messages.join("\n"))
    };
    let disabled = (Status::Na, "service up on drp node, sync disabled".to_owned());
    for (drpnodes, holder) in [("n3 n4", None), ("n3 n4", Some((0, "n1"))), ("n3 n4", Some((1, "n4"))), ("n3", Some((1, "n3")))] {
        assert_eq!(row(drpnodes, holder, false), disabled, "{drpnodes} {holder:?}");
    }
    assert_eq!(row("n3 n4", Some((1, "n3")), false), (Status::Down, "n4 need update".into()));
    assert_eq!(row("n3 n4", Some((1, "n3")), true), (Status::Up, String::new()));
}
