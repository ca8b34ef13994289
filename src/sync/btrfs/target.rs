//! The receiving side: what arrives is put beside the copy, which is read-only, and takes its place at once when all of it is there.

use super::spot::{Spot, make_folder};
use super::{Btrfs, joined, source};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::btrfs::{self, Subvolume};
use crate::host::facts::Mount;
use crate::log::Level;
use crate::state::gate::{Detail, Held};
use crate::state::replica::Image;
use crate::sync::{Effect, Receipt, Recovered, Side, Target};
use chrono::{DateTime, Local};
use std::path::Path;

/// What a sender may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked<'a> {
    List,
    Receive { index: usize, base: Option<&'a str>, zstd: bool },
    Apply { image: &'a str, at: &'a str },
}

impl<'a> Asked<'a> {
    /// Its words after `btrfs VERB PLACES`.
    fn of(verb: &str, rest: &'a [String]) -> Option<Self> {
        let uuid = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let words: Vec<&str> = rest.iter().map(String::as_str).collect();
        match (verb, words.as_slice()) {
            ("list", []) => Some(Self::List),
            ("receive", [index, options @ ..]) => {
                let (base, options) = match options {
                    ["--base", base, options @ ..] if uuid(base) => (Some(*base), options),
                    options => (None, options),
                };
                let zstd = matches!(options, ["--zstd"]);
                Some(Self::Receive { index: index.parse().ok()?, base, zstd }).filter(|_| zstd || options.is_empty())
            }
            ("apply", ["--image", image, "--frozen-at", at]) if image.split(',').all(uuid) => Some(Self::Apply { image, at }),
            _ => None,
        }
    }
}

impl Target for Btrfs {
    fn place(&self, side: Side) -> &str {
        self.written(side)
    }

    fn unfit(&self, cx: &Cx, side: Side, _detail: &Detail) -> Option<String> {
        self.places(side).iter().find_map(|place| btrfs::devices(cx, &place.label).err()).map(|e| e.to_string())
    }

    fn receive(&self, cx: &Cx, side: Side, words: &[String], _held: &Held) -> Result<Receipt> {
        let [tool, verb, dst, rest @ ..] = words else { return Err(unknown(cx, words)) };
        let asked = Asked::of(verb, rest).filter(|_| tool == "btrfs").ok_or_else(|| unknown(cx, words))?;
        if *dst != self.written(side) {
            return Err(Error::text(format!(
                "{} is sent to {dst}, and on {} it is {}: the service files differ",
                cx.rid,
                cx.host.node,
                self.written(side)
            )));
        }
        match asked {
            Asked::List => {
                let text = self.with(cx, self.places(side), |spots| spots.iter().map(|s| told(cx, s)).collect::<Result<String>>())?;
                Ok(Receipt { argv: ["printf", "%s", &text].map(str::to_owned).to_vec(), effect: Effect::Looks })
            }
            Asked::Receive { index, base, .. } => {
                let place = self.places(side).get(index).ok_or_else(|| unknown(cx, words))?;
                // until what runs now has ended
                btrfs::hold(cx, &place.label, Level::Info)?;
                let into = self.with(cx, self.places(side), |spots| make_ready(cx, spots.get(index), base));
                let into = into.inspect_err(|_| btrfs::let_go(cx, &place.label))?;
                Ok(Receipt { argv: ["btrfs", "-q", "receive", &into].map(str::to_owned).to_vec(), effect: Effect::Stages })
            }
            Asked::Apply { image, at } => {
                self.with(cx, self.places(side), |spots| all_there(cx, spots, image))?;
                let frozen_at = DateTime::parse_from_rfc3339(at).ok().map(|at| at.with_timezone(&Local));
                Ok(Receipt {
                    argv: Vec::new(),
                    effect: Effect::Applies(Image { id: Some(image.to_owned()), frozen_at, ..Image::default() }),
                })
            }
        }
    }

