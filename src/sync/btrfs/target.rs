//! The receiving side: what arrives is put beside the copy, which is read-only, and takes its place at once when all of it is there.

use super::copy::{copy, snapshot, strange, told, witness};
use super::remount::remount;
use super::spot::{Spot, make_folder};
use super::{Btrfs, source, switch, verify};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::blkid;
use crate::host::btrfs;
use crate::log::Level;
use crate::state::gate::{Detail, Held};
use crate::state::replica::Image;
use crate::sync::common;
use crate::sync::{Effect, Receipt, Recovered, Side, Target};
use chrono::{DateTime, Local};
use std::path::Path;

/// What a sender may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked<'a> {
    List,
    Receive { index: usize, base: Option<&'a str>, zstd: bool },
    Apply { image: &'a str, at: &'a str },
    Walk { index: usize, image: &'a str, rsync: Vec<&'a str> },
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
            ("walk", [index, image, rsync @ ..]) if uuid(image) => {
                Some(Self::Walk { index: index.parse().ok()?, image, rsync: rsync.to_vec() })
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
        // on the way home the node that receives starts next, and mounts these disks in any case
        let others = self.receiver.as_ref().filter(|one| side == Side::Target && **one != cx.host.node);
        if let Some(one) = others {
            return Some(format!(
                "{0} has the same disks as {one}, which receives for both, as two that mount them destroy the data: send to {one}, and switch then. if {one} is gone, set autostart_node = {0}; if each has its own disks, copies = node in [DEFAULT]",
                cx.host.node
            ));
        }
        self.places(side).iter().find_map(|place| btrfs::devices(cx, &place.label).err()).map(|e| e.to_string())
    }

    fn receive(&self, cx: &Cx, side: Side, words: &[String], held: &Held) -> Result<Receipt> {
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
            Asked::Receive { index, base, .. } => self.runs(cx, side, index, Level::Info, |spot| {
                let into = make_ready(cx, spot, base, held)?;
                Ok(["btrfs", "-q", "receive", &into].map(str::to_owned).to_vec())
            }),
            Asked::Walk { index, image, rsync } => self.runs(cx, side, index, Level::Debug, |spot| {
                let folder = snapshot(cx, spot, image)?;
                folder.and_then(|folder| verify::receiver(&rsync, &folder)).ok_or_else(|| unknown(cx, words))
            }),
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
            Some(Asked::Receive { zstd: true, .. }) => common::unzstd(),
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
            spots.iter().zip(&images).try_for_each(|(spot, image)| switch::put_in_place(cx, spot, image))?;
            // the data are whole and in their places: what cannot be tidied is in nobody's way
            for (spot, image) in spots.iter().zip(&images) {
                if let Err(e) = switch::tidy(cx, spot, image) {
                    cx.log.warning(format!("{} is in its place, and beside it is not tidy: {e}. the next sync tidies it", spot.name));
                }
            }
            Ok(Recovered::Whole)
        })
    }

    fn discard(&self, cx: &Cx, _fresh: bool) -> Result<()> {
        let places = self.places(self.side());
        // the start of what needs it says so: also of data that stay read-only
        if !btrfs::is_installed() || places.iter().all(|place| blkid::labelled(cx, &place.label).is_empty()) {
            return Ok(());
        }
        self.with(cx, places, |spots| {
            spots.iter().try_for_each(|spot| {
                let all = spot.list(cx)?;
                spot.clear_incoming(cx, &all)?;
                match spot.data(&all) {
                    Some(data) => switch::writable(cx, spot, data),
                    None if self.at_home => Ok(()),
                    None => Err(missing(cx, spot)),
                }
            })
        })
    }

    /// On shared disks nothing is mounted to look: another node may have them.
    fn at_hand(&self, cx: &Cx, side: Side) -> bool {
        self.receiver.is_none() || self.places(side).iter().all(|place| btrfs::mount(cx, &place.label).is_some())
    }

    fn witness(&self, cx: &Cx, side: Side) -> Option<String> {
        if !self.at_hand(cx, side) {
            return None;
        }
        let told = self.with(cx, self.places(side), |spots| {
            spots.iter().map(|spot| Ok(witness(cx, spot, &spot.list(cx)?))).collect::<Result<Vec<_>>>()
        });
        let told: Option<Vec<String>> = told.ok()?.into_iter().collect();
        told.map(|all| all.join("\n"))
    }

    fn became(&self, cx: &Cx, image: &Image) -> Result<()> {
        self.with(cx, self.places(self.side()), |spots| {
            let Some(spot) = spots.first() else { return Ok(()) };
            let all = spot.list(cx)?;
            let generation = spot.snapshots(&all).find(|s| s.path == spot.sent()).map(|s| s.generation);
            generation.map_or(Ok(()), |generation| self.write_state(cx, generation, image))
        })
    }

    /// Shared disks are another node's next.
    fn given(&self, cx: &Cx, side: Side) -> Option<String> {
        if self.receiver.is_some() {
            return None;
        }
        let done = self.with(cx, self.places(side), |spots| {
            spots.iter().try_for_each(|spot| {
                spot.data(&spot.list(cx)?).map_or(Ok(()), |data| switch::read_only(cx, spot, data))?;
                spot.flush(cx)
            })
        });
        if let Err(e) = done {
            cx.log.warning(format!("{} can still be written to: {e}", self.written(side)));
        }
        self.witness(cx, side)
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
                switch::writable(cx, spot, data)?;
                if self.outermost && self.at_home { switch::bring_back(cx, spot, data) } else { Ok(()) }
            })
        });
        if let Err(e) = done {
            cx.log.error(e.to_string());
        }
    }
}

