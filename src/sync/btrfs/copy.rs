//! What the copy here is: what a sender is told of it, what shows that somebody wrote to it, whether it came from this sync.

use super::spot::Spot;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::btrfs::Subvolume;
use crate::state::gate::Held;
use crate::state::replica::State;

/// What the sender wants to know of a subvolume: what [`super::base::There::parse`] reads.
pub(super) fn told(cx: &Cx, spot: &Spot) -> Result<String> {
    let all = spot.list(cx)?;
    let index = spot.index;
    let mut text: String = spot.bases(&all, spot.data(&all)).map(|s| format!("snapshot {index} {} {}\n", s.image(), s.path)).collect();
    if spot.data(&all).is_some() {
        text += &match copy(cx, spot, &all) {
            Ok(image) => format!("copy {index} {image}\n"),
            Err(why) => format!("other {index} {why}\n"),
        };
    }
    Ok(text)
}

/// The folder of the snapshot that is `image`.
pub(super) fn snapshot(cx: &Cx, spot: &Spot, image: &str) -> Result<Option<String>> {
    let all = spot.list(cx)?;
    Ok(spot.snapshots(&all).find(|s| s.image() == image).map(|s| format!("{}/", spot.at(&s.path))))
}

/// The image that the data here are; or what else they are.
pub(super) fn copy(cx: &Cx, spot: &Spot, all: &[Subvolume]) -> Result<String, String> {
    let data = spot.data(all).ok_or_else(|| format!("{} is not there", spot.name))?;
    spot.untouched(cx, all, data).map(|base| base.image().to_owned()).map_err(|e| format!("{}: {e}", spot.name))
}

/// What changes when somebody writes here, and only then: a line as [`crate::state::replica::differ`] reads it. A base that
/// somebody has destroyed is no write; where there is no copy any more nothing can be lost.
pub(super) fn witness(cx: &Cx, spot: &Spot, all: &[Subvolume]) -> Option<String> {
    let data = spot.data(all)?;
    let as_made = data.read_only && data.generation == data.made;
    let untouched = as_made || spot.untouched(cx, all, data).is_ok();
    let written = if untouched { String::new() } else { format!(" {}", data.generation) };
    Some(format!("{}={}{written}", spot.name, data.uuid))
}

/// The error: this node knows of nothing that came here, and something is there. A snapshot that is called as ours are
/// proves nothing, unless it was received, or the sender has it.
pub(super) fn strange(cx: &Cx, spot: &Spot, all: &[Subvolume], base: Option<&str>, held: &Held) -> Result<()> {
    let came = |s: &Subvolume| s.received.is_some() || base == Some(s.image());
    if held.state != Some(State::None) || spot.bases(all, spot.data(all)).any(came) {
        return Ok(());
    }
    let Some(what) = spot.data(all).filter(|data| !spot.is_empty(data)).or(spot.snapshots(all).next()) else { return Ok(()) };
    Err(Error::text(format!(
        "what {label}:{path} is on {node} did not come from {} of {}. nothing is received, as it would be replaced. name another dst in [{0}]; or, to keep it elsewhere, on {node}: mount -o subvolid=5 LABEL={label} /mnt; mv /mnt/{path} /mnt/{path}.old   (to give it up: btrfs subvolume delete /mnt/{path})",
        cx.rid,
        cx.service,
        label = spot.label(),
        node = cx.host.node,
        path = what.path
    )))
}
