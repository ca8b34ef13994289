//! The volume that is sent and the two snapshots of it that are ours, as LVM has them.

use super::chain::{Seen, Snapshot, Step};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::lvm::Measured;
use crate::log::Level;
use std::sync::Arc;
use std::time::Duration;

/// How long LVM may take to change something: it waits for its locks and for the disks, and half a change is worse than a
/// long wait.
const CHANGE: Duration = Duration::from_secs(600);

/// How often a removal is tried: udev may have the device open for a moment.
const ATTEMPTS: u32 = 29;

/// Of one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// `_osvc_snap1`: the base.
    Old,
    /// `_osvc_snap2`: what a round sends.
    New,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) vg: String,
    pub(super) lv: String,
    /// Bytes.
    pub(super) size: u64,
    /// Its disk group is active, and so are its snapshots then.
    pub(super) active: bool,
}

/// What LVM shows of the volume.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Look {
    /// What the chain decides with.
    pub(super) seen: Seen,
    /// How full the snapshots are: percent.
    pub(super) full: Vec<(Which, f64)>,
}

fn volumes(cx: &Cx) -> Arc<std::result::Result<Vec<Measured>, String>> {
    cx.host.facts.volumes(cx.host.runner.as_ref())
}

/// lvs(8): the first attribute is the type, the fifth the state.
fn attribute(row: &Measured, n: usize) -> char {
    row.lv_attr.chars().nth(n).unwrap_or('-')
}

impl Volume {
    /// The volume that `path` names.
    pub(super) fn of(cx: &Cx, path: &str) -> Result<Self> {
        let not =
            |why: &str| Error::text(format!("{path} cannot be sent: it is not a logical volume that is there on {} ({why})", cx.host.node));
        let real = cx.host.facts.real_path(path);
        let rows = volumes(cx);
        let rows = rows.as_ref().as_ref().map_err(|why| not(why))?;
        let row = rows.iter().find(|row| row.is(path) || row.is(&real)).ok_or_else(|| not("lvs does not name it"))?;
        let size = row.lv_size.parse().map_err(|_| not(&format!("lvs gives no size: {}", row.lv_size)))?;
        let active = matches!(attribute(row, 4), 'a' | 's');
        Ok(Self { vg: row.vg_name.clone(), lv: row.lv_name.clone(), size, active })
    }

    /// `LV_osvc_snap1`; as 2014, with `_` for each `-` of the volume's name.
    pub(super) fn snap(&self, which: Which) -> String {
        let n = if which == Which::Old { 1 } else { 2 };
        format!("{}_osvc_snap{n}", self.lv.replace('-', "_"))
    }

    /// `/dev/VG/LV`.
    pub(super) fn device(&self) -> String {
        format!("/dev/{}/{}", self.vg, self.lv)
    }

    /// `/dev/VG/LV_osvc_snap1`.
    pub(super) fn snap_device(&self, which: Which) -> String {
        format!("/dev/{}/{}", self.vg, self.snap(which))
    }

    /// The device with the table of the base; device-mapper doubles each `-` of a name.
    pub(super) fn table(&self) -> String {
        format!("/dev/mapper/{}-{}-cow", self.vg.replace('-', "--"), self.snap(Which::Old))
    }

    /// What `lvcreate -L` is told, in MiB: a tenth of the volume, as 2014 printed its float.
    pub(super) fn snap_size(&self, set: Option<i64>) -> String {
        set.map_or_else(|| format!("{}.0M", self.size / (1 << 20) / 10), |mb| format!("{mb}M"))
    }

    /// What LVM shows now: asked again, whatever is known already.
    pub(super) fn look_again(&self, cx: &Cx) -> Result<Look> {
        cx.host.facts.forget();
        self.look(cx)
    }

