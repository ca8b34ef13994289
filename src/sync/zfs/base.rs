//! What a peer needs to come to the new snapshot: the changes since one that both have, or everything.

use super::names::Names;
use crate::host::zfs::{Dataset, Snapshot, Tree};
use crate::state::gate::Held;
use crate::state::replica::State;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The changes since this snapshot of ours, which the peer has as its newest.
    Since(Snapshot),
    /// Everything; and why, if that was not to be expected.
    Whole(Option<String>),
}

/// Compares what both have. `here` is on `node`, `there` on `peer`.
pub(super) fn plan(here: &Tree, there: Option<&Tree>, names: &Names, held: Option<&Held>, (node, peer): (&str, &str)) -> Plan {
    let (Some(mine), Some((there, theirs))) = (here.top(), there.and_then(|t| Some((t, t.top()?)))) else { return Plan::Whole(None) };
    let given_up = held.is_some_and(|h| h.state == Some(State::Orphan));
    let image = held.and_then(|h| h.image.id.as_deref());
    for candidate in theirs.snapshots.iter().rev() {
        // of a transfer that was broken off: it is removed there before the next
        if candidate.name == names.tosend() && Some(candidate.guid.as_str()) != image {
            continue;
        }
        match mine.with(&candidate.guid) {
            Some(base) => match incomplete(here, there, base, &names.tosend()) {
                None => return Plan::Since(base.clone()),
                Some(dataset) => return Plan::Whole(Some(format!("{dataset} has no snapshot on {peer} that {node} has"))),
            },
            // what is newer than the last common one is older than what the peer is to have: it keeps that until it has
            // all of the new
            None if names.are(&candidate.name) && !given_up => {
                return Plan::Whole(Some(format!("the snapshot that {peer} has ({}@{}) is gone on {node}", theirs.name, candidate.name)));
            }
            None => {}
        }
    }
    Plan::Whole(Some(format!("{node} and {peer} have no snapshot of {} in common", mine.name)))
}

/// A dataset here that had `base`, and has no counterpart there that has it; or that never had it, while one of its name
/// stands there: it was made again, or rolled back.
fn incomplete(here: &Tree, there: &Tree, base: &Snapshot, tosend: &str) -> Option<String> {
    let top = |tree: &Tree| tree.top().map_or(0, |top| top.name.len());
    // it goes before anything is received: it came with a transfer that was broken off, or has another name here now
    let came = |t: &Dataset| t.named(tosend).is_some() && t.named(&base.name).is_none();
    let moves = |t: &Dataset| here.datasets.iter().filter_map(|d| d.named(&base.name)).any(|b| t.with(&b.guid).is_some());
    let taken = |d: &Dataset| {
        let same = |t: &&Dataset| t.name.get(top(there)..) == d.name.get(top(here)..);
        there.datasets.iter().filter(same).any(|t| !came(t) && !moves(t))
    };
    let lacks = |d: &&Dataset| match d.named(&base.name) {
        Some(b) => there.datasets.iter().all(|t| t.with(&b.guid).is_none()),
        None => taken(d),
    };
    here.datasets.iter().find(lacks).map(|d| d.name.clone())
}

/// How many datasets have the snapshot `name`.
pub(super) fn count(tree: &Tree, name: &str) -> usize {
    tree.datasets.iter().filter(|d| d.named(name).is_some()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::replica::Image;

    /// `p/d a=1 sent=2; p/d/x sent=3`.
    fn tree(text: &str) -> Tree {
        let dataset = |text: &str| {
            let mut words = text.split_whitespace();
            let name = words.next().unwrap().to_owned();
            let snapshot = |w: &str| {
                let (name, guid) = w.split_once('=').unwrap();
                Snapshot { name: name.into(), guid: guid.into(), ..Snapshot::default() }
            };
            Dataset { name, snapshots: words.map(snapshot).collect(), ..Dataset::default() }
        };
        Tree { datasets: text.split(';').map(dataset).collect() }
    }

    fn of(here: &str, there: &str, state: State) -> String {
        let held = Held { state: Some(state), image: Image { id: Some("2".into()), ..Image::default() }, ..Held::default() };
        let there = (!there.is_empty()).then(|| tree(there));
        match plan(&tree(here), there.as_ref(), &Names::default(), Some(&held), ("n1", "n2")) {
            Plan::Since(base) => format!("since {}", base.name),
            Plan::Whole(why) => format!("whole: {}", why.unwrap_or_default()),
        }
    }

    #[test]
    fn what_the_peer_has_decides() {
        let both = |there: &str| of("p/d old=1 sent=2 tosend=9;p/d/x sent=3 tosend=8", there, State::Replica);
        assert_eq!(both(""), "whole: ");
        assert_eq!(both("q/d sent=2;q/d/x sent=3"), "since sent");
        assert_eq!(both("q/d sent=2 tosend=7;q/d/x sent=3"), "since sent", "the rest of a broken transfer");
        assert_eq!(both("q/d sent=2"), "whole: p/d/x has no snapshot on n2 that n1 has");
        assert_eq!(both("q/d old=1;q/d/x tosend=3"), "since old", "what is new came with a broken transfer");
        assert_eq!(both("q/d old=1;q/d/x sent=5"), "whole: p/d/x has no snapshot on n2 that n1 has");
        assert_eq!(both("q/d old=1 sent=5;q/d/x sent=6"), "whole: the snapshot that n2 has (q/d@sent) is gone on n1");
        assert_eq!(both("q/d old=1 monday=5"), "since old", "the receiver will refuse");
        assert_eq!(both("q/d"), "whole: n1 and n2 have no snapshot of p/d in common");
        let again = |here: &str| of(&format!("p/d sent=2;{here}"), "q/d sent=2;q/d/x sent=3", State::Replica);
        assert_eq!(again("p/d/x tosend=8"), "whole: p/d/x has no snapshot on n2 that n1 has", "made again");
        assert_eq!(again("p/d/x tosend=8;p/d/y sent=3"), "since sent", "it was renamed, and another one has its name");
        assert_eq!(again("p/d/z tosend=8"), "since sent", "a new one");
        assert_eq!(of("p/d sent=2 tosend=9", "q/d tosend=2", State::Replica), "since sent", "applied, not yet renamed");
        assert_eq!(of("p/d old=1 sent=2", "q/d old=1 sent=5", State::Orphan), "since old", "its writes are given up");
    }
}
