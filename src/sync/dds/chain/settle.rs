//! Does what the chain decides, one step after the other. Killed at any moment, it goes on where it was.

use super::{Chain, Frozen, Seen, Snapshot, Step};
use crate::error::{Error, Result};
use chrono::{DateTime, Local};

/// More steps than any leftover takes.
const STEPS: usize = 16;

/// What touches the volume and the disk. Each call may be made again after a crash.
pub trait Hands {
    /// What LVM shows now.
    fn look(&mut self) -> Result<Seen>;
    /// Puts the record on the disk; it is there when this returns. Lists that nothing in it names may go.
    fn save(&mut self, chain: &Chain) -> Result<()>;
    /// The base's table joins the list of `peer`; `anew`: of which nothing before counts. It is on the disk when this
    /// returns.
    fn note(&mut self, peer: &str, anew: bool) -> Result<()>;
    /// Why the list of `peer` could not be kept.
    fn tell_lost(&mut self, peer: &str, why: &Error);
    /// Does one of the steps that change what LVM shows.
    fn change(&mut self, step: &Step) -> Result<()>;
    /// Makes a snapshot: `_osvc_snap1`, or beside one `_osvc_snap2`.
    fn create(&mut self, beside: bool) -> Result<()>;
}

/// Afterwards at most the base is there, valid, and the record is about it: leftovers are gone, a round is over.
pub fn settle(chain: &mut Chain, hands: &mut dyn Hands) -> Result<Seen> {
    let mut seen = hands.look()?;
    for _ in 0..STEPS {
        let step = chain.next_step(&seen);
        let before = chain.clone();
        match &step {
            Step::Rest => return Ok(seen),
            Step::Note(peers) => {
                for (peer, anew) in peers {
                    match hands.note(peer, *anew) {
                        Ok(()) => chain.noted(peer, *anew),
                        Err(e) => {
                            hands.tell_lost(peer, &e);
                            chain.lost(peer);
                        }
                    }
                }
            }
            Step::DropOld | Step::DropNew | Step::Rename => hands.change(&step)?,
            Step::Adopt => {}
        }
        chain.done(&step, &seen);
        if *chain != before {
            hands.save(chain)?;
        }
        seen.changed(&step);
    }
    Err(Error::text("the snapshots of the volume are not what they were made to be"))
}

/// Freezes the volume, `at` this instant or a moment later: what is sent is on record when this returns. `seen`: what
/// [`settle`] has left.
pub fn freeze(chain: &mut Chain, hands: &mut dyn Hands, seen: &Seen, at: DateTime<Local>) -> Result<()> {
    let beside = seen.old.is_some();
    hands.create(beside)?;
    let Seen { old, new, size } = hands.look()?;
    let snapshot = if beside { new } else { old };
    let Snapshot { id, .. } = snapshot.ok_or_else(|| Error::text("the snapshot that was just made is not there"))?;
    chain.froze(Frozen { id, frozen_at: Some(at), size, equals: None });
    hands.save(chain)
}
