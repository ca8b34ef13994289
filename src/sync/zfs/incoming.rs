//! `var/NAME/RID.incoming`: the guid of the snapshot that what arrives in the copy is based on. It is there from before the
//! copy is changed until the new data are in place, or gone again: what has arrived of a transfer that was broken off is
//! told from a snapshot that this node has made to send, whatever the stream has done to the properties of the dataset.

use super::Zfs;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{Dataset, Snapshot};
use crate::state::atomic;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;

fn path(cx: &Cx) -> PathBuf {
    cx.host.paths.service_var(cx.service).join(format!("{}.incoming", cx.rid))
}

/// From now on changes since `base` may be among the data.
pub(super) fn begin(cx: &Cx, base: &str) -> Result<()> {
    atomic::write(&path(cx), base.as_bytes())
}

/// What the changes that may be among the data are based on. `None`: there are none.
pub(super) fn base(cx: &Cx) -> Result<Option<String>> {
    match fs::read_to_string(path(cx)) {
        Ok(base) => Ok(Some(base)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", &path(cx))(e)),
    }
}

/// There are none any more. When this returns Ok, that is on the disk.
pub(super) fn end(cx: &Cx) -> Result<()> {
    let path = path(cx);
    match fs::remove_file(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", &path)(e)),
        // what comes back after a crash would take back what was written since
        Ok(()) => {
            let folder = path.parent().unwrap_or(&path);
            File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))
        }
    }
}

/// The error: the data here are not to be sent, or kept, as they are.
pub(super) fn none_left(cx: &Cx) -> Result<()> {
    if base(cx)?.is_none() {
        return Ok(());
    }
    let (name, node) = (cx.service, &cx.host.node);
    Err(Error::text(format!(
        "{node} has a part of a transfer of {} that was broken off: a start takes it back. on {node}: svcmgr -s {name} start",
        cx.rid
    )))
}

impl Zfs {
    /// The snapshot to take `top` back to: what the copy is on record as, or what arrives is based on, if that is newer.
    pub(super) fn taken_back_to<'t>(&self, cx: &Cx, top: &'t Dataset) -> Result<Option<&'t Snapshot>> {
        let based = base(cx)?.and_then(|guid| top.with(&guid));
        let at = |s: &&Snapshot| top.snapshots.iter().position(|known| known.guid == s.guid);
        Ok(based.into_iter().chain(self.on_record(cx, top)).max_by_key(at))
    }
}
