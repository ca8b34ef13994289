//! What the subvolumes of a sync are called: places in the service file, snapshots beside them.

use crate::config::scope::Params;
use crate::rid::kind_of;
use crate::sync::common;

/// A subvolume of the filesystem that has a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) label: String,
    /// From the top of the filesystem.
    pub(super) subvol: String,
}

impl Place {
    fn parse(word: &str) -> Option<Self> {
        let (label, subvol) = word.split_once(':')?;
        let subvol = subvol.trim_matches('/');
        let sound = !label.is_empty()
            && !label.contains('/')
            && !matches!(label, "." | "..")
            && subvol.split('/').all(|part| !matches!(part, "" | "." | ".."));
        sound.then(|| Self { label: label.into(), subvol: subvol.into() })
    }

    /// As 2014 put its snapshots beside each other, at the top of the filesystem.
    pub(super) fn flat(&self) -> String {
        self.subvol.replace('/', "_")
    }

    /// One is the other, or in it; or their snapshots have the same names.
    fn clashes(&self, other: &Self) -> bool {
        self.overlaps(other) || (self.label == other.label && self.flat() == other.flat())
    }

    /// One is the other, or in it.
    fn overlaps(&self, other: &Self) -> bool {
        let below = |of: &str, top: &str| of.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.label == other.label && (below(&self.subvol, &other.subvol) || below(&other.subvol, &self.subvol))
    }
}

/// Of `LABEL:SUBVOL LABEL:SUBVOL`, all different. `key` is where it stands.
pub(super) fn places(p: &Params, key: &str, text: &str) -> Result<Vec<Place>, String> {
    let malformed = || format!("malformed {key} value in section {}: {text} (LABEL:SUBVOLUME)", p.section);
    let places: Vec<Place> = text.split_whitespace().map(Place::parse).collect::<Option<_>>().ok_or_else(malformed)?;
    let twice = places.iter().enumerate().find(|(i, one)| places.iter().take(*i).any(|other| one.clashes(other)));
    match twice {
        Some((_, place)) => Err(format!("{key} of section {} names {}:{} twice, or a part of it", p.section, place.label, place.subvol)),
        None if places.is_empty() => Err(malformed()),
        None => Ok(places),
    }
}

/// Names of 2014, with the rid before them when another sync has snapshots of the same subvolumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    prefix: String,
    /// What it is when the other sync comes, or goes.
    other: String,
}

impl Names {
    pub(super) fn of(p: &Params) -> Self {
        let own = ends(p);
        let shared = others(p).iter().any(|other| own.iter().any(|o| o.clashes(other)));
        let (own, none) = (format!("{}.", p.section.replace('#', ".")), String::new());
        if shared { Self { prefix: own, other: none } } else { Self { prefix: none, other: own } }
    }

    /// On its way.
    pub(super) fn tosend(&self, flat: &str) -> String {
        format!("{flat}@{}tosend", self.prefix)
    }

    /// What a peer has confirmed.
    pub(super) fn sent(&self, flat: &str) -> String {
        format!("{flat}@{}sent", self.prefix)
    }

    /// An older one that a peer may still have as its newest.
    pub(super) fn kept(&self, flat: &str, image: &str) -> String {
        format!("{flat}@{}sent.{image}", self.prefix)
    }

    /// The path is that of a snapshot of this sync, or of the one of 2014.
    pub(super) fn are(&self, flat: &str, path: &str) -> bool {
        Self::begin(&self.prefix, flat, path)
    }

    /// It was, before another sync of the same subvolume was added or taken away.
    pub(super) fn were(&self, flat: &str, path: &str) -> bool {
        Self::begin(&self.other, flat, path)
    }

    fn begin(prefix: &str, flat: &str, path: &str) -> bool {
        let rest = path.strip_prefix(flat).and_then(|r| r.strip_prefix('@')).and_then(|r| r.strip_prefix(prefix));
        rest.is_some_and(|rest| matches!(rest, "tosend" | "sent") || rest.strip_prefix("sent.").is_some_and(is_uuid))
    }
}

/// As btrfs(8) prints one; a date is none.
fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36 && text.bytes().enumerate().all(|(at, b)| if dash(at) { b == b'-' } else { b.is_ascii_hexdigit() })
}

/// Source and target of a btrfs sync.
fn ends(p: &Params) -> Vec<Place> {
    let words = |key: &str| p.text(key).unwrap_or_default().split_whitespace().filter_map(Place::parse).collect::<Vec<_>>();
    [words("src"), words("dst")].concat()
}

