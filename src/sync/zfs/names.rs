//! What the snapshots of a sync are called, and which peers may build on them.

use crate::config::scope::{Params, ServiceConfig};
use crate::rid::kind_of;

/// Names of 2014, with the rid before them when another sync has snapshots of the same datasets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn of(p: &Params) -> Self {
        let shared = ends(p).is_some_and(|own| others(p).iter().any(|other| own.iter().any(|o| other.iter().any(|t| overlap(o, t)))));
        Self { prefix: if shared { format!("{}.", p.section.replace('#', ".")) } else { String::new() } }
    }

    /// On its way.
    pub(super) fn tosend(&self) -> String {
        format!("{}tosend", self.prefix)
    }

    /// What a peer has confirmed.
    pub(super) fn sent(&self) -> String {
        format!("{}sent", self.prefix)
    }

    /// An older one that a peer may still have as its newest.
    pub(super) fn kept(&self, guid: &str) -> String {
        format!("{}sent.{guid}", self.prefix)
    }

    /// Made by this sync, or by the one of 2014.
    pub(super) fn are(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.prefix) else { return false };
        matches!(rest, "tosend" | "sent") || rest.strip_prefix("sent.").is_some_and(|g| g.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// Made by a sync, of this section or another, or by the one of 2014.
pub(super) fn of_a_sync(name: &str) -> bool {
    let plain = name.strip_prefix("sync.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, plain)| plain);
    Names::default().are(plain)
}

/// Source and target of a zfs sync.
fn ends(p: &Params) -> Option<[String; 2]> {
    let src = p.text("src")?;
    Some([src.to_owned(), p.text("dst").unwrap_or(src).to_owned()])
}

/// The zfs syncs of the service.
pub(super) fn syncs(config: &ServiceConfig) -> Vec<String> {
    let sections = config.env.sections().filter(|s| kind_of(&s.name) == Some("sync"));
    sections.filter(|s| config.text(&s.name, "type") == Some("zfs")).map(|s| s.name.clone()).collect()
}

/// What the fs sections mount where, on this node.
pub(super) fn mounts(config: &ServiceConfig) -> Vec<(String, String)> {
    let sections = config.env.sections().filter(|s| kind_of(&s.name) == Some("fs") && config.text(&s.name, "type") == Some("zfs"));
    let pair = |name: &str| Some((config.text(name, "mnt")?.trim_end_matches('/').to_owned(), config.text(name, "dev")?.to_owned()));
    sections.filter_map(|s| pair(&s.name)).collect()
}

/// Those of the others, as the same node resolves them.
fn others(p: &Params) -> Vec<[String; 2]> {
    let names = syncs(p.config);
    names.iter().filter(|name| *name != p.section).filter_map(|name| ends(&p.config.section(name))).collect()
}

/// One is the other, or below it.
fn overlap(a: &str, b: &str) -> bool {
    let below = |of: &str, top: &str| of.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below(a, b) || below(b, a)
}

/// The copies of which a snapshot may be the newest, as its mark says; of one without a mark, of 2014, any. One that is
/// not among `all` any more is none.
pub(super) fn peers(mark: Option<&str>, all: &[String]) -> Vec<String> {
    match mark.and_then(|m| m.strip_prefix("peers:")) {
        Some(names) => all.iter().filter(|copy| names.split_whitespace().any(|name| name == *copy)).cloned().collect(),
        None => all.to_vec(),
    }
}

/// The mark that says so.
pub(super) fn marked(peers: &[String]) -> String {
    format!("peers: {}", peers.join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours() {
        let plain = Names::default();
        assert!(plain.are("tosend") && plain.are("sent") && plain.are("sent.123") && !plain.are("sent.x") && !plain.are("monday"));
        let own = Names { prefix: "sync.2.".into() };
        assert!(own.are(&own.tosend()) && own.are(&own.kept("7")) && !own.are("sent") && !own.are("sync.1.sent"));
        assert!(
            ["sent", "sync.1.tosend", "sync.2.sent.7"].iter().all(|n| of_a_sync(n)) && !of_a_sync("sync.1.monday") && !of_a_sync("nightly")
        );
    }

    #[test]
    fn datasets_that_overlap() {
        assert!(overlap("p/d", "p/d") && overlap("p/d/x", "p/d") && overlap("p", "p/d") && !overlap("p/d", "p/data"));
    }

    #[test]
    fn marks() {
        let all = ["n2".to_owned(), "n3".to_owned()];
        assert_eq!(peers(None, &all), all);
        assert_eq!(peers(Some(&marked(&all[1..])), &all), &all[1..]);
        assert_eq!(peers(Some(&marked(&[])), &all), Vec::<String>::new());
        assert_eq!(peers(Some("peers: n1 n3"), &all), &all[1..], "n1 is none any more");
    }
}
