//! The sender at work: the hands of the chain, on volumes and files of the model. Dead, it does nothing more.

use super::super::settle::{Hands, settle};
use super::super::{Chain, Seen, Step};
use super::world::World;
use crate::error::{Error, Result as Done};

/// On the volume of a copy.
pub struct Sender<'a> {
    pub world: &'a mut World,
    pub copy: usize,
}

impl Sender<'_> {
    fn alive(&mut self) -> Done<()> {
        if self.world.tick() { Ok(()) } else { Err(Error::Reported) }
    }

    pub fn settle(&mut self, chain: &mut Chain) -> bool {
        settle(chain, self).is_ok()
    }
}

impl Hands for Sender<'_> {
    fn look(&mut self) -> Done<Seen> {
        self.alive()?;
        Ok(self.world.copies[self.copy].volume.seen())
    }

    fn save(&mut self, chain: &Chain) -> Done<()> {
        self.alive()?;
        let text = serde_json::to_string(chain).map_err(|e| Error::text(e.to_string()))?;
        let listed = |peer: &str| chain.peers.get(peer).is_some_and(|r| r.listed);
        let files = self.world.files(self.copy);
        files.chain = Some(text);
        files.lists.retain(|peer, _| listed(peer));
        self.alive()
    }

    fn note(&mut self, peer: &str, anew: bool) -> Done<()> {
        self.alive()?;
        let base = self.world.copies[self.copy].volume.old.clone().filter(|s| s.valid).ok_or_else(|| Error::text("full"))?;
        let lists = &mut self.world.files(self.copy).lists;
        if anew {
            lists.remove(peer);
        } else if !lists.contains_key(peer) {
            return Err(Error::text("the list is gone"));
        }
        let list = lists.entry(peer.to_owned()).or_default();
        list.extend(&base.table);
        let line = format!("{} joins the list of {peer}{}: {list:?}", base.id, if anew { " anew" } else { "" });
        self.world.story.push(line);
        self.alive()
    }

    fn tell_lost(&mut self, _peer: &str, _why: &Error) {}

    fn change(&mut self, step: &Step) -> Done<()> {
        self.alive()?;
        self.world.story.push(format!("{step:?}"));
        let volume = &mut self.world.copies[self.copy].volume;
        match step {
            Step::DropOld => volume.old = None,
            Step::DropNew => volume.new = None,
            Step::Rename => volume.old = volume.new.take(),
            _ => {}
        }
        self.alive()
    }

    fn create(&mut self, beside: bool) -> Done<()> {
        self.alive()?;
        let data = self.world.copies[self.copy].volume.data.clone();
        let (id, room) = (self.world.new_image(data), self.world.room());
        self.world.copies[self.copy].volume.snap(id, room, beside);
        self.alive()
    }
}
