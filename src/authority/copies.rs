//! The copies of a service's data: which nodes share one, and which copy is at home.

use crate::config::scope::ServiceConfig;
use crate::rid::kind_of;
use std::collections::BTreeMap;

/// Data that exist once: on disks that several nodes share, or on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// A node's name, or `nodes`, `drpnodes` when the nodes of a site share the data.
    pub name: String,
    /// Who has it.
    pub nodes: Vec<String>,
}

/// All copies of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// Primary site first.
    pub list: Vec<Copy>,
    /// Where the service is at home: `autostart_node`, else the first of `nodes`.
    home: usize,
    /// Replications that carry data from copy to copy.
    pub rids: Vec<String>,
    /// The names of the copies that each of them is sent to.
    reach: BTreeMap<String, Vec<String>>,
}

/// Types of replications that make a copy of each target node.
const PER_NODE: [&str; 3] = ["dds", "zfs", "btrfs"];

impl Copies {
    /// From a service file. Every node derives the same: only unscoped spellings count.
    pub fn of(config: &ServiceConfig) -> Self {
        let scope = &config.scope;
        let flex = is_flex(config);
        let per_node = |site: &str| match config.plain("DEFAULT", "copies").unwrap_or_default() {
            _ if flex => false,
            "node" => true,
            "site" => false,
            _ => data_syncs(config).any(|(_, ty, target)| {
                has(&target, site) && (PER_NODE.contains(&ty.as_str()) || (site == "drpnodes" && matches!(ty.as_str(), "" | "rsync")))
            }),
        };
        let mut list = Vec::new();
        let drpnodes: Vec<String> = scope.drpnodes.iter().filter(|n| !scope.nodes.contains(n)).cloned().collect();
        for (site, nodes) in [("nodes", scope.nodes.clone()), ("drpnodes", drpnodes)] {
            if nodes.is_empty() {
                continue;
            }
            if per_node(site) {
                list.extend(nodes.into_iter().map(|node| Copy { name: node.clone(), nodes: vec![node] }));
            } else {
                list.push(Copy { name: site.into(), nodes });
            }
        }
        let autostart = config.plain("DEFAULT", "autostart_node").unwrap_or_default().to_lowercase();
        let at = |node: &str| list.iter().position(|c| c.nodes.iter().any(|n| n == node));
        let home = autostart.split_whitespace().find_map(at).unwrap_or(0);
        let mut copies = Self { list, home, rids: Vec::new(), reach: BTreeMap::new() };
        copies.rids = data_syncs(config).filter(|(_, _, target)| copies.crosses(config, target)).map(|(rid, ..)| rid).collect();
        for (rid, _, target) in data_syncs(config) {
            let site = |name: &str, nodes: &[String]| if has(&target, name) { nodes.to_vec() } else { Vec::new() };
            let nodes = site("nodes", &scope.nodes).into_iter().chain(site("drpnodes", &scope.drpnodes));
            let names = nodes.filter_map(|n| copies.of_node(&n).map(|c| c.name.clone())).collect();
            copies.reach.insert(rid, names);
        }
        copies
    }

    /// `rid` brings data to the copy of `node`, or starts there: home has all of them.
    pub fn reaches(&self, rid: &str, node: &str) -> bool {
        let Some(copy) = self.of_node(node) else { return false };
        Some(copy) == self.home() || self.reach.get(rid).is_some_and(|names| names.contains(&copy.name))
    }

    /// Something is sent from one copy to another. Without, there is no authority to speak of.
    pub fn replicated(&self) -> bool {
        self.list.len() > 1 && !self.rids.is_empty()
    }

    /// The copy that `node` has.
    pub fn of_node(&self, node: &str) -> Option<&Copy> {
        self.list.iter().find(|c| c.nodes.iter().any(|n| n == node))
    }

    /// What is sent to `peer` is sent to this copy.
    pub fn name_of<'a>(&'a self, peer: &'a str) -> &'a str {
        self.of_node(peer).map_or(peer, |copy| copy.name.as_str())
    }

    /// The names of the copies but the one of `node` that `rid` brings data to.
    pub fn others(&self, rid: &str, node: &str) -> Vec<String> {
        let (own, home) = (self.of_node(node), self.home());
        let reached = |copy: &Copy| Some(copy) == home || self.reach.get(rid).is_some_and(|names| names.contains(&copy.name));
        self.list.iter().filter(|copy| Some(*copy) != own && reached(copy)).map(|copy| copy.name.clone()).collect()
    }

    /// The copy called `name`; else the one of `node`, as names change when a service file does.
    pub fn named(&self, name: &str, node: &str) -> Option<&Copy> {
        self.list.iter().find(|c| c.name == name).or_else(|| self.of_node(node))
    }

    /// The copy at home. None in a file without nodes.
    pub fn home(&self) -> Option<&Copy> {
        self.list.get(self.home)
    }

    /// All nodes, in the order in which a takeover asks for their promises: the same on every node.
    pub fn nodes(&self) -> impl Iterator<Item = &String> {
        self.list.iter().flat_map(|c| &c.nodes)
    }