/// Those of the other btrfs syncs of the service, as the same node resolves them.
fn others(p: &Params) -> Vec<Place> {
    syncs(p).filter(|other| other.section != p.section).flat_map(|other| ends(&other)).collect()
}

/// The btrfs syncs of the service, in file order.
fn syncs<'a>(p: &Params<'a>) -> impl Iterator<Item = Params<'a>> {
    let config = p.config;
    let sections = config.env.sections().filter(|s| kind_of(&s.name) == Some("sync"));
    sections.filter(|s| config.text(&s.name, "type") == Some("btrfs")).map(|s| config.section(&s.name))
}

/// The error: an earlier section has a copy in the same place on the same nodes, and each would replace the other's.
pub(super) fn no_rival(p: &Params) -> Result<(), String> {
    let dst = |p: &Params| {
        let text = p.text("dst").or(p.text("src")).unwrap_or_default();
        text.split_whitespace().filter_map(Place::parse).collect::<Vec<_>>()
    };
    let (own, targets) = (dst(p), common::targets(p));
    let rivals = syncs(p).take_while(|other| other.section != p.section);
    let same = |other: &Params| dst(other).into_iter().find(|d| own.iter().any(|o| o.overlaps(d)));
    let rivals = rivals.filter(|other| common::targets(other).iter().any(|class| targets.contains(class)));
    rivals.filter_map(|other| Some((other.section, same(&other)?))).next().map_or(Ok(()), |(other, place)| {
        Err(format!(
            "{} and {other} both have their copy in {}:{}: each would replace the other's. give {} another dst",
            p.section, place.label, place.subvol, p.section
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::EnvFile;
    use crate::config::scope::ServiceConfig;
    use std::sync::Arc;

    #[test]
    fn places_are_a_label_and_a_path() {
        let place = Place::parse("svc1:a/b/").unwrap();
        assert_eq!((place.label.as_str(), place.flat().as_str()), ("svc1", "a_b"));
        for wrong in ["svc1", "svc1:", "svc1:/", ":a", "a/b:c", "svc1:a/../b", "svc1:a//b", "..:a"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
        let of = |word: &str| Place::parse(word).unwrap();
        assert!(of("s:a").overlaps(&of("s:a/b")) && !of("s:a").overlaps(&of("s:ab")) && !of("s:a").overlaps(&of("t:a")));
    }

    #[test]
    fn two_syncs_do_not_have_one_copy() {
        let of = |second: &str| {
            let text = format!(
                "[DEFAULT]\nnodes = n1 n2\ndrpnodes = n3\n[sync#1]\ntype = btrfs\nsrc = s:a\ntarget = drpnodes\n[sync#2]\ntype = btrfs\n{second}\n"
            );
            let config = ServiceConfig::new(Arc::new(EnvFile::parse("svc1.env".as_ref(), text).unwrap()), "n1");
            [no_rival(&config.section("sync#1")), no_rival(&config.section("sync#2"))]
        };
        let words = "sync#2 and sync#1 both have their copy in s:a: each would replace the other's. give sync#2 another dst";
        assert_eq!(of("src = s:b\ndst = s:a\ntarget = nodes drpnodes"), [Ok(()), Err(words.into())]);
        assert_eq!(of("src = s:b\ndst = s:a/in\ntarget = drpnodes"), [Ok(()), Err(words.into())]);
        for fine in ["src = s:a\ntarget = nodes", "src = s:a\ndst = s:c\ntarget = drpnodes", "src = s:b\ndst = t:a\ntarget = drpnodes"] {
            assert_eq!(of(fine), [Ok(()), Ok(())], "{fine}");
        }
    }

    #[test]
    fn what_is_ours() {
        let plain = Names::default();
        let uuid = "06485d34-51a2-284d-88b6-8e8efb0367d1";
        assert!(plain.are("d", "d@tosend") && plain.are("d", "d@sent") && plain.are("d", &plain.kept("d", uuid)));
        for other in ["d@monday", "e@sent", "d@sent.x", "d@sent.2026-11-21", "d@sent.0a", "d@sent."] {
            assert!(!plain.are("d", other), "{other}");
        }
        let own = Names { prefix: "sync.2.".into(), other: String::new() };
        assert!(own.were("d", "d@sent") && !own.were("d", "d@sync.2.sent") && !own.were("d", "d@sync.1.sent"));
        assert!(own.are("d", &own.tosend("d")) && own.are("d", &own.kept("d", uuid)) && !own.are("d", "d@sent"));
    }
}
