//! What one command has frozen of a resource. There is a driver for each way it goes, and they send the same snapshots:
//! the first one makes them, the last one releases them.

use crate::error::Result;
use crate::host::Cx;
use crate::state::replica::Image;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Round {
    frozen: Option<Image>,
    confirmed: bool,
    /// Drivers that have frozen and not released.
    users: usize,
}

/// Service and section.
type Rounds = BTreeMap<(String, String), Round>;

static ROUNDS: Mutex<Rounds> = Mutex::new(BTreeMap::new());

fn rounds() -> MutexGuard<'static, Rounds> {
    ROUNDS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(cx: &Cx) -> (String, String) {
    (cx.service.to_owned(), cx.rid.to_owned())
}

/// The snapshots of this command.
pub fn image(cx: &Cx) -> Option<Image> {
    rounds().get(&key(cx)).and_then(|r| r.frozen.clone())
}

/// Has `take` make them, unless another way's driver has. With an error this driver is none of their users.
pub fn freeze(cx: &Cx, take: impl FnOnce() -> Result<Image>) -> Result<()> {
    if image(cx).is_none() {
        let image = take()?;
        rounds().entry(key(cx)).or_default().frozen = Some(image);
    }
    rounds().entry(key(cx)).or_default().users += 1;
    Ok(())
}

/// A peer has confirmed that they arrived.
pub fn confirmed(cx: &Cx) {
    if let Some(round) = rounds().get_mut(&key(cx)) {
        round.confirmed = true;
    }
}

/// This driver needs them no more. Of the last one that says so: whether they have arrived anywhere.
pub fn release(cx: &Cx) -> Option<bool> {
    let mut rounds = rounds();
    let round = rounds.get_mut(&key(cx))?;
    round.users = round.users.saturating_sub(1);
    if round.users > 0 {
        return None;
    }
    let round = rounds.remove(&key(cx))?;
    round.frozen.map(|_| round.confirmed)
}
