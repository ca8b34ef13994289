//! Nodes that have the same disks: which of them receives.

use crate::authority::copies::{Copies, is_flex};
use crate::config::scope::Params;
use crate::rid::kind_of;

/// Two nodes that mount one filesystem destroy it: of those that share a copy only one receives. None: each has its own.
pub(super) fn receiver(p: &Params, copies: &Copies) -> Option<String> {
    let scope = &p.config.scope;
    let nodes = &copies.of_node(&scope.node).filter(|copy| copy.nodes.len() > 1 && !is_flex(p.config))?.nodes;
    let home = p.config.home();
    // where it is mounted all the time nobody else may mount it
    let always = |node: &&String| {
        let site = if scope.nodes.contains(node) { "nodes" } else { "drpnodes" };
        let fs = p.config.env.sections().filter(|s| kind_of(&s.name) == Some("fs"));
        let mut words = fs.filter_map(|s| p.config.plain(&s.name, "always_on")).flat_map(str::split_whitespace);
        words.any(|w| w == site || w.eq_ignore_ascii_case(node))
    };
    nodes.iter().find(always).or_else(|| nodes.iter().find(|n| **n == home)).or(nodes.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::EnvFile;
    use crate::config::scope::ServiceConfig;
    use std::sync::Arc;

    #[test]
    fn of_nodes_with_the_same_disks_one_receives() {
        let of = |more: &str| {
            let text = format!("[DEFAULT]\nnodes = n1 n2\ndrpnodes = n3\n{more}\n[sync#1]\ntype = btrfs\nsrc = s:d\ntarget = drpnodes\n");
            let config = ServiceConfig::new(Arc::new(EnvFile::parse("svc1.env".as_ref(), text).unwrap()), "n2");
            receiver(&config.section("sync#1"), &Copies::of(&config))
        };
        assert_eq!(of("").as_deref(), Some("n1"));
        assert_eq!(of("autostart_node = n2\n").as_deref(), Some("n2"));
        assert_eq!(of("autostart_node = n1\n[fs#1]\nalways_on = N2\n").as_deref(), Some("n2"));
        assert_eq!(of("copies = node\n"), None);
        assert_eq!(of("cluster_type = flex\n"), None);
    }
}
