//! What the data here are while something arrives, and once it has.

use super::Here;
use crate::state::authority::Known;
use crate::state::gate::Question;
use crate::state::replica::{Image, Replica, State, differ};

impl Here {
    /// Data that have arrived whole, as their sender says, are a replica from now on. Returns those that are not: a
    /// rid and why.
    pub fn arrived(&mut self, question: &Question) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        for (rid, image) in &question.done {
            let expected = self.replicas.get(rid).and_then(Known::known).filter(|r| self.expects(r, question, image)).cloned();
            match expected.filter(|_| self.record_is(question)) {
                Some(replica) => {
                    let from = Some(question.node.clone());
                    let whole = Replica { state: State::Replica, image: image.clone(), since: self.now, from, ..replica };
                    self.replicas.insert(rid.clone(), Known::Known(whole));
                }
                None => refused.push((
                    rid.clone(),
                    format!("{} does not take {rid} for whole: no transfer of {} was under way", self.node, question.node),
                )),
            }
        }
        refused
    }

    /// A transfer was under way that `image` may have come of; or it was applied here, and is the one.
    fn expects(&self, replica: &Replica, question: &Question, image: &Image) -> bool {
        let known = match replica.state {
            State::InProgress => true,
            State::Torn => replica.applying.is_none(),
            State::Replica => image.id.is_some() && replica.image.id == image.id,
            _ => false,
        };
        known && replica.epoch == question.epoch && replica.node == self.node
    }

    /// A transfer into `dst` begins: what is here is partly old, partly new from now on. `kept`: a snapshot has it.
    pub fn arriving(&mut self, rid: &str, dst: Option<&str>, kept: Option<String>) {
        let data = self.data(rid);
        // of what was whole it is older
        let kept = kept.or(data.kept.filter(|_| data.state != Some(State::Replica)));
        self.begun(rid, dst, |file| Replica { image: data.image, kept, ..file });
    }

    /// A first copy into `dst` begins: there is none before its end.
    pub fn overwriting(&mut self, rid: &str, dst: &str) {
        self.begun(rid, Some(dst), |file| Replica { state: State::Torn, ..file });
    }

    /// `image`, which lies beside the data here, is about to be written over them.
    pub fn applying(&mut self, rid: &str, dst: &str, image: &Image) {
        let old = self.data(rid).image;
        self.begun(rid, Some(dst), |file| Replica { state: State::Torn, image: old, applying: Some(image.clone()), ..file });
    }

    fn begun(&mut self, rid: &str, dst: Option<&str>, f: impl FnOnce(Replica) -> Replica) {
        let Ok(holder) = self.holder() else { return };
        let (dst, from) = (dst.map(str::to_owned), Some(holder.node));
        let file = Replica { dst, from, ..Replica::new(&self.node, State::InProgress, holder.epoch, self.now) };
        self.replicas.insert(rid.to_owned(), Known::Known(f(file)));
        self.use_up(rid);
    }

    /// The image that is being written over the data of `rid` here, or was when that was broken off.
    pub fn pending(&self, rid: &str) -> Option<&Image> {
        let file = self.replicas.get(rid)?.known()?;
        file.applying.as_ref().filter(|_| file.node == self.node && matches!(file.state, State::Torn | State::Live))
    }

    /// It is written: the data are that image. Of a node that has come to hold meanwhile they stay live.
    pub fn applied(&mut self, rid: &str, witness: Option<String>) {
        let (now, pending) = (self.now, self.pending(rid).cloned());
        if let (Some(image), Some(Known::Known(file))) = (pending, self.replicas.get_mut(rid)) {
            let state = if file.state == State::Live { State::Live } else { State::Replica };
            let done = Replica { state, image, since: now, applying: None, witness, ..file.clone() };
            *file = done;
        }
    }

    /// What is missing of it is nowhere: no image can be told to be here any more.
    pub fn torn(&mut self, rid: &str) {
        let now = self.now;
        if let Some(Known::Known(file)) = self.replicas.get_mut(rid).filter(|f| f.known().is_some_and(|f| f.state != State::Live)) {
            *file = Replica { state: State::Torn, image: Image::default(), since: now, applying: None, witness: None, ..file.clone() };
        }
    }

    /// There are no data of `rid` here any more: what held them is gone.
    pub fn vanished(&mut self, rid: &str) {
        let epoch = self.holder().map_or(0, |h| h.epoch);
        self.replicas.insert(rid.to_owned(), Known::Known(Replica::new(&self.node, State::None, epoch, self.now)));
    }

    /// What tells later that somebody else has written to the data of `rid`.
    pub fn witnessed(&mut self, rid: &str, witness: Option<String>) {
        if let Some(Known::Known(file)) = self.replicas.get_mut(rid) {
            file.witness = witness;
        }
    }

    /// The data here are other than they were when they became this replica, and no transfer did that.
    pub fn betrayed(&self, rid: &str, witness: &str) -> bool {
        let file = self.replicas.get(rid).and_then(Known::known).filter(|f| f.node == self.node && f.state == State::Replica);
        !self.holds() && file.and_then(|f| f.witness.as_deref()).is_some_and(|w| differ(w, witness))
    }

    /// Puts on record that somebody wrote to them: nothing overwrites that before someone chooses.
    pub fn foreign(&mut self, rid: &str) {
        let now = self.now;
        if let Some(Known::Known(file)) = self.replicas.get_mut(rid) {
            (file.state, file.since, file.written_until, file.witness) = (State::Orphan, now, Some(now), None);
        }
    }

    /// The image that authority would begin with here, of each replication of which the data are one.
    pub fn images(&self) -> Vec<(String, Image)> {
        let whole = |rid: &String| {
            let file = self.replicas.get(rid)?.known().filter(|f| f.node == self.node)?;
            let image = match file.state {
                State::Replica => &file.image,
                _ => self.pending(rid)?,
            };
            Some((rid.clone(), image.clone())).filter(|(_, image)| image.id.is_some())
        };
        self.copies.rids.iter().filter_map(whole).collect()
    }
}
