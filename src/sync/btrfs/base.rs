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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_it_has() {
        let text = "snapshot 0 0a data@sent\ncopy 0 0a\nsnapshot 1 0b with blanks@sent\nother 1 svc1:x: it was written to\nnonsense\n";
        let (first, second) = (There::parse(text, 0), There::parse(text, 1));
        assert!(first.has("0a") && !first.has("0b") && first.copy == Some(Ok("0a".into())));
        assert_eq!(second.snapshots, [("0b".to_owned(), "with blanks@sent".to_owned())]);
        assert_eq!((second.copy, There::parse("", 0)), (Some(Err("svc1:x: it was written to".into())), There::default()));
    }
}