    fn filter(&self, words: &[String]) -> Vec<String> {
        let asked = words.get(3..).and_then(|rest| Asked::of(words.get(1)?, rest));
        match asked {
            Some(Asked::Receive { zstd: true, .. }) => ["zstd", "-q", "-d", "-c"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        }
    }

    /// What has not arrived whole only takes room.
    fn received(&self, cx: &Cx, side: Side) -> Result<()> {
        let done = self.with(cx, self.places(side), |spots| {
            spots.iter().try_for_each(|spot| {
                let (all, incoming) = (spot.list(cx)?, format!("{}/", spot.incoming()));
                all.iter().filter(|s| s.path.starts_with(&incoming) && !s.read_only).try_for_each(|s| spot.delete(cx, &s.path))
            })
        });
        self.places(side).iter().for_each(|place| btrfs::let_go(cx, &place.label));
        done
    }

    fn recover(&self, cx: &Cx, side: Side, image: &Image) -> Result<Recovered> {
        let images: Vec<&str> = image.id.as_deref().unwrap_or_default().split(',').collect();
        self.with(cx, self.places(side), |spots| {
            for (spot, image) in spots.iter().zip(&images) {
                if spot.arrived(&spot.list(cx)?, image).is_none() {
                    return Ok(Recovered::Lost);
                }
            }
            spots.iter().zip(&images).try_for_each(|(spot, image)| put_in_place(cx, spot, image))?;
            spots.iter().zip(&images).try_for_each(|(spot, image)| tidy(cx, spot, image))?;
            Ok(Recovered::Whole)
        })
    }

    fn discard(&self, cx: &Cx) -> Result<()> {
        let places = self.places(self.side());
        if places.iter().any(|place| btrfs::devices(cx, &place.label).is_err()) {
            return Ok(()); // the start of what needs it says so
        }
        self.with(cx, places, |spots| {
            spots.iter().try_for_each(|spot| {
                spot.clear_incoming(cx)?;
                if let Some(data) = spot.data(&spot.list(cx)?).filter(|d| d.read_only) {
                    writable(cx, spot, data)?;
                }
                Ok(())
            })
        })
    }

    fn witness(&self, cx: &Cx, side: Side) -> Option<String> {
        let told = self.with(cx, self.places(side), |spots| {
            spots.iter().map(|spot| Ok(witness(cx, spot, &spot.list(cx)?))).collect::<Result<Vec<_>>>()
        });
        told.ok().map(|all| joined(all.iter().map(String::as_str)))
    }

    fn became(&self, cx: &Cx, image: &Image) -> Result<()> {
        self.with(cx, self.places(self.side()), |spots| {
            let Some(spot) = spots.first() else { return Ok(()) };
            let all = spot.list(cx)?;
            let generation = spot.snapshots(&all).find(|s| s.path == spot.sent()).map(|s| s.generation);
            generation.map_or(Ok(()), |generation| self.write_state(cx, generation, image))
        })
    }

    fn gained(&self, cx: &Cx, side: Side, image: &Image) {
        let images: Vec<&str> = image.id.as_deref().unwrap_or_default().split(',').collect();
        let done = self.with(cx, self.places(side), |spots| {
            spots.iter().zip(&images).try_for_each(|(spot, image)| {
                let all = spot.list(cx)?;
                let data = spot.data(&all).ok_or_else(|| Error::text(format!("{} is not there", spot.name)))?;
                match copy(cx, spot, &all) {
                    Ok(is) if is == *image => {}
                    Ok(is) => cx.log.warning(format!("{} is {is}, not {image}, which was sent last", spot.name)),
                    Err(why) => cx.log.warning(why),
                }
                remount(cx, spot, data)?;
                source::begin(self, cx, spot)?;
                writable(cx, spot, data)
            })
        });
        if let Err(e) = done {
            cx.log.error(e.to_string());
        }
    }
}

fn unknown(cx: &Cx, words: &[String]) -> Error {
    Error::text(format!("{} does not take these words for {}: {}", cx.host.node, cx.rid, words.join(" ")))
}

/// What the sender wants to know of a subvolume: what [`super::base::There::parse`] reads.
fn told(cx: &Cx, spot: &Spot) -> Result<String> {
    let all = spot.list(cx)?;
    let index = spot.index;
    let mut text: String = spot.snapshots(&all).map(|s| format!("snapshot {index} {} {}\n", s.image(), s.path)).collect();
    if spot.data(&all).is_some() {
        text += &match copy(cx, spot, &all) {
            Ok(image) => format!("copy {index} {image}\n"),
            Err(why) => format!("other {index} {why}\n"),
        };
    }
    Ok(text)
}

/// The image that the data here are; or what else they are.
fn copy(cx: &Cx, spot: &Spot, all: &[Subvolume]) -> Result<String, String> {
    let data = spot.data(all).ok_or_else(|| format!("{} is not there", spot.name))?;
    spot.untouched(cx, all, data).map(|base| base.image().to_owned()).map_err(|e| format!("{}: {e}", spot.name))
}

/// What changes when somebody writes here, and only then. A base that somebody has destroyed is no write.
fn witness(cx: &Cx, spot: &Spot, all: &[Subvolume]) -> String {
    let Some(data) = spot.data(all) else { return "none".into() };
    let as_made = data.read_only && data.generation == data.made;
    if as_made || spot.untouched(cx, all, data).is_ok() { data.uuid.clone() } else { format!("{} {}", data.uuid, data.generation) }
}

/// Makes room beside the copy. Where, in full.
fn make_ready(cx: &Cx, spot: Option<&Spot>, base: Option<&str>) -> Result<String> {
    let spot = spot.ok_or_else(|| Error::text("there is no such subvolume"))?;
    let all = spot.list(cx)?;
    if let Some(base) = base
        && !spot.snapshots(&all).any(|s| s.image() == base)
    {
        return Err(Error::text(format!("{} has no snapshot {base} on {} any more", spot.name, cx.host.node)));
    }
    if spot.data(&all).is_none() && Path::new(&spot.at(&spot.subvol)).exists() {
        return Err(Error::text(format!(
            "{} is a folder on {}, not a subvolume: move it away, with what is in it",
            spot.name, cx.host.node
        )));
    }
    spot.clear_incoming(cx)?;
    let into = spot.at(&spot.incoming());
    make_folder(&into)?;
    Ok(into)
}

/// All that was sent has arrived.
fn all_there(cx: &Cx, spots: &[Spot], image: &str) -> Result<()> {
    let images: Vec<&str> = image.split(',').collect();
    if images.len() != spots.len() {
        return Err(Error::text(format!("{} images for {} subvolumes: the service files differ", images.len(), spots.len())));
    }
    for (spot, image) in spots.iter().zip(images) {
        if spot.arrived(&spot.list(cx)?, image).is_none() {
            return Err(Error::text(format!("the snapshot {image} of {} has not arrived: send again", spot.name)));
        }
    }
    Ok(())
}

/// What was received becomes a snapshot beside the others, with all that it is. As it is read-only, it cannot be moved.
fn settle(cx: &Cx, spot: &Spot, image: &str) -> Result<()> {
    let all = spot.list(cx)?;
    let Some(arrived) = spot.arrived(&all, image).filter(|s| !spot.is_snapshot(s)) else { return Ok(()) };
    if let Some(left) = all.iter().find(|s| s.path == spot.tosend()) {
        spot.delete(cx, &left.path)?;
    }
    btrfs::change(cx, &["btrfs", "subvolume", "snapshot", "-r", &spot.at(&arrived.path), &spot.at(&spot.tosend())])
}

/// The data become what was received, at once; the old ones are beside them afterwards. May be repeated.
fn put_in_place(cx: &Cx, spot: &Spot, image: &str) -> Result<()> {
    settle(cx, spot, image)?;
    let all = spot.list(cx)?;
    let Some(arrived) = spot.arrived(&all, image) else { return Ok(()) };
    let is_new = |s: &Subvolume| s.read_only && s.parent.as_deref() == Some(arrived.uuid.as_str());
    let there = spot.data(&all);
    if there.is_none_or(|data| !(is_new(data) && spot.untouched(cx, &all, data).is_ok())) {
        let next = spot.next();
        if let Some(left) = all.iter().find(|s| s.path == next) {
            retire(cx, spot, &all, left)?;
        }
        if let Some((parent, _)) = spot.subvol.rsplit_once('/') {
            make_folder(&spot.at(parent))?;
        }
        btrfs::change(cx, &["btrfs", "subvolume", "snapshot", &spot.at(&arrived.path), &spot.at(&next)])?;
        btrfs::change(cx, &["btrfs", "property", "set", "-ts", &spot.at(&next), "ro", "true"])?;
        if there.is_some() {
            btrfs::exchange(cx, &spot.at(&next), &spot.at(&spot.subvol))?;
        } else {
            spot.rename(cx, &next, &spot.subvol)?;
        }
    }
    if let Some(data) = spot.data(&spot.list(cx)?) {
        remount(cx, spot, data)?;
    }
    spot.flush(cx)
}

/// The old data go, and the snapshots before; what was received is called as the newest is.
fn tidy(cx: &Cx, spot: &Spot, image: &str) -> Result<()> {
    let all = spot.list(cx)?;
    let Some(arrived) = spot.arrived(&all, image) else { return Ok(()) };
    if let Some(old) = all.iter().find(|s| s.path == spot.next()) {
        retire(cx, spot, &all, old)?;
    }
    for old in spot.snapshots(&all).filter(|s| s.uuid != arrived.uuid) {
        spot.delete(cx, &old.path)?;
    }
    if arrived.path != spot.sent() {
        spot.rename(cx, &arrived.path, &spot.sent())?;
    }
    spot.clear_incoming(cx)?;
    spot.flush(cx)
}

/// Removes data that others have taken the place of; what is nowhere else of them is kept.
fn retire(cx: &Cx, spot: &Spot, all: &[Subvolume], old: &Subvolume) -> Result<()> {
    let inside = all.iter().any(|s| s.path.starts_with(&format!("{}/", old.path)));
    let why = match spot.untouched(cx, all, old) {
        _ if !inside && spot.is_empty(old) => return spot.delete(cx, &old.path),
        Ok(_) if inside => "subvolumes are inside".to_owned(),
        Ok(_) => return spot.delete(cx, &old.path),
        Err(why) => why.to_string(),
    };
    let kept = spot.kept();
    for before in all.iter().rev().filter(|s| s.path == kept || s.path.starts_with(&format!("{kept}/"))) {
        spot.delete(cx, &before.path)?;
    }
    spot.rename(cx, &old.path, &kept)?;
    let label = spot.name.split(':').next().unwrap_or_default();
    cx.log.warning(format!(
        "what {} was on {} is kept: {why}. to look at it: mount -o subvol={kept} LABEL={label} /mnt. to have its room: mount -o subvolid=5 LABEL={label} /mnt; btrfs subvolume delete /mnt/{kept}",
        spot.name, cx.host.node
    ));
    Ok(())
}

fn writable(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    if data.read_only { btrfs::change(cx, &["btrfs", "property", "set", "-ts", &spot.at(&data.path), "ro", "false"]) } else { Ok(()) }
}

/// Who has the old data mounted gets the new ones: an exchange does not change what is mounted.
fn remount(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    cx.host.facts.forget();
    let mounts = cx.host.facts.mounts();
    let top = cx.host.facts.mount_at(spot.at("").trim_end_matches('/'));
    let old = format!("/{}", spot.next());
    let stale = |m: &&Mount| top.as_ref().is_some_and(|t| t.dev == m.dev) && m.root.strip_suffix("//deleted").unwrap_or(&m.root) == old;
    for mount in mounts.iter().filter(stale) {
        const KEPT: [&str; 8] = ["ro", "noatime", "nodiratime", "relatime", "nosuid", "nodev", "noexec", "strictatime"];
        let kept = mount.options.iter().map(String::as_str).filter(|o| KEPT.contains(o));
        let options: Vec<String> = kept.map(str::to_owned).chain([format!("subvol=/{}", data.path)]).collect();
        // who reads there is not in the way
        let inside = format!("{}/", mount.target);
        let lazily = !mounts.iter().any(|m| m.target.starts_with(&inside));
        if let Err(e) = btrfs::change(cx, &["umount", &mount.target]) {
            if !lazily {
                cx.log
                    .warning(format!("{} goes on showing the data before: {e}. umount what is below it, and mount it again", mount.target));
                continue;
            }
            btrfs::change(cx, &["umount", "-l", &mount.target])?;
        }
        btrfs::change(cx, &["mount", "-t", "btrfs", "-o", &options.join(","), &mount.source, &mount.target])?;
    }
    Ok(())
}
