//! The snapshots of the sending side: made before the first transfer, kept while a peer may have them as its newest.

use super::base::There;
use super::peers::Peers;
use super::spot::Spot;
use super::{Btrfs, joined};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::btrfs::{self, Subvolume};
use crate::log::Level;
use crate::state::replica::Image;
use crate::sync::common::frozen;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// Held while the file of peers is read and changed: peers are sent to side by side.
static PEERS: Mutex<()> = Mutex::new(());

/// Makes them, unless another way's driver has. The filesystems stay mounted until [`release`].
pub(super) fn freeze(sync: &Btrfs, cx: &Cx) -> Result<()> {
    let labels = || sync.way.src.iter().map(|p| p.label.as_str());
    let mut held = Vec::new();
    let done = labels()
        .try_for_each(|label| btrfs::hold(cx, label, Level::Info).map(|_| held.push(label)))
        .and_then(|()| sync.with(cx, &sync.way.src, |spots| Ok(spots.iter().any(Peers::are_unknown))))
        .map(|unknown| sync.never_sent.store(unknown, Ordering::SeqCst))
        .and_then(|()| frozen::freeze(cx, || take(sync, cx)));
    done.inspect_err(|_| held.iter().for_each(|label| btrfs::let_go(cx, label)))
}

fn take(sync: &Btrfs, cx: &Cx) -> Result<Image> {
    sync.with(cx, &sync.way.src, |spots| {
        for spot in spots {
            let all = spot.list(cx)?;
            let data = spot.data(&all).ok_or_else(|| {
                Error::text(format!("the subvolume {} is not there on {}. it has: {}", spot.name, cx.host.node, names(&all)))
            })?;
            nested(sync, cx, spot, &all, data)?;
            own(cx, spot, data)?;
            spot.no_other(cx)?;
            adopt(cx, spot, None)?;
            leftover(sync, cx, spot, &spot.list(cx)?)?;
            prune(sync, cx, spot, &spot.list(cx)?, &Peers::read(spot))?;
        }
        let at = cx.host.clock.now();
        let made = spots.iter().try_for_each(|spot| {
            btrfs::change(cx, &["btrfs", "subvolume", "snapshot", "-r", &spot.at(&spot.subvol), &spot.at(&spot.tosend())])
        });
        let images = made.and_then(|()| spots.iter().map(|spot| image_of(cx, spot)).collect::<Result<Vec<_>>>());
        match images {
            Ok(images) => Ok(Image { id: Some(joined(images.iter().map(String::as_str))), frozen_at: Some(at), ..Image::default() }),
            Err(e) => {
                for spot in spots {
                    let made = spot.list(cx).is_ok_and(|all| all.iter().any(|s| s.path == spot.tosend()));
                    _ = made.then(|| spot.delete(cx, &spot.tosend()));
                }
                Err(e)
            }
        }
    })
}

