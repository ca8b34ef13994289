//! An umount, and the end of what hinders it.

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::{Cx, holders};
use crate::log::Level;
use std::time::Duration;

/// Rounds of umount, then ending the processes in the way.
const ROUNDS: u32 = 3;

/// Unmounts `mnt` by `argv`, ending the processes that use it, but never one from which this command runs. Ok: `mounted`
/// does not say so any more.
pub fn umount(cx: &Cx, mnt: &str, argv: &[&str], mounted: impl Fn() -> bool) -> Result<()> {
    for round in 1..=ROUNDS {
        let out = cx.run_at(&Cmd::change(argv.iter().copied()), Level::Info, Level::Warning);
        cx.host.facts.forget();
        if out.ok() || !mounted() {
            return Ok(());
        }
        let real = cx.host.facts.real_path(mnt);
        let in_the_way = holders::find(&real);
        if let Some(ours) = in_the_way.iter().find(|h| h.is_ours) {
            cx.log.error(format!("{mnt} is in use by {ours}, from which this command runs. leave {mnt} and try again"));
            return Err(Error::Reported);
        }
        if !in_the_way.is_empty() && round < ROUNDS {
            let names: Vec<String> = in_the_way.iter().map(ToString::to_string).collect();
            cx.log.warning(format!("{mnt} is in use: ending {}", names.join(", ")));
            holders::end(&in_the_way, &real, Duration::from_secs(2));
        }
        std::thread::sleep(Duration::from_millis(200)); // the kernel frees what a dead process held a moment later
    }
    let left: Vec<String> = holders::find(&cx.host.facts.real_path(mnt)).iter().map(ToString::to_string).collect();
    let by = if left.is_empty() { "something that is no process (nfs export, swap, loop, bind?)".into() } else { left.join(", ") };
    cx.log.error(format!("failed to umount {mnt}: in use by {by}"));
    Err(Error::Reported)
}

/// One slash where there are several, none at the end: as mountinfo has it.
pub fn squeezed(mnt: &str) -> String {
    let parts: Vec<&str> = mnt.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if mnt.starts_with('/') { format!("/{}", parts.join("/")) } else { mnt.to_owned() }
}
