//! btrfs(8) as drivers see it: subvolumes and what they come of, read in two calls; what changes them.

mod device;
pub mod mounted;
mod top;

use super::Cx;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::path::Path;
use std::time::Duration;

pub use device::{devices, mount};
pub use top::{Top, hold, keeping, let_go, unmount, with};

/// What a node lacks that has no btrfs(8).
pub const NOT_INSTALLED: &str = "btrfs is not installed: install btrfs-progs";

/// How long a change may take: a mount after a crash replays a log, a sync writes what there is.
const CHANGE: Duration = Duration::from_secs(900);

/// A subvolume, as `btrfs subvolume list` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number in this filesystem: what mountinfo has as `subvolid`.
    pub id: u64,
    /// From the top of the filesystem.
    pub path: String,
    /// What it is, here alone.
    pub uuid: String,
    /// The subvolume it is a snapshot of.
    pub parent: Option<String>,
    /// What it was where it was sent from: set when all of it has been received.
    pub received: Option<String>,
    /// The transaction that changed it last.
    pub generation: u64,
    /// The transaction that made it.
    pub made: u64,
    /// Nobody can write to it.
    pub read_only: bool,
}

impl Subvolume {
    /// What it is on every filesystem it was sent to, as `btrfs receive` finds it.
    pub fn image(&self) -> &str {
        self.received.as_deref().unwrap_or(&self.uuid)
    }

    fn parse(line: &str) -> Option<Self> {
        let (fields, path) = line.split_once(" path ")?;
        let words: Vec<&str> = fields.split_whitespace().collect();
        let get = |key: &str| words.get(words.iter().position(|w| *w == key)? + 1).copied();
        let uuid = |key: &str| get(key).filter(|u| *u != "-").map(str::to_owned);
        Some(Self {
            id: get("ID")?.parse().ok()?,
            path: path.to_owned(),
            uuid: uuid("uuid")?,
            parent: uuid("parent_uuid"),
            received: uuid("received_uuid"),
            generation: get("gen")?.parse().ok()?,
            made: get("cgen")?.parse().ok()?,
            read_only: false,
        })
    }
}

/// All subvolumes of the filesystem that is mounted at `at`, the oldest first.
pub fn list(cx: &Cx, at: &str) -> Result<Vec<Subvolume>> {
    let ask = |more: &[&str]| {
        let words = [&["btrfs", "subvolume", "list"], more, &["-p", "-c", "-g", "-u", "-q", "-R", at]].concat();
        let out = cx.probe(&Cmd::probe(words));
        match out.failure() {
            None => Ok(out.text().lines().filter_map(Subvolume::parse).collect::<Vec<_>>()),
            Some(stage) => Err(Error::text(format!("the subvolumes below {at} are not known: {}", stage.why()))),
        }
    };
    let fixed = ask(&["-r"])?;
    let mut all = ask(&[])?;
    all.iter_mut().for_each(|s| s.read_only = fixed.iter().any(|f| f.id == s.id));
    all.sort_by_key(|s| (s.made, s.id));
    Ok(all)
}

/// The number of the subvolume that a mount without a name shows, of the filesystem that is mounted at `at`.
pub fn default(cx: &Cx, at: &str) -> Option<u64> {
    let out = cx.probe(&Cmd::probe(["btrfs", "subvolume", "get-default", at]));
    out.text().split_whitespace().nth(1)?.parse().ok()
}

/// btrfs(8) is here.
pub fn is_installed() -> bool {
    crate::cmd::find("btrfs").is_some()
}

/// Changes something; the line is logged. The error says why it is not done.
pub fn change(cx: &Cx, argv: &[&str]) -> Result<()> {
    let cmd = Cmd::change(argv.iter().copied()).timeout(CHANGE);
    cx.log.info(cmd.line());
    let out = cx.host.runner.run(&cmd);
    cx.host.facts.forget();
    out.failure().map_or(Ok(()), |stage| Err(Error::text(format!("{} failed: {}", cmd.line(), stage.why()))))
}

/// Two paths change places: at each instant each of them is there.
pub fn exchange(cx: &Cx, one: &str, other: &str) -> Result<()> {
    #[cfg(debug_assertions)]
    crate::steps::before("exchange");
    cx.log.info(format!("exchange {one} {other}"));
    renameat2(AT_FDCWD, Path::new(one), AT_FDCWD, Path::new(other), RenameFlags::RENAME_EXCHANGE)
        .map_err(|e| Error::text(format!("{one} and {other} cannot change places: {e}")))?;
    cx.host.facts.forget();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_as_btrfs_prints_it() {
        let line = "ID 259 gen 49 cgen 35 parent 5 top level 5 parent_uuid 657ccc70-ac10-da4b-a5a6-1c559c35ad00 received_uuid -                                    uuid 06485d34-51a2-284d-88b6-8e8efb0367d1 path in/a path of@sent";
        let one = Subvolume::parse(line).unwrap();
        assert_eq!((one.id, one.generation, one.made, one.path.as_str()), (259, 49, 35, "in/a path of@sent"));
        assert_eq!(one.parent.as_deref(), Some("657ccc70-ac10-da4b-a5a6-1c559c35ad00"));
        assert_eq!((one.received.as_deref(), one.image()), (None, "06485d34-51a2-284d-88b6-8e8efb0367d1"));
        let received = Subvolume { received: Some("b8".into()), ..one };
        assert_eq!(received.image(), "b8");
        assert_eq!(Subvolume::parse("nothing"), None);
    }
}