    fn crosses(&self, config: &ServiceConfig, target: &str) -> bool {
        let scope = &config.scope;
        let of = |nodes: &[String]| nodes.iter().filter_map(|n| self.of_node(n).map(|c| c.name.clone())).collect::<Vec<_>>();
        let (home, away) = (of(&scope.nodes), of(&scope.drpnodes));
        (has(target, "drpnodes") && away.iter().any(|c| !home.contains(c)))
            || (has(target, "nodes") && home.iter().any(|c| Some(c) != home.first()))
    }
}

/// flex or autoflex: each node has an instance of its own.
pub fn is_flex(config: &ServiceConfig) -> bool {
    match config.plain("DEFAULT", "cluster_type").unwrap_or_default() {
        "" => !config.scope.flex_primary.is_empty(),
        ty => matches!(ty, "flex" | "autoflex"),
    }
}

fn has(target: &str, site: &str) -> bool {
    target.split_whitespace().any(|w| w == site)
}

/// The replications of data in the file: rid, type, target. Images of docker and the service's own files are none.
fn data_syncs(config: &ServiceConfig) -> impl Iterator<Item = (String, String, String)> {
    let sections = config.env.sections().filter(|s| kind_of(&s.name) == Some("sync") && !s.name.to_lowercase().starts_with("sync#i"));
    let value = |section: &str, key: &str| {
        let plain = config.plain(section, key).filter(|v| !v.is_empty());
        plain.or_else(|| config.text(section, key)).unwrap_or_default().to_owned()
    };
    sections
        .map(move |s| (s.name.clone(), value(&s.name, "type"), value(&s.name, "target")))
        .filter(|(_, ty, _)| ty.is_empty() || ty == "rsync" || PER_NODE.contains(&ty.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::EnvFile;
    use std::sync::Arc;

    fn copies(text: &str) -> Copies {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("svc1.env");
        std::fs::write(&path, text).unwrap();
        Copies::of(&ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), "n2"))
    }

    fn spoken(text: &str) -> String {
        let copies = copies(text);
        let list: Vec<String> = copies.list.iter().map(|c| format!("{}={}", c.name, c.nodes.join("+"))).collect();
        format!("{} home {} {}", list.join(" "), copies.home().unwrap().name, copies.rids.join(","))
    }

    #[test]
    fn derived_from_what_is_sent_where() {
        let sync = |ty: &str, target: &str| format!("[sync#1]\ntype = {ty}\nsrc = /d\ndst = /d\ntarget = {target}\n");
        let sites = "[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1 d2\n";
        let of = |more: &str| spoken(&format!("{sites}{more}"));
        assert_eq!(of(""), "nodes=n1+n2 drpnodes=d1+d2 home nodes ");
        assert_eq!(of(&sync("rsync", "drpnodes")), "nodes=n1+n2 d1=d1 d2=d2 home nodes sync#1");
        assert_eq!(of(&sync("docker", "drpnodes")), "nodes=n1+n2 drpnodes=d1+d2 home nodes ");
        assert_eq!(of(&sync("rsync", "nodes")), "nodes=n1+n2 drpnodes=d1+d2 home nodes ", "a shared disk and some files beside");
        assert_eq!(of(&sync("zfs", "nodes drpnodes")), "n1=n1 n2=n2 d1=d1 d2=d2 home n1 sync#1");
        assert_eq!(of(&format!("autostart_node = N2\n{}", sync("zfs", "nodes"))), "n1=n1 n2=n2 drpnodes=d1+d2 home n2 sync#1");
        assert_eq!(
            of(&format!("cluster_type = flex\n{}", sync("rsync", "nodes drpnodes"))),
            "nodes=n1+n2 drpnodes=d1+d2 home nodes sync#1"
        );
        assert_eq!(of(&format!("copies = site\n{}", sync("dds", "drpnodes"))), "nodes=n1+n2 drpnodes=d1+d2 home nodes sync#1");
        assert_eq!(of(&format!("copies = node\n{}", sync("rsync", "nodes"))), "n1=n1 n2=n2 d1=d1 d2=d2 home n1 sync#1");
        let two =
            copies(&format!("{sites}copies = node\n{}{}", sync("rsync", "nodes"), sync("rsync", "drpnodes").replace("sync#1", "sync#2")));
        let reached = |rid: &str| two.nodes().filter(|n| two.reaches(rid, n)).cloned().collect::<Vec<_>>().join(" ");
        assert_eq!((reached("sync#1"), reached("sync#2")), ("n1 n2".into(), "n1 d1 d2".into()));
        assert_eq!((two.others("sync#2", "d1").join(" "), two.others("sync#1", "n1").join(" ")), ("n1 d2".into(), "n2".into()));
        assert!(!copies(&format!("{sites}{}", sync("rsync", "nodes"))).replicated());
        assert!(copies(&format!("{sites}{}", sync("rsync", "drpnodes"))).replicated());
    }
}
