//! One round of one volume on the node that sends: its snapshots, its record, the lists of what peers are behind.

use super::chain::settle::{self, Hands};
use super::chain::{Chain, Seen, Step};
use super::files::{Files, program, remove, write_state};
use super::volume::{Volume, Which};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::state::replica::Image;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long dds may take to read a table and to write a list.
pub(super) const LIST: Duration = Duration::from_secs(600);

/// The rounds of this command: the drivers of all ways that a volume goes share one.
static ROUNDS: Mutex<Vec<Weak<Round>>> = Mutex::new(Vec::new());

/// Does what the chain decides, on the real volume.
pub(super) struct Source<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) volume: &'a Volume,
    /// `snap_size`.
    pub(super) snap_size: Option<i64>,
}

impl Source<'_> {
    /// The table of the base joins the list at `path`.
    pub(super) fn note(&self, path: &Path) -> Result<()> {
        self.dds_note(path, ["--cow", &self.volume.table()])
    }

    /// The list at `other` joins it.
    pub(super) fn join(&self, path: &Path, other: &Path) -> Result<()> {
        self.dds_note(path, ["--from", &other.display().to_string()])
    }

    fn dds_note(&self, path: &Path, what: [&str; 2]) -> Result<()> {
        let dds = program(self.cx.host).map_err(Error::Text)?;
        let (path, source) = (path.display().to_string(), self.volume.device());
        let words = [dds.as_str(), "--note", &path].into_iter().chain(what).chain(["--source", &source]);
        let out = self.cx.run_quiet(&Cmd::change(words).timeout(LIST));
        out.failure().map_or(Ok(()), |failed| Err(Error::text(failed.why())))
    }
}

impl Hands for Source<'_> {
    fn look(&mut self) -> Result<Seen> {
        Ok(self.volume.look_again(self.cx)?.seen)
    }

    fn save(&mut self, chain: &Chain) -> Result<()> {
        Files(self.cx).save(chain)
    }

    fn note(&mut self, peer: &str, anew: bool) -> Result<()> {
        let path = Files(self.cx).behind(peer);
        if !anew && !path.exists() {
            return Err(Error::text(format!("{} is gone", path.display())));
        }
        if anew {
            remove(&path)?;
        }
        Source::note(self, &path)
    }

    fn tell_lost(&mut self, peer: &str, why: &Error) {
        self.cx
            .log
            .warning(format!("what {peer} lacks could not be noted, and is found by comparing both sides when it is there again: {why}"));
    }

    fn change(&mut self, step: &Step) -> Result<()> {
        if *step == Step::DropOld && self.volume.look(self.cx)?.seen.old.is_some_and(|old| !old.valid) {
            let name = self.volume.snap_device(Which::Old);
            self.cx.log.warning(format!(
                "full sync needed: {name} was full and does not tell any more what has changed. both sides are compared, and only what differs is sent. a larger snap_size lasts longer"
            ));
        }
        self.volume.change(self.cx, step)
    }

    fn create(&mut self, beside: bool) -> Result<()> {
        let which = if beside { Which::New } else { Which::Old };
        self.volume.create(self.cx, which, self.snap_size)
    }
}

/// A round under way.
pub(super) struct Round {
    /// Its record: there is one of each section.
    record: PathBuf,
    pub(super) volume: Volume,
    snap_size: Option<i64>,
    chain: Mutex<Chain>,
    confirmed: Mutex<BTreeSet<String>>,
}

impl Round {
    /// Freezes the volume, or takes part in the round that another driver of this command has begun with it. `peers`:
    /// who gets it, now or later.
    pub(super) fn begin(cx: &Cx, volume: Volume, snap_size: Option<i64>, peers: Vec<String>) -> Result<Arc<Self>> {
        let mut rounds = ROUNDS.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.retain(|r| r.strong_count() > 0);
        let record = Files(cx).record();
        let same = |r: &Arc<Self>| r.record == record && (&r.volume.vg, &r.volume.lv) == (&volume.vg, &volume.lv);
        if let Some(round) = rounds.iter().filter_map(Weak::upgrade).find(same) {
            round.chain().know(peers);
            return Ok(round);
        }
        let mut chain = Files(cx).chain();
        chain.peers.retain(|peer, _| cx.scope.everyone().any(|n| n == peer));
        chain.know(peers);
        let mut source = Source { cx, volume: &volume, snap_size };
        let seen = settle::settle(&mut chain, &mut source)?;
        settle::freeze(&mut chain, &mut source, &seen, cx.host.clock.now())?;
        let round = Arc::new(Self { record, volume, snap_size, chain: Mutex::new(chain), confirmed: Mutex::default() });
        rounds.push(Arc::downgrade(&round));
        Ok(round)
    }

    /// The chain, as it stands.
    pub(super) fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is sent.
    pub(super) fn image(&self) -> Option<Image> {
        self.chain().image().map(|f| Image { id: Some(f.id.clone()), frozen_at: f.frozen_at, ..Image::default() })
    }

    /// The device to read it from.
    pub(super) fn device(&self) -> String {
        let which = if self.chain().next.is_some() { Which::New } else { Which::Old };
        self.volume.snap_device(which)
    }

    /// `peer` has it.
    pub(super) fn confirmed(&self, cx: &Cx, peer: &str) -> Result<()> {
        if let Ok(mut confirmed) = self.confirmed.lock() {
            confirmed.insert(peer.to_owned());
        }
        let mut chain = self.chain();
        chain.confirmed(peer);
        Files(cx).save(&chain)
    }

    /// Ends the round, for the last of the drivers that share it: what was sent is the base of the next one. True: it is
    /// over, and somebody has it.
    pub(super) fn end(self: Arc<Self>, cx: &Cx) -> bool {
        let _rounds = ROUNDS.lock().unwrap_or_else(PoisonError::into_inner); // nobody takes a share meanwhile
        let Some(round) = Arc::into_inner(self) else { return false };
        let sent = round.image();
        let mut chain = round.chain.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut source = Source { cx, volume: &round.volume, snap_size: round.snap_size };
        if let Err(e) = settle::settle(&mut chain, &mut source) {
            if !matches!(e, Error::Reported) {
                cx.log.error(e.to_string());
            }
            cx.log.warning(format!(
                "the snapshots of {} are left as they are; the next sync goes on with them, nothing is lost",
                round.volume.device()
            ));
        }
        let received = round.confirmed.into_inner().is_ok_and(|c| !c.is_empty());
        if let Some(Image { id: Some(id), frozen_at: Some(at), .. }) = sent.filter(|_| received)
            && let Err(e) = write_state(cx, &id, at)
        {
            cx.log.warning(format!("the status of {} will not know of this sync: {e}", cx.rid));
        }
        received
    }
}