    /// What LVM shows; asked once a command until something changes.
    pub(super) fn look(&self, cx: &Cx) -> Result<Look> {
        let rows = volumes(cx);
        let silent = |why: &String| Error::text(format!("LVM does not tell which snapshots {} has: {why}", self.device()));
        let rows = rows.as_ref().as_ref().map_err(silent)?;
        let mut look = Look { seen: Seen { size: self.size, ..Seen::default() }, full: Vec::new() };
        for which in [Which::Old, Which::New] {
            let Some(row) = rows.iter().find(|r| r.vg_name == self.vg && r.lv_name == self.snap(which)) else { continue };
            let snapshot = self.judge(row, which)?;
            if let Ok(percent) = row.data_percent.parse() {
                look.full.push((which, percent));
            }
            *(if which == Which::Old { &mut look.seen.old } else { &mut look.seen.new }) = Some(snapshot);
        }
        Ok(look)
    }

    fn judge(&self, row: &Measured, which: Which) -> Result<Snapshot> {
        let (name, origin) = (self.snap_device(which), self.device());
        if row.origin != self.lv {
            return Err(Error::text(format!(
                "{name} is not a snapshot of {origin}, but has the name of one that sync makes. rename it: lvrename {} {} NAME",
                self.vg, row.lv_name
            )));
        }
        match (attribute(row, 0), attribute(row, 4)) {
            ('S', 'a' | 's') => Err(Error::text(format!("{name} is being merged into {origin}: sync again when that is done"))),
            (_, 'a' | 's') => Ok(Snapshot { id: row.lv_uuid.clone(), valid: true }),
            (_, 'I' | 'S') => Ok(Snapshot { id: row.lv_uuid.clone(), valid: false }),
            _ => Err(Error::text(format!("{name} is not active. activate it with its volume: lvchange -ay {origin}"))),
        }
    }

    /// Makes a snapshot.
    pub(super) fn create(&self, cx: &Cx, which: Which, size: Option<i64>) -> Result<()> {
        let (name, size, device) = (self.snap(which), self.snap_size(size), self.device());
        let made = cx.run(&Cmd::change(["lvcreate", "-s", "-n", &name, "-L", &size, &device]).timeout(CHANGE));
        if made.ok() {
            return Ok(());
        }
        Err(Error::text(format!(
            "{device} is not sent: its snapshot could not be made, see above. {} needs {size} free (vgs {}); [{}] snap_size = MB sets another size",
            self.vg, self.vg, cx.rid
        )))
    }

    /// Does a step that changes what LVM shows.
    pub(super) fn change(&self, cx: &Cx, step: &Step) -> Result<()> {
        match step {
            Step::DropOld => self.remove(cx, Which::Old),
            Step::DropNew => self.remove(cx, Which::New),
            Step::Rename => {
                let (new, old) = (self.snap(Which::New), self.snap(Which::Old));
                cx.must(&Cmd::change(["lvrename", &self.vg, &new, &old]).timeout(CHANGE)).map(|_| ())
            }
            Step::Rest | Step::Note(_) | Step::Adopt => Ok(()),
        }
    }

    /// Removes one; that it is not there is no error.
    pub(super) fn remove(&self, cx: &Cx, which: Which) -> Result<()> {
        let device = self.snap_device(which);
        let cmd = Cmd::change(["lvremove", "-f", &device]).timeout(CHANGE);
        for attempt in 1..=ATTEMPTS {
            let said = if attempt == 1 { Level::Info } else { Level::Debug };
            let failed = if attempt == ATTEMPTS { Level::Error } else { Level::Debug };
            if cx.run_at(&cmd, said, failed).ok() {
                return Ok(());
            }
            let left = self.look_again(cx)?.seen;
            if (if which == Which::Old { left.old } else { left.new }).is_none() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100)); // whatever holds it leaves no other sign of its leaving
        }
        Err(Error::text(format!(
            "{device} cannot be removed (attempts: {ATTEMPTS}). it fills up and slows the volume down. see who has it: lsof {device}; then: lvremove -f {device}"
        )))
    }
}
