//! blkid(8) as drivers see it: the filesystems that have a label, each with its devices.

use super::Cx;
use crate::cmd::Cmd;
use std::time::Duration;

/// How long blkid may take: it looks at every disk.
const LOOK: Duration = Duration::from_secs(20);

/// A filesystem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelled {
    /// What it is, whatever it is called.
    pub uuid: String,
    /// As for mount -t.
    pub fstype: String,
    /// More than one: of a volume it is the names, of a btrfs the disks.
    pub devices: Vec<String>,
}

/// All filesystems of this node with this label, asked of the disks: the cache of blkid goes on naming what was there
/// before. What holds one, encrypted or in a volume group, is none itself.
pub fn labelled(cx: &Cx, label: &str) -> Vec<Labelled> {
    let out = cx.probe(&Cmd::probe(["blkid", "-c", "/dev/null", "-o", "export", "-t", &format!("LABEL={label}")]).timeout(LOOK));
    parse(&out.text())
}

/// The device that has it: `flag` is `-L`, of a label, or `-U`, of a UUID.
pub fn device(cx: &Cx, flag: &str, value: &str) -> Option<String> {
    let out = cx.probe(&Cmd::probe(["blkid", "-c", "/dev/null", flag, value]).timeout(LOOK));
    Some(out.text().trim().to_owned()).filter(|d| out.ok() && !d.is_empty())
}

fn parse(text: &str) -> Vec<Labelled> {
    let mut found: Vec<Labelled> = Vec::new();
    for block in text.split("\n\n") {
        let get = |key: &str| block.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        let (Some(device), Some(uuid), Some(fstype)) = (get("DEVNAME"), get("UUID"), get("TYPE")) else { continue };
        if matches!(fstype, "crypto_LUKS" | "swap") || fstype.ends_with("_member") {
            continue;
        }
        match found.iter_mut().find(|f| f.uuid == uuid) {
            Some(known) => known.devices.push(device.to_owned()),
            None => found.push(Labelled { uuid: uuid.into(), fstype: fstype.into(), devices: vec![device.into()] }),
        }
    }
    found.sort_by(|a, b| a.uuid.cmp(&b.uuid));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filesystems_with_a_label() {
        let block = |dev: &str, uuid: &str, ty: &str| format!("DEVNAME={dev}\nLABEL=a b\nUUID={uuid}\nUUID_SUB=x\nTYPE={ty}\n");
        let text = [
            block("/dev/sda", "1", "btrfs"),
            block("/dev/sdb", "1", "btrfs"),
            block("/dev/sdc", "2", "ext4"),
            block("/dev/sdd", "3", "crypto_LUKS"),
            block("/dev/sde", "4", "linux_raid_member"),
        ]
        .join("\n");
        let seen: Vec<String> = parse(&text).iter().map(|f| format!("{} {} {}", f.uuid, f.fstype, f.devices.join(","))).collect();
        assert_eq!(seen, ["1 btrfs /dev/sda,/dev/sdb", "2 ext4 /dev/sdc"]);
        assert_eq!(parse(""), []);
    }
}
