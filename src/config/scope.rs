//! A service file as one node sees it: scoped keys resolved, values typed.

use super::env::{Entry, EnvFile};
use super::value;
use std::collections::HashSet;
use std::sync::Arc;

/// Who a node is to a service: decides which `key@scope` applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The node, lower case.
    pub node: String,
    /// Primary-site nodes, lower case, in file order.
    pub nodes: Vec<String>,
    /// Recovery-site nodes, lower case, in file order.
    pub drpnodes: Vec<String>,
    /// Guests of the encapsulated part.
    pub encapnodes: Vec<String>,
    /// The flex node that sends syncs.
    pub flex_primary: String,
    /// The same on the recovery site.
    pub drp_flex_primary: String,
}

impl Scope {
    /// The spellings of `key` in the order in which this node looks them up: host, nodes, drpnodes,
    /// encapnodes, flex_primary, drp_flex_primary, plain.
    fn spellings(&self, key: &str) -> impl Iterator<Item = String> {
        let member = |list: &[String]| list.iter().any(|n| n.eq_ignore_ascii_case(&self.node));
        let words = [
            (true, self.node.as_str()),
            (member(&self.nodes), "nodes"),
            (member(&self.drpnodes), "drpnodes"),
            (member(&self.encapnodes), "encapnodes"),
            (self.flex_primary == self.node && !self.node.is_empty(), "flex_primary"),
            (self.drp_flex_primary == self.node && !self.node.is_empty(), "drp_flex_primary"),
        ];
        let scoped: Vec<String> = words.into_iter().filter(|(on, _)| *on).map(|(_, w)| format!("{key}@{w}")).collect();
        scoped.into_iter().chain([key.to_owned()])
    }

    /// All node names of the service, primary site first.
    pub fn everyone(&self) -> impl Iterator<Item = &String> {
        self.nodes.iter().chain(self.drpnodes.iter().filter(|n| !self.nodes.contains(n)))
    }

    /// The other nodes of the service, primary site first.
    pub fn peers(&self) -> impl Iterator<Item = &String> {
        self.everyone().filter(|n| **n != self.node)
    }

    /// This node is in `words`: names (compared as written), `nodes`, `drpnodes`.
    pub fn is_in(&self, words: &str) -> bool {
        words.split_whitespace().any(|word| match word {
            "nodes" => self.nodes.contains(&self.node),
            "drpnodes" => self.drpnodes.contains(&self.node),
            name => name == self.node,
        })
    }

    /// This node is on the recovery site (and not on the primary one).
    pub fn is_drp(&self) -> bool {
        self.drpnodes.contains(&self.node) && !self.nodes.contains(&self.node)
    }
}

/// A service file seen from one node.
#[derive(Clone)]
pub struct ServiceConfig {
    /// The file.
    pub env: Arc<EnvFile>,
    /// Who looks.
    pub scope: Scope,
    /// Keys the file spells with a scope somewhere: most keys it does not, and they need one look-up only.
    scoped: Arc<HashSet<String>>,
}

impl ServiceConfig {
    /// Reads nodes and drpnodes, then resolves everything else as `node` (lower case) sees it.
    pub fn new(env: Arc<EnvFile>, node: &str) -> Self {
        let keys = env.sections().chain([env.defaults()]).flat_map(|s| &s.entries);
        let scoped: HashSet<String> = keys.filter_map(|e| e.key.split_once('@')).map(|(bare, _)| bare.to_owned()).collect();
        let scope = Scope { node: node.into(), ..Scope::default() };
        let mut this = Self { env, scope, scoped: Arc::new(scoped) };
        // nodes and drpnodes define the scopes, so only their host-scoped and plain spellings count
        this.scope.nodes = this.names("nodes");
        let mut drpnodes = this.names("drpnodes");
        for name in this.names("drpnode") {
            if !drpnodes.contains(&name) {
                drpnodes.push(name);
            }
        }
        this.scope.drpnodes = drpnodes;
        this.scope.encapnodes = this.names("encapnodes");
        let flex = |key| this.text("DEFAULT", key).unwrap_or_default().to_lowercase();
        let (primary, drp_primary) = (flex("flex_primary"), flex("drp_flex_primary"));
        this.scope.flex_primary = primary;
        this.scope.drp_flex_primary = drp_primary;
        this
    }