impl Btrfs {
    /// What is to run with the subvolume `index`, whose filesystem stays mounted until that has ended. `said`: the level of
    /// that in the log.
    fn runs(&self, cx: &Cx, side: Side, index: usize, said: Level, argv: impl FnOnce(&Spot) -> Result<Vec<String>>) -> Result<Receipt> {
        let none = || Error::text(format!("{} has no subvolume {index} on {}: the service files differ", cx.rid, cx.host.node));
        let place = self.places(side).get(index).ok_or_else(none)?;
        btrfs::hold(cx, &place.label, said)?;
        let argv = self.with(cx, self.places(side), |spots| spots.get(index).ok_or_else(none).and_then(argv));
        let argv = argv.inspect_err(|_| btrfs::let_go(cx, &place.label))?;
        Ok(Receipt { argv, effect: Effect::Stages })
    }
}

fn unknown(cx: &Cx, words: &[String]) -> Error {
    Error::text(format!("{} does not take these words for {}: {}", cx.host.node, cx.rid, words.join(" ")))
}

/// What starts elsewhere would not be what was received.
fn missing(cx: &Cx, spot: &Spot) -> Error {
    Error::text(format!(
        "{} is not there on {node}, where the data of the service are by dst of [{}]: nothing is started, as it would have other data or none. correct dst: what is there is shown by mount -o subvolid=5 LABEL={label} /mnt; btrfs subvolume list /mnt. or, to begin with nothing: btrfs subvolume create /mnt/{}",
        spot.name,
        cx.rid,
        spot.subvol,
        node = cx.host.node,
        label = spot.label(),
    ))
}

/// Makes room beside the copy. Where, in full.
fn make_ready(cx: &Cx, spot: &Spot, base: Option<&str>, held: &Held) -> Result<String> {
    let all = spot.list(cx)?;
    spot.no_other(cx)?;
    strange(cx, spot, &all, base, held)?;
    if let Some(base) = base
        && !spot.bases(&all, spot.data(&all)).any(|s| s.image() == base)
    {
        return Err(Error::text(format!("{} has no snapshot {base} on {} any more", spot.name, cx.host.node)));
    }
    if spot.data(&all).is_none() && Path::new(&spot.at(&spot.subvol)).exists() {
        return Err(Error::text(format!(
            "{} is a folder on {}, not a subvolume: move it away, with what is in it",
            spot.name, cx.host.node
        )));
    }
    if let Some(data) = spot.data(&all).filter(|data| spot.default(cx) == Some(data.id)) {
        return Err(Error::text(format!(
            "{} is the default subvolume of its filesystem on {}: what takes its place would not be, and who mounts it without a name would have the old data. on {1}: btrfs subvolume set-default 5 PATH, where PATH is where it is mounted, and subvol={} in the options of that mount",
            spot.name, cx.host.node, data.path
        )));
    }
    spot.clear_incoming(cx, &all)?;
    let into = spot.at(&spot.incoming());
    make_folder(&into)?;
    Ok(into)
}

/// All that was sent has arrived, and is on the disk: what `btrfs receive` has ended with is whole before its data are.
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
    spots.iter().try_for_each(|spot| spot.flush(cx))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_are_taken() {
        let words = |text: &str| text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let known = |verb: &str, rest: &str| Asked::of(verb, &words(rest)).is_some();
        assert!(known("list", "") && known("receive", "0") && known("receive", "1 --zstd") && known("receive", "0 --base 0a-b --zstd"));
        assert!(known("apply", "--image 0a,1b --frozen-at 2026-11-21T20:00:00+00:00"));
        for (verb, rest) in [
            ("list", "/"),
            ("receive", ""),
            ("receive", "/etc"),
            ("receive", "0 --base ../x"),
            ("receive", "0 -f /etc/passwd"),
            ("receive", "0 --zstd --base 0a"),
            ("apply", "--image / --frozen-at x"),
            ("subvolume", "delete /"),
        ] {
            assert!(!known(verb, rest), "{verb} {rest}");
        }
    }
}
