//! What someone has given up (`--abandon`), and what of that a transfer has overwritten since: a consent is good for what
//! was there when it was said. Who receives is the first to know that it is used up; the others hear it from there.

use super::Here;
use crate::state::authority::{Consent, Known};
use crate::state::gate::{Answer, Question};
use std::collections::BTreeSet;

impl Here {
    /// All that was said in this epoch, also what is used up.
    pub fn abandoned(&self) -> Vec<Consent> {
        self.record.known().map(|r| r.abandoned.clone()).unwrap_or_default()
    }

    /// What `copy` has of `rid`, and nobody else, may be overwritten.
    pub fn gives_up(&self, copy: &str, rid: &str) -> bool {
        let all = self.record.known().map(|r| r.abandoned.as_slice()).unwrap_or_default();
        all.iter().any(|c| c.copy == copy && !c.over.contains(rid))
    }

    /// The same of what is on this node.
    pub fn given_up(&self, rid: &str) -> bool {
        self.copy().is_some_and(|own| self.gives_up(&own.name, rid))
    }

    /// Gives up what the copy of `node` has of `rids` that is not here.
    pub fn abandon(&mut self, node: &str, rids: &[String]) {
        let over = self.copies.rids.iter().filter(|rid| !rids.contains(rid)).cloned().collect();
        if let Some(name) = self.copies.of_node(node).map(|c| c.name.clone()) {
            self.consent(&name, over);
        }
    }

    /// Something of `copy` is given up on this node, now.
    pub(super) fn consent(&mut self, copy: &str, over: BTreeSet<String>) {
        let consent = Consent { copy: copy.to_owned(), by: self.node.clone(), at: self.now, over };
        if let Known::Known(record) = &mut self.record {
            record.abandoned.push(consent);
        }
    }

    /// Takes over what the holder says was given up. What is used up here stays so, whatever the asker knows.
    pub fn accept(&mut self, question: &Question) {
        let all = self.record_is(question);
        self.told(&question.abandoned, all);
    }

    /// Hears from a peer what of that is used up; from who holds as well, which is this node's copy or another, also what
    /// was given up.
    pub fn hear(&mut self, answer: &Answer) {
        let epoch = answer.holder.as_ref().filter(|_| answer.rival.is_none()).map(|h| h.epoch);
        let all = epoch.is_some_and(|epoch| self.is_held_by(answer.copy.as_deref(), &answer.node, epoch));
        self.told(&answer.abandoned, all);
    }

    fn told(&mut self, told: &[Consent], all: bool) {
        let Known::Known(record) = &mut self.record else { return };
        for consent in told {
            match record.abandoned.iter_mut().find(|known| known.is(consent)) {
                Some(known) => known.over.extend(consent.over.iter().cloned()),
                None if all => record.abandoned.push(consent.clone()),
                None => {}
            }
        }
    }

    /// A transfer is about to overwrite what is here of `rid`. What is written here later nobody has given up.
    pub(super) fn use_up(&mut self, rid: &str) {
        let Some(own) = self.copy().map(|c| c.name.clone()) else { return };
        if let Known::Known(record) = &mut self.record {
            record.abandoned.iter_mut().filter(|c| c.copy == own).for_each(|c| _ = c.over.insert(rid.to_owned()));
        }
    }

    /// Filesystems are up here for nothing but to receive what the holder sends.
    pub fn receiving(&self) -> bool {
        self.record.known().is_some_and(|r| r.receiving)
    }