fn names(all: &[Subvolume]) -> String {
    let names: Vec<&str> = all.iter().filter(|s| !s.path.contains('@')).map(|s| s.path.as_str()).take(20).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn image_of(cx: &Cx, spot: &Spot) -> Result<String> {
    let all = spot.list(cx)?;
    let made =
        all.iter().find(|s| s.path == spot.tosend()).ok_or_else(|| Error::text(format!("{} was made and is not there", spot.tosend())))?;
    Ok(made.image().to_owned())
}

/// What was received and made writable: each snapshot of it goes by the name of what was received, and a target that has
/// that one would take it for the same data.
fn own(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    if data.received.is_none() || data.read_only {
        return Ok(());
    }
    Err(Error::text(format!(
        "{} was received on {} and then made writable: no target could tell its snapshots from each other. nothing is sent. give it an identity of its own, with the service stopped: mount -o subvolid=5 LABEL={} /mnt; cd /mnt; btrfs subvolume snapshot {path} {path}.new; mv {path} {path}.old; mv {path}.new {path}; start it, and delete {path}.old",
        spot.name,
        cx.host.node,
        spot.label(),
        path = data.path
    )))
}

/// A snapshot has an empty folder where a subvolume is inside: what is in that one would be missing in the copy.
fn nested(sync: &Btrfs, cx: &Cx, spot: &Spot, all: &[Subvolume], data: &Subvolume) -> Result<()> {
    let inside = format!("{}/", data.path);
    let inside: Vec<&str> = all.iter().filter(|s| s.path.starts_with(&inside)).map(|s| s.path.as_str()).collect();
    if inside.is_empty() {
        return Ok(());
    }
    let what = format!("{} has subvolumes inside, which a snapshot leaves out: {}", spot.name, inside.join(", "));
    if sync.outermost {
        cx.log.info(what);
        return Ok(());
    }
    Err(Error::text(format!(
        "{what}. nothing is sent. move each beside it and name it in src of [{rid}], or delete it; or set recursive = false in [{rid}], if the copy is to be without",
        rid = cx.rid
    )))
}

/// A snapshot that an earlier command has left is never sent as one of now. It is kept if a peer may have it.
fn leftover(sync: &Btrfs, cx: &Cx, spot: &Spot, all: &[Subvolume]) -> Result<()> {
    let Some(left) = all.iter().find(|s| s.path == spot.tosend()) else { return Ok(()) };
    let peers = Peers::read(spot);
    // of 2014, or of a command that died before the first transfer: nobody has it
    if left.read_only && peers.knows(left.image()) && !peers.of(sync, left.image()).is_empty() {
        spot.keep(cx, left)
    } else {
        spot.delete(cx, &left.path)
    }
}

/// The error: `peer` has what looks sent, and from here nothing ever was. It would be replaced by what may be nothing.
pub(super) fn no_other_disk(sync: &Btrfs, cx: &Cx, spot: &Spot, there: &There, peer: &str) -> Result<()> {
    let Some((_, name)) = there.snapshots.last().filter(|_| sync.never_sent.load(Ordering::SeqCst)) else { return Ok(()) };
    let all = spot.list(cx)?;
    if spot.snapshots(&all).any(|s| s.path != spot.tosend()) {
        return Ok(());
    }
    let (node, service, rid) = (&cx.host.node, cx.service, cx.rid);
    Err(Error::text(format!(
        "{peer} has {name} of {rid}, and the filesystem {} of {node} has no trace of ever having sent it: it was made anew, or its disk was replaced. nothing is sent, as {peer} may have the only copy. to go on with what {peer} has, on {node}: svcmgr -s {service} stop, then on {peer}: svcmgr -s {service} start; if all data are on {node}, on {node}: svcmgr -s {service} sync full --rid {rid}",
        spot.label(),
    )))
}

/// On record before the first byte: `peer` may have the snapshot of this command as its newest. Of those that it does
/// not have, `there` says, it has none.
pub(super) fn mark(sync: &Btrfs, cx: &Cx, spot: &Spot, there: &There, peer: &str) -> Result<()> {
    let _one = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    let (all, mut peers) = (spot.list(cx)?, Peers::read(spot));
    for snapshot in spot.snapshots(&all) {
        let (image, new) = (snapshot.image(), snapshot.path == spot.tosend());
        if new && !peers.knows(image) {
            peers.set(image, Vec::new());
        }
        peers.put(sync, image, peer, new || there.has(image));
    }
    // first: on a full disk nothing can be written before
    prune(sync, cx, spot, &all, &peers)?;
    peers.write(spot, &all)
}

/// Those go that were kept for a peer, and that none may have as its newest any more: of transfers that broke off one
/// after the other the last one stays.
fn prune(sync: &Btrfs, cx: &Cx, spot: &Spot, all: &[Subvolume], peers: &Peers) -> Result<()> {
    let kept = spot.snapshots(all).filter(|s| s.path != spot.sent() && s.path != spot.tosend());
    kept.filter(|s| peers.of(sync, s.image()).is_empty()).try_for_each(|s| spot.delete(cx, &s.path))
}

/// `peer` has it: nothing older is its newest any more.
pub(super) fn confirmed(sync: &Btrfs, cx: &Cx, peer: &str) -> Result<()> {
    frozen::confirmed(cx);
    let _one = PEERS.lock().unwrap_or_else(PoisonError::into_inner);
    sync.with(cx, &sync.way.src, |spots| {
        spots.iter().try_for_each(|spot| {
            let (all, mut peers) = (spot.list(cx)?, Peers::read(spot));
            for old in spot.snapshots(&all).filter(|s| s.path != spot.tosend()) {
                peers.put(sync, old.image(), peer, false);
            }
            peers.write(spot, &all)
        })
    })
}

/// After the last transfer: the new snapshots take the place of those before, which stay as long as a peer may have
/// them as its newest. What nobody got goes.
pub(super) fn release(sync: &Btrfs, cx: &Cx) {
    if let Some(arrived) = frozen::release(cx) {
        let done = sync.with(cx, &sync.way.src, |spots| spots.iter().try_for_each(|spot| rotate(sync, cx, spot, arrived)));
        if let Err(e) = done {
            cx.log.warning(format!("the snapshots here are not tidy: {e}. the next sync tidies them"));
        }
    }
    sync.way.src.iter().for_each(|place| btrfs::let_go(cx, &place.label));
}

fn rotate(sync: &Btrfs, cx: &Cx, spot: &Spot, arrived: bool) -> Result<()> {
    let (all, peers) = (spot.list(cx)?, Peers::read(spot));
    let wanted = |s: &Subvolume| !peers.of(sync, s.image()).is_empty();
    let Some(new) = all.iter().find(|s| s.path == spot.tosend()) else { return Ok(()) };
    if !arrived {
        // a peer that was being sent to when that broke off may have it all the same
        return if peers.knows(new.image()) && wanted(new) { spot.keep(cx, new) } else { spot.delete(cx, &new.path) };
    }
    prune(sync, cx, spot, &all, &peers)?;
    if let Some(old) = spot.snapshots(&all).find(|s| s.path == spot.sent()) {
        if wanted(old) { spot.keep(cx, old)? } else { spot.delete(cx, &old.path)? }
    }
    spot.rename(cx, &new.path, &spot.sent())
}

/// Snapshots of this sync get the names it has since another sync of the subvolume was added or taken away: those that
/// its record has, and `origin`.
fn adopt(cx: &Cx, spot: &Spot, origin: Option<&str>) -> Result<()> {
    let (all, peers) = (spot.list(cx)?, Peers::read(spot));
    let ours = |s: &&Subvolume| spot.was_snapshot(s) && (peers.knows(s.image()) || origin == Some(&s.uuid));
    for one in all.iter().filter(ours) {
        let newest = one.path.ends_with("sent") && !all.iter().any(|s| s.path == spot.sent());
        if newest { spot.rename(cx, &one.path, &spot.sent())? } else { spot.keep(cx, one)? }
    }
    Ok(())
}

/// Authority has come to this node: every peer may have the snapshot that is the newest here.
pub(super) fn begin(sync: &Btrfs, cx: &Cx, spot: &Spot) -> Result<()> {
    let all = spot.list(cx)?;
    // of what came here the data were made
    adopt(cx, spot, spot.data(&all).and_then(|data| data.parent.as_deref()))?;
    let (all, mut peers) = (spot.list(cx)?, Peers::read(spot));
    let Some(sent) = spot.snapshots(&all).find(|s| s.path == spot.sent()) else { return Ok(()) };
    peers.set(sent.image(), sync.peers.clone());
    peers.write(spot, &all)
}
