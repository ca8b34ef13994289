//! The receiving side of a driver that takes its senders' words apart: what they may do here, and what the data here
//! are once they have. Without one, the writer runs as the sender words it (rsync).

use super::Side;
use crate::error::Result;
use crate::host::Cx;
use crate::state::gate::{Detail, Held};
use crate::state::replica::Image;

/// What a sender's command does to the data here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it looks.
    Looks,
    /// Nothing: it puts something beside the replica, which stays what it is.
    Stages,
    /// It writes over what is here: no replica until the sender confirms that all of it arrived.
    Overwrites,
    /// What was put beside becomes the replica: from the first byte on only this image can come of it.
    Applies(Image),
}

/// A sender's command, as this node does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What runs here, with the streams of the connection. Empty: what is applied is applied by [`Target::recover`].
    pub argv: Vec<String>,
    /// What it does.
    pub effect: Effect,
}

/// How an apply that was broken off ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// The data here are the image.
    Whole,
    /// What is missing of it is nowhere here: the data are torn.
    Lost,
}

/// One replication, as the node sees it that receives. `side` is what this node is to it: a way home makes home a
/// receiver.
pub trait Target: Send + Sync {
    /// The device or file that holds the data on a node that is `side`.
    fn place(&self, side: Side) -> &str;

    /// Why what the sender announces could not be written here now. Changes nothing.
    fn unfit(&self, cx: &Cx, side: Side, detail: &Detail) -> Option<String>;

    /// What the sender's `words` come to here, if they are words of this driver about this section's data; `held` is
    /// what these are now.
    fn receive(&self, cx: &Cx, side: Side, words: &[String], held: &Held) -> Result<Receipt>;

    /// Removes what this node has kept of the time when it was the source, and what every byte that is written now would
    /// fill: called before the first one.
    fn make_way(&self, _cx: &Cx, _side: Side) -> Result<()> {
        Ok(())
    }

    /// What the stream of these words goes through before it comes to [`Receipt::argv`]: `zstd -d`. Empty: nothing.
    fn filter(&self, _words: &[String]) -> Vec<String> {
        Vec::new()
    }

    /// What was run for the words of a stage has ended, well or not.
    fn received(&self, _cx: &Cx, _side: Side) -> Result<()> {
        Ok(())
    }

    /// Finishes the apply of `image`, which was broken off. With an error nothing is worse than before: it may be
    /// tried again, as when the disks are not there yet.
    fn recover(&self, cx: &Cx, side: Side, image: &Image) -> Result<Recovered>;

    /// Drops what was put beside the replica and is wanted by nobody any more: the service starts here. `fresh`: authority
    /// comes with this start, so nobody has written to the replica since it was received.
    fn discard(&self, _cx: &Cx, _fresh: bool) -> Result<()> {
        Ok(())
    }

    /// The data can be looked at, and an apply be finished, without mounting what another node may have mounted.
    fn at_hand(&self, _cx: &Cx, _side: Side) -> bool {
        true
    }

    /// A few bytes of the data, digested: somebody who mounts them to write changes it. `None`: not to be had now.
    fn witness(&self, cx: &Cx, side: Side) -> Option<String>;

    /// The data here are a replica of `image` from now on: what the driver itself keeps of that.
    fn became(&self, cx: &Cx, image: &Image) -> Result<()>;

    /// Authority is about to go from this node, where the service is stopped: nobody writes here from now on, as far as the
    /// driver can see to that. What [`Target::witness`] says then, if it tells writes of somebody later.
    fn given(&self, _cx: &Cx, _side: Side) -> Option<String> {
        None
    }

    /// Authority has come to this node, whose data are `image`; nothing has written to them yet. What the driver wants
    /// to know later of the difference begins here. Nothing fails for it.
    fn gained(&self, cx: &Cx, side: Side, image: &Image);
}