    fn names(&self, key: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.text("DEFAULT", key).unwrap_or_default().split_whitespace().map(str::to_lowercase) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The same file as another node sees it.
    #[must_use]
    pub fn impersonate(&self, node: &str) -> Self {
        Self::new(self.env.clone(), node)
    }

    /// The entry that counts for `key` in `section` on this node. Each spelling is looked up in the
    /// section, then in DEFAULT, before the next one: a scoped key in DEFAULT beats a plain key in the section.
    pub fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        if !self.scoped.contains(key) {
            return self.env.lookup(section, key);
        }
        self.scope.spellings(key).find_map(|spelling| self.env.lookup(section, &spelling))
    }

    /// Its value.
    pub fn text(&self, section: &str, key: &str) -> Option<&str> {
        self.entry(section, key).map(|e| e.value.as_str())
    }

    /// The value of the unscoped spelling, DEFAULT inherited.
    pub fn plain(&self, section: &str, key: &str) -> Option<&str> {
        self.env.lookup(section, key).map(|e| e.value.as_str())
    }

    /// The node whose reading of a section is that of all of its site: `autostart_node`, else the first of `nodes`.
    pub fn home(&self) -> String {
        let nodes = &self.scope.nodes;
        let autostart = self.plain("DEFAULT", "autostart_node").unwrap_or_default().to_lowercase();
        let named = autostart.split_whitespace().find(|n| nodes.iter().any(|node| node == n)).map(str::to_owned);
        named.or_else(|| nodes.first().cloned()).unwrap_or_else(|| self.scope.node.clone())
    }

    /// A view of one section.
    pub fn section<'a>(&'a self, section: &'a str) -> Params<'a> {
        Params { config: self, section }
    }
}

/// One section as this node sees it: what a driver is built from.
#[derive(Clone, Copy)]
pub struct Params<'a> {
    /// The whole file.
    pub config: &'a ServiceConfig,
    /// The section's name: the rid.
    pub section: &'a str,
}

impl<'a> Params<'a> {
    /// The value of `key`; `None` when absent or empty.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.config.text(self.section, key).filter(|v| !v.is_empty())
    }

    /// The value of `key`, or the 2014 error line.
    pub fn required(&self, key: &str) -> Result<&'a str, String> {
        self.text(key).ok_or_else(|| format!("{key} must be set in section {}", self.section))
    }

    /// The words of `key`.
    pub fn words(&self, key: &str) -> Vec<String> {
        self.text(key).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// The value of a key that is not looked up with scopes; `None` when absent or empty.
    pub fn plain(&self, key: &str) -> Option<&'a str> {
        self.config.plain(self.section, key).filter(|v| !v.is_empty())
    }

    /// A boolean; absent: `None`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, String> {
        self.text(key).map(|v| value::boolean(v).map_err(|why| self.wrong(key, &why))).transpose()
    }

    /// An unscoped boolean.
    pub fn plain_boolean(&self, key: &str) -> Result<Option<bool>, String> {
        self.plain(key).map(|v| value::boolean(v).map_err(|why| self.wrong(key, &why))).transpose()
    }

    /// An integer; absent: `None`.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, String> {
        self.text(key).map(|v| value::integer(v).map_err(|why| self.wrong(key, &why))).transpose()
    }

    fn wrong(&self, key: &str, why: &str) -> String {
        format!("{}: {}.{key}: {why}", self.config.env.place(self.section, key), self.section)
    }
}
