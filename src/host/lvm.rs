//! LVM as its own reports tell it: volume groups, their tags, their logical volumes. `vgs` and `lvs` once a command.

use crate::cmd::{Cmd, End, Output, Runner};
use serde::Deserialize;
use std::collections::HashMap;
use std::time::Duration;

/// How long a report may take: the disks of the machine are looked at.
const PATIENCE: Duration = Duration::from_secs(20);

/// `/dev/VG/LV` as device-mapper spells it, `/dev/mapper/VG-LV`: `-` doubled in each part.
pub fn mapper_name(dev: &str) -> Option<String> {
    let (vg, lv) = dev.strip_prefix("/dev/")?.split_once('/')?;
    (vg != "mapper" && !lv.contains('/')).then(|| format!("/dev/mapper/{}-{}", vg.replace('-', "--"), lv.replace('-', "--")))
}

/// All volume groups of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lvm {
    groups: HashMap<String, VolumeGroup>,
    fault: Option<String>,
}

/// A volume group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its tags, without the `@` of command lines.
    pub tags: Vec<String>,
    /// Physical volumes that are not seen.
    pub missing: usize,
    /// Logical volumes that are shown to people, by name.
    pub volumes: Vec<LogicalVolume>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Name inside its group.
    pub name: String,
    /// The letters of lvs(8): kind, …, state at the fifth, `k` at the tenth.
    attr: String,
    /// Number of its block device while it is active.
    pub device: Option<(u64, u64)>,
}

impl LogicalVolume {
    fn letter(&self, place: usize) -> char {
        self.attr.chars().nth(place - 1).unwrap_or('-')
    }

    /// Its device is there, be it suspended or a snapshot that has overflowed.
    pub fn is_active(&self) -> bool {
        !matches!(self.letter(5), '-' | 'h' | 'X')
    }

    /// An activation of the whole group makes it active, and it is not: neither a snapshot, which comes and goes with its
    /// origin, nor one that is to be left out (`k`).
    pub fn is_left(&self) -> bool {
        !self.is_active() && self.letter(10) != 'k' && !matches!(self.letter(1), 's' | 'S')
    }
}

impl VolumeGroup {
    /// Something of it is active, or there is nothing in it that could be.
    pub fn is_up(&self) -> bool {
        self.volumes.is_empty() || self.is_active()
    }

    /// Something of it is active.
    pub fn is_active(&self) -> bool {
        self.volumes.iter().any(LogicalVolume::is_active)
    }

    /// The volumes that an activation would add.
    pub fn left(&self) -> Vec<&str> {
        self.volumes.iter().filter(|v| v.is_left()).map(|v| v.name.as_str()).collect()
    }
}

impl Lvm {
    /// The group `name`; `None`: there is no such group, or no LVM. The error is LVM's silence.
    pub fn group(&self, name: &str) -> Result<Option<&VolumeGroup>, String> {
        self.fault.as_ref().map_or_else(|| Ok(self.groups.get(name)), |why| Err(why.clone()))
    }

    /// The volume that `device` names, in either spelling, and its group.
    pub fn volume(&self, device: &str) -> Option<(&str, &LogicalVolume)> {
        let named = |vg: &str, lv: &str| {
            let path = format!("/dev/{vg}/{lv}");
            device == path || mapper_name(&path).is_some_and(|name| name == device)
        };
        let all = self.groups.iter().flat_map(|(vg, group)| group.volumes.iter().map(move |lv| (vg.as_str(), lv)));
        all.into_iter().find(|(vg, lv)| named(vg, &lv.name))
    }

    /// Asks LVM.
    pub fn read(runner: &dyn Runner) -> Self {
        Self::ask(runner).unwrap_or_else(|why| Self { fault: Some(why), ..Self::default() })
    }

    fn ask(runner: &dyn Runner) -> Result<Self, String> {
        let mut groups: HashMap<String, VolumeGroup> = HashMap::new();
        for row in report(runner, ["vgs", "--reportformat", "json", "-o", "vg_name,vg_tags,vg_missing_pv_count"])?.vg {
            let tags = row.vg_tags.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect();
            let missing = row.vg_missing_pv_count.parse().unwrap_or(0);
            groups.insert(row.vg_name, VolumeGroup { tags, missing, volumes: Vec::new() });
        }
        if groups.is_empty() {
            return Ok(Self::default());
        }
        for row in report(runner, ["lvs", "--reportformat", "json", "-o", "vg_name,lv_name,lv_attr,lv_kernel_major,lv_kernel_minor"])?.lv {
            let device = row.lv_kernel_major.parse().ok().zip(row.lv_kernel_minor.parse().ok()); // -1 while it is not active
            let volume = LogicalVolume { name: row.lv_name, attr: row.lv_attr, device };
            groups.entry(row.vg_name).or_default().volumes.push(volume);
        }
        Ok(Self { groups, fault: None })
    }
}

/// A logical volume or snapshot with its numbers: lvs(8), a column each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// Its group.
    pub vg_name: String,
    /// Its name.
    pub lv_name: String,
    /// What it is known by for ever.
    pub lv_uuid: String,
    /// Letters: kind, …, state at the fifth.
    pub lv_attr: String,
    /// Bytes.
    pub lv_size: String,
    /// Of a snapshot: the volume in the same group.
    pub origin: String,
    /// Of a snapshot: how full it is.
    pub data_percent: String,
}