    /// Sets or ends that. With `give_up`, what this node has written of its own may be overwritten by the holder, until
    /// it is, or that ends.
    pub fn receive(&mut self, on: bool, give_up: bool) {
        self.settle();
        let own = self.copy().map(|c| c.name.clone());
        if let Known::Known(record) = &mut self.record {
            record.receiving = on;
            // nobody gives up a copy on a node that has it, but for this
            record.abandoned.retain(|c| c.by != self.node || Some(&c.copy) != own.as_ref());
        }
        own.iter().filter(|_| give_up).for_each(|own| self.consent(own, BTreeSet::new()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::config::env::EnvFile;
    use crate::config::scope::ServiceConfig;
    use std::sync::Arc;

    fn here(node: &str) -> Here {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("svc1.env");
        let sync = |n: u32| format!("[sync#{n}]\nsrc = /d{n}\ndst = /d{n}\ntarget = drpnodes\n");
        std::fs::write(&path, format!("[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1 d2\n{}{}", sync(1), sync(2))).unwrap();
        let config = ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), node);
        let mut here = Here::load(dir.path(), "svc1", &config, FixedClock::at("2014-06-06 19:00:00").0);
        here.settle();
        here
    }

    fn both() -> Vec<String> {
        vec!["sync#1".into(), "sync#2".into()]
    }

    fn question(here: &Here) -> Question {
        let copy = here.copy().map(|c| c.name.clone());
        Question { node: here.node.clone(), copy, abandoned: here.abandoned(), ..Question::default() }
    }

    fn answer(here: &Here) -> Answer {
        let copy = here.copy().map(|c| c.name.clone());
        Answer { node: here.node.clone(), copy, holder: here.holder().ok(), abandoned: here.abandoned(), ..Answer::default() }
    }

    fn given_up(here: &Here) -> (bool, bool) {
        (here.given_up("sync#1"), here.given_up("sync#2"))
    }

    #[test]
    fn a_consent_is_good_until_that_replication_is_overwritten() {
        let (mut n1, mut d1) = (here("n1"), here("d1"));
        n1.abandon("d1", &both());
        let first = question(&n1);
        d1.accept(&first);
        assert_eq!(given_up(&d1), (true, true));
        d1.arriving("sync#1", None, None);
        assert_eq!(given_up(&d1), (false, true), "what was not overwritten may still be");
        d1.applying("sync#2", "/d2", &crate::state::replica::Image::default());
        d1.accept(&first);
        assert_eq!(given_up(&d1), (false, false), "who has not heard of it does not bring it back");
        n1.hear(&answer(&d1));
        assert!(!n1.gives_up("d1", "sync#1") && !n1.gives_up("d1", "sync#2"));
        // somebody says it again, a moment later
        n1.now += chrono::Duration::seconds(1);
        n1.abandon("d1", &both());
        d1.accept(&question(&n1));
        assert_eq!(given_up(&d1), (true, true));
    }

    #[test]
    fn it_is_of_what_is_sent_and_of_one_copy() {
        let (mut n1, mut d1, mut d2) = (here("n1"), here("d1"), here("d2"));
        n1.abandon("d1", &both()[..1]);
        d1.accept(&question(&n1));
        d2.accept(&question(&n1));
        assert_eq!((given_up(&d1), given_up(&d2)), ((true, false), (false, false)));
    }

    #[test]
    fn who_shares_the_disks_hears_of_it_from_anybody() {
        let (mut n1, mut n2, mut d1) = (here("n1"), here("n2"), here("d1"));
        n1.abandon("d1", &both());
        d1.hear(&answer(&n1));
        n2.hear(&answer(&d1));
        assert!(!n2.gives_up("d1", "sync#1"), "only who holds says what is given up");
        n2.hear(&answer(&n1));
        assert!(n2.gives_up("d1", "sync#1"));
        d1.overwriting("sync#1", "/d1");
        n2.hear(&answer(&d1));
        assert!(!n2.gives_up("d1", "sync#1") && n2.gives_up("d1", "sync#2"));
    }

    #[test]
    fn a_way_home_gives_up_what_is_there_once() {
        let mut n1 = here("n1");
        let taken = crate::state::authority::Holder { epoch: 1, copy: "d1".into(), node: "d1".into(), ..n1.holder().unwrap() };
        n1.learn(&taken);
        n1.receive(true, true);
        n1.arriving("sync#1", None, None);
        assert_eq!(given_up(&n1), (false, true));
        n1.receive(true, true);
        assert_eq!(given_up(&n1), (true, true), "made ready again, with another look at what is there");
        n1.receive(false, false);
        assert!(n1.abandoned().is_empty());
    }
}
