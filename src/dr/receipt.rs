//! A transfer whose driver takes its sender's words apart: what runs here for them, and what the data are before and after.

use crate::action::authority::Desk;
use crate::action::{data, sync};
use crate::authority::Here;
use crate::error::{Error, Result};
use crate::service::Res;
use crate::state::gate::Detail;
use crate::sync::{Effect, SyncDriver};

/// What runs here for a sender.
pub(super) struct Admitted {
    pub(super) argv: Vec<String>,
    /// What its stream goes through before.
    pub(super) filter: Vec<String>,
    pub(super) effect: Effect,
}

impl Admitted {
    /// The sender's words as they are.
    pub(super) fn as_told(argv: &[String]) -> Self {
        Self { argv: argv.to_vec(), filter: Vec::new(), effect: Effect::Looks }
    }
}

/// Admits the sender's words about `res`, under the receiver's lock: what runs here, and what it does. The record says
/// before the first byte what comes of the data. `may`: the gate's word on what is known here now.
pub fn admit(
    desk: &mut Desk,
    res: &Res,
    driver: &dyn SyncDriver,
    words: &[String],
    may: impl Fn(&Here) -> Result<bool>,
) -> Result<Admitted> {
    let Some(target) = driver.target() else { return Ok(Admitted::as_told(words)) };
    let log = desk.log.child(&res.log_name());
    let cx = desk.service.cx(desk.host, &log, res, false);
    let side = sync::side_of(&desk.here, driver, &desk.here.node);
    let inside = || Error::text(format!("{} does not carry data from another copy to {}", res.rid, desk.host.node));
    if !desk.here.copies.replicated() || !desk.here.copies.rids.contains(&res.rid) || !may(&desk.here)? {
        return Err(inside());
    }
    if let Some(why) = target.unfit(&cx, side, &Detail::default()) {
        return Err(Error::text(why));
    }
    data::vanished(desk, &res.rid)?;
    data::finish(desk, &res.rid)?;
    data::witness(desk, &res.rid)?;
    if !may(&desk.here)? {
        return Err(Error::text(format!("{} holds the data itself", desk.host.node)));
    }
    let mut receipt = target.receive(&cx, side, words, &desk.here.held(&res.rid))?;
    let place = target.place(side);
    match &mut receipt.effect {
        Effect::Looks | Effect::Stages => {}
        Effect::Overwrites => {
            target.make_way(&cx, side)?;
            desk.change(|here| may(here).map(|_| here.overwriting(&res.rid, place)))??;
        }
        Effect::Applies(image) => {
            image.epoch = desk.here.holder().map_or(0, |h| h.epoch);
            target.make_way(&cx, side)?;
            desk.change(|here| may(here).map(|_| here.applying(&res.rid, place, image)))??;
        }
    }
    Ok(Admitted { filter: target.filter(words), argv: receipt.argv, effect: receipt.effect })
}

/// What ran to put something beside the replica has ended, well or not.
pub fn staged(desk: &Desk, rid: &str) -> Result<()> {
    let Some(res) = desk.service.find(rid) else { return Ok(()) };
    let Some((driver, target)) = res.sync().and_then(|d| Some((d, d.target()?))) else { return Ok(()) };
    let log = desk.log.child(&res.log_name());
    target.received(&desk.service.cx(desk.host, &log, res, false), sync::side_of(&desk.here, driver, &desk.here.node))
}

/// What ran for them has ended well.
pub fn ended(desk: &mut Desk, res: &Res, effect: &Effect) -> Result<()> {
    let Effect::Applies(image) = effect else { return Ok(()) };
    desk.change(|here| here.applied(&res.rid, None))?;
    data::became(desk, &res.rid, image)
}