impl Measured {
    /// `device` names it, in either spelling.
    pub fn is(&self, device: &str) -> bool {
        let path = format!("/dev/{}/{}", self.vg_name, self.lv_name);
        device == path || mapper_name(&path).is_some_and(|name| name == device)
    }

    /// All there are. A group that LVM complains of does not hide the others.
    pub fn all(runner: &dyn Runner) -> Result<Vec<Self>, String> {
        let columns = "vg_name,lv_name,lv_uuid,lv_attr,lv_size,origin,data_percent";
        let out = runner.run(&Cmd::probe(["lvs", "--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns]).timeout(PATIENCE));
        let read: Option<Report<Measures>> = serde_json::from_slice(&out.stdout).ok();
        let rows = read.map(|r| r.report.into_iter().flat_map(|r| r.lv).collect());
        rows.ok_or_else(|| out.failure().map_or_else(|| "its report cannot be read".to_owned(), crate::cmd::Stage::why))
    }
}

#[derive(Deserialize)]
struct Report<T> {
    report: Vec<T>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Measures {
    lv: Vec<Measured>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Rows {
    vg: Vec<Row>,
    lv: Vec<Row>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Row {
    vg_name: String,
    vg_tags: String,
    vg_missing_pv_count: String,
    lv_name: String,
    lv_attr: String,
    lv_kernel_major: String,
    lv_kernel_minor: String,
}

/// A machine without LVM has no groups. One group that LVM complains of does not hide the others: what counts is the report.
fn report(runner: &dyn Runner, argv: [&str; 5]) -> Result<Rows, String> {
    let out: Output = runner.run(&Cmd::probe(argv).timeout(PATIENCE));
    if out.stages.iter().any(|s| matches!(s.end, End::NotRun(_))) {
        return Ok(Rows::default());
    }
    let read: Option<Report<Rows>> = serde_json::from_slice(&out.stdout).ok();
    let rows = read.and_then(|r| r.report.into_iter().next());
    rows.ok_or_else(|| {
        let why = out.failure().map_or_else(|| "its report cannot be read".to_owned(), crate::cmd::Stage::why);
        format!("LVM does not say how its volume groups are: {why}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::replay::Replay;

    const VGS: &str = "vgs --reportformat json -o vg_name,vg_tags,vg_missing_pv_count";
    const LVS: &str = "lvs --reportformat json -o vg_name,lv_name,lv_attr,lv_kernel_major,lv_kernel_minor";

    #[test]
    fn device_mapper_names() {
        assert_eq!(mapper_name("/dev/vg-a/lv-b").as_deref(), Some("/dev/mapper/vg--a-lv--b"));
        assert_eq!(mapper_name("/dev/mapper/vg-lv"), None);
        assert_eq!(mapper_name("/dev/sda1"), None);
    }

    #[test]
    fn groups_tags_and_volumes() {
        let vgs = r#"{"report":[{"vg":[{"vg_name":"vg-a","vg_tags":"deb1,gold","vg_missing_pv_count":"1"},{"vg_name":"empty"}]}]}"#;
        let lvs = r#"{"report":[{"lv":[
            {"vg_name":"vg-a","lv_name":"root","lv_attr":"owi-aos---","lv_kernel_major":"254","lv_kernel_minor":"3"},
            {"vg_name":"vg-a","lv_name":"root_osvc_snap1","lv_attr":"swi-I-s---","lv_kernel_major":"254","lv_kernel_minor":"4"},
            {"vg_name":"vg-a","lv_name":"spare","lv_attr":"-wi-------","lv_kernel_major":"-1","lv_kernel_minor":"-1"},
            {"vg_name":"vg-a","lv_name":"thin_snap","lv_attr":"Vwi---tz-k","lv_kernel_major":"-1","lv_kernel_minor":"-1"}]}]}"#;
        let lvm = Lvm::read(&Replay::default().then(VGS, 0, vgs).then(LVS, 0, lvs));
        let group = lvm.group("vg-a").unwrap().unwrap();
        assert_eq!((group.tags.join(" ").as_str(), group.missing, group.is_up()), ("deb1 gold", 1, true));
        assert_eq!(group.left(), ["spare"]);
        assert_eq!((group.volumes[0].device, group.volumes[2].device), (Some((254, 3)), None));
        assert!(lvm.group("empty").unwrap().unwrap().is_up());
        let named = |device: &str| lvm.volume(device).map(|(vg, lv)| format!("{vg} {}", lv.name));
        assert_eq!(named("/dev/vg-a/root"), Some("vg-a root".into()));
        assert_eq!((named("/dev/mapper/vg--a-spare"), named("/dev/mapper/vg-a-spare")), (Some("vg-a spare".into()), None));
        assert_eq!(lvm.group("other"), Ok(None));
    }

    #[test]
    fn no_lvm_has_no_groups_and_a_silent_one_is_no_empty_one() {
        let none = Lvm::read(&Replay::default().missing(VGS));
        assert_eq!(none.group("vg1"), Ok(None));
        let silent = Lvm::read(&Replay::default().then_with(VGS, 5, "", "  /run/lock/lvm/V_vg1: locked\n"));
        assert!(silent.group("vg1").unwrap_err().starts_with("LVM does not say how its volume groups are: "));
        let other = Lvm::read(&Replay::default().then(VGS, 5, r#"{"report":[{"vg":[{"vg_name":"vg1"}]}]}"#).then(LVS, 0, "no json"));
        assert!(other.group("vg1").is_err());
    }
}
