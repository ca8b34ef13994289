//! What a peer needs to come to the new snapshot: the changes since one that both have, or everything.

use super::spot::Spot;
use crate::host::btrfs::Subvolume;

/// What a peer says it has of one subvolume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct There {
    /// Its snapshots: what they are, what they are called there.
    pub(super) snapshots: Vec<(String, String)>,
    /// The image that its data are, untouched; or why they are none.
    pub(super) copy: Option<Result<String, String>>,
}

impl There {
    /// Of the lines for subvolume `index`: `snapshot INDEX IMAGE NAME`, `copy INDEX IMAGE`, `other INDEX WHY`.
    pub(super) fn parse(text: &str, index: usize) -> Self {
        let mut there = Self::default();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (kind, of, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
            if of != Some(index.to_string().as_str()) {
                continue;
            }
            match kind {
                Some("snapshot") => there.snapshots.extend(rest.split_once(' ').map(|(image, name)| (image.into(), name.into()))),
                Some("copy") => there.copy = Some(Ok(rest.into())),
                Some("other") => there.copy = Some(Err(rest.into())),
                _ => {}
            }
        }
        there
    }

    pub(super) fn has(&self, image: &str) -> bool {
        self.snapshots.iter().any(|(i, _)| i == image)
    }
}

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The changes since this snapshot of ours, which the peer has too.
    Since(Subvolume),
    /// Everything; and why, if that was not to be expected.
    Whole(Option<String>),
}

/// Compares what both have. `here` are the snapshots of `spot` on `node`; `there` is `peer`'s.
pub(super) fn plan(spot: &Spot, here: &[Subvolume], there: &There, (node, peer): (&str, &str)) -> Plan {
    let older = spot.snapshots(here).rev().filter(|s| s.path != spot.tosend());
    if let Some(base) = older.into_iter().find(|s| there.has(s.image())) {
        return Plan::Since(base.clone());
    }
    Plan::Whole(match there.snapshots.last() {
        Some((_, name)) => Some(format!("the snapshot that {peer} has ({name}) is gone on {node}")),
        None if there.copy.is_some() => Some(format!("{node} and {peer} have no snapshot of {} in common", spot.name)),
        None => None,
    })
}
