//! The addresses that a private docker daemon gives to its containers. All daemons of a node have the bridge docker0 in
//! common, and each believes that the whole of its network is its own: two of them give the same address away.

use std::net::Ipv4Addr;
use std::path::Path;

/// What says how the daemon is to do it: nothing is added to that.
const OWN: [&str; 5] = ["--fixed-cidr", "--bip", "--bridge", "-b", "--config-file"];
/// The same in the file that all daemons of a node read.
const FILE: &str = "/etc/docker/daemon.json";

/// The daemon's words, or the node's file, say which bridge or which addresses.
pub fn is_said(args: &[String]) -> bool {
    let said = |arg: &String| OWN.iter().any(|own| arg == own || arg.strip_prefix(own).is_some_and(|rest| rest.starts_with('=')));
    args.iter().any(said) || in_file(Path::new(FILE))
}

fn in_file(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    // what cannot be read here is the daemon's to complain of
    let said: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    ["fixed-cidr", "bip", "bridge"].iter().any(|key| said.get(key).is_some())
}

/// A part of the bridge's network for the daemon of `service`, 254 addresses: `172.17.42.0/24`. Its own as far as the
/// parts `taken` by others allow, and the same each time. The first part is left to a daemon without one. `None`: the
/// network is too small.
pub fn of(service: &str, (bridge, prefix): (Ipv4Addr, u8), taken: &[String]) -> Option<String> {
    let parts = 1_u32.checked_shl(24_u32.checked_sub(u32::from(prefix))?)?;
    let network = bridge.to_bits() & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    // FNV-1a, 32 bits: only that names are spread
    let hash = service.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let usable = parts.checked_sub(1).filter(|n| *n > 0)?;
    let part = |n: u32| format!("{}/24", Ipv4Addr::from_bits(network + ((1 + n % usable) << 8)));
    (0..usable).map(|step| part((hash % usable) + step)).find(|part| !taken.contains(part))
}

/// The parts that the daemons have whose words are `all`.
pub fn taken<'a>(all: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    let value = |argv: &'a [String]| {
        let at = argv.iter().position(|w| w.starts_with("--fixed-cidr"))?;
        let word = argv.get(at)?;
        word.strip_prefix("--fixed-cidr=").map(str::to_owned).or_else(|| argv.get(at + 1).cloned())
    };
    all.filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_daemon_has_a_part_of_its_own() {
        let docker0 = (Ipv4Addr::new(172, 17, 0, 1), 16);
        let first = of("svc1", docker0, &[]).unwrap();
        assert_eq!(of("svc1", docker0, &[]), Some(first.clone()), "the same each time");
        assert_ne!(of("svc2", docker0, &[]), Some(first.clone()));
        let second = of("svc1", docker0, std::slice::from_ref(&first)).unwrap();
        assert!(second != first && second.starts_with("172.17.") && second.ends_with(".0/24"), "{second}");
        // the first part is nobody's, and there is an end
        let mut all: Vec<String> = Vec::new();
        while let Some(part) = of("svc1", docker0, &all) {
            all.push(part);
        }
        assert_eq!((all.len(), all.contains(&"172.17.0.0/24".to_owned())), (255, false));
        assert_eq!(of("svc1", (Ipv4Addr::new(192, 168, 5, 1), 24), &[]), None);
        assert_eq!(of("svc1", (Ipv4Addr::new(10, 0, 2, 1), 23), &[]).as_deref(), Some("10.0.3.0/24"));
        assert!(of("svc1", (Ipv4Addr::new(10, 0, 2, 1), 0), &[]).is_some());
    }

    #[test]
    fn what_is_said_is_left_as_it_is() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_said(&words("--ip 37.59.71.25 --bip=10.1.0.1/24")) && is_said(&words("-b br0")) && !is_said(&words("--ip 37.59.71.25")));
        assert_eq!(
            taken(
                [words("dockerd --fixed-cidr=10.0.3.0/24"), words("dockerd --fixed-cidr 10.0.4.0/24"), words("dockerd")]
                    .iter()
                    .map(Vec::as_slice)
            ),
            ["10.0.3.0/24", "10.0.4.0/24"]
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("daemon.json");
        for (text, said) in [("{\"bip\": \"10.1.0.1/24\"}", true), ("{\"debug\": true}", false), ("no", false)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(in_file(&file), said, "{text}");
        }
    }
}
