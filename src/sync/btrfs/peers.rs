//! Which other copies of the data may have a snapshot as their newest: a file in the sync's folder, so that it goes where the filesystem goes.

use super::Btrfs;
use super::spot::{Spot, make_folder};
use crate::error::Result;
use crate::host::btrfs::Subvolume;
use crate::state::atomic;
use std::collections::BTreeMap;
use std::path::Path;

/// By snapshot, as it is called everywhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Peers(BTreeMap<String, Vec<String>>);

fn file(spot: &Spot) -> String {
    format!("{}/peers.{}.json", spot.folder(), spot.flat)
}

impl Peers {
    /// What is written there. Of snapshots that nothing is known of, all peers may have any.
    pub(super) fn read(spot: &Spot) -> Self {
        let text = std::fs::read_to_string(file(spot)).unwrap_or_default();
        Self(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Nothing was ever sent from there.
    pub(super) fn are_unknown(spot: &Spot) -> bool {
        !Path::new(&file(spot)).exists()
    }

    /// Writes it; of snapshots that are not among `all` nothing.
    pub(super) fn write(&self, spot: &Spot, all: &[Subvolume]) -> Result<()> {
        let there: BTreeMap<&String, &Vec<String>> = self.0.iter().filter(|(image, _)| all.iter().any(|s| s.image() == **image)).collect();
        make_folder(&spot.folder())?;
        let text = serde_json::to_string(&there).unwrap_or_default();
        atomic::write(Path::new(&file(spot)), format!("{text}\n").as_bytes())
    }

    /// Something is known of it.
    pub(super) fn knows(&self, image: &str) -> bool {
        self.0.contains_key(image)
    }

    /// The copies that may have it as their newest; of what is of 2014, any. One that the service has no more is none.
    pub(super) fn of(&self, btrfs: &Btrfs, image: &str) -> Vec<String> {
        let known = self.0.get(image);
        btrfs.peers.iter().filter(|copy| known.is_none_or(|known| known.contains(copy))).cloned().collect()
    }

    /// Of `peers` it may be the newest, and of no others.
    pub(super) fn set(&mut self, image: &str, peers: Vec<String>) {
        self.0.insert(image.to_owned(), peers);
    }

    /// `peer`, and who has the same disks, may have it as its newest, or has not.
    pub(super) fn put(&mut self, btrfs: &Btrfs, image: &str, peer: &str, has: bool) {
        let mut peers = self.of(btrfs, image);
        let copy = btrfs.copies.name_of(peer);
        peers.retain(|p| p != copy);
        peers.extend(has.then(|| copy.to_owned()));
        self.set(image, peers);
    }
}
