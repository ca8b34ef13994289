//! node.conf: what this node is to all its services. Plain INI, read by rust-ini.

use super::env;
use ini::{Ini, ParseOption};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// The keys of node.conf; keys are lower case, sections as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConf {
    sections: HashMap<String, HashMap<String, String>>,
}

/// As 2014's parser: no quoting, no escapes; indented lines are not continued here.
const OPTIONS: ParseOption = ParseOption {
    enabled_quote: false,
    enabled_escape: false,
    enabled_indented_mutiline_value: false,
    enabled_preserve_key_leading_whitespace: false,
};

const NEITHER: &str = "neither a [section], a key = value, nor a comment";

impl NodeConf {
    /// Reads `path`; a missing file is an empty one. The error names the file, and the line if known.
    pub fn load(path: &Path) -> Result<Self, String> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(format!("{}: cannot read: {e}", path.display())),
        }
    }

    /// Parses `bytes`; `path` is only a name.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let text = env::decode(bytes);
        let file = path.display();
        let open = |line: &str| line.trim_start().starts_with('[') && !line.contains(']');
        if let Some(at) = text.lines().position(open) {
            return Err(format!("{file}:{}: the name of a section is not closed by ]", at + 1));
        }
        let ini = Ini::load_from_str_opt(&text, OPTIONS).map_err(|e| {
            // an error at the end of the file is one of the last line that says something
            let line = e.line.min(text.trim_end().lines().count());
            let why = if e.msg.contains("expecting") { NEITHER } else { e.msg.as_ref() };
            format!("{file}:{line}: {why}")
        })?;
        let mut this = Self::default();
        for (name, properties) in &ini {
            let Some(name) = name else {
                if let Some((key, _)) = properties.iter().next() {
                    return Err(format!("{}: {key:?} stands before any [section]", place(path, &text, key)));
                }
                continue;
            };
            if name.trim().is_empty() {
                return Err(format!("{}: a section without a name", place(path, &text, "[")));
            }
            let section = this.sections.entry(section_name(name).to_owned()).or_default();
            for (key, value) in properties.iter() {
                // rust-ini takes a line without `=` for the beginning of a key: the next `[section]` vanishes into it
                if key.contains(['\n', '[']) {
                    return Err(format!("{}: {NEITHER}: {key:?}", place(path, &text, key)));
                }
                section.insert(key.trim().to_ascii_lowercase(), env::value_of(value.trim_start()).to_owned());
            }
        }
        Ok(this)
    }

    /// The value of `key` (lower case) in `section`, else in DEFAULT.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let own = |name: &str| self.sections.get(name).and_then(|s| s.get(key)).map(String::as_str);
        own(section).or_else(|| own(env::DEFAULT))
    }

    /// The section is written in the file.
    pub fn has_section(&self, section: &str) -> bool {
        self.sections.contains_key(section)
    }

    /// What this node is for: TST, PRD… TST when the file does not say.
    pub fn host_mode(&self) -> &str {
        self.get("node", "host_mode").filter(|m| !m.is_empty()).unwrap_or("TST")
    }

    /// How long a peer may take to let us in and to answer; `None` when the file does not say, or says less than 2 s.
    pub fn peer_timeout(&self) -> Option<Duration> {
        let limit = super::value::duration(self.get("node", "peer_timeout")?).ok()?;
        Some(limit).filter(|limit| limit.as_secs() >= 2)
    }

    /// Who one is on `node` when reaching it by ssh. `[node] ruser` holds words: `user`, or
    /// `user@node` for one node, which wins. Default root.
    pub fn ruser(&self, node: &str) -> String {
        let words = self.get("node", "ruser").unwrap_or_default();
        let mut user = "root";
        for word in words.split_whitespace() {
            match word.split_once('@') {
                Some((name, at)) if at.eq_ignore_ascii_case(node) => return name.to_owned(),
                Some(_) => {}
                None => user = word,
            }
        }
        user.to_owned()
    }
}

fn section_name(name: &str) -> &str {
    if name == "default" { env::DEFAULT } else { name }
}

/// Where a key begins, for messages: `file:line`.
fn place(path: &Path, text: &str, key: &str) -> String {
    let first = key.trim_start().lines().next().unwrap_or_default().trim_end();
    let line = text.lines().position(|l| l.trim_start().starts_with(first)).map_or(1, |at| at + 1);
    format!("{}:{line}", path.display())
}

#[cfg(test)]
mod tests {
    use super::NodeConf;
    use std::path::Path;

    fn parse(text: &str) -> Result<NodeConf, String> {
        NodeConf::parse(Path::new("etc/node.conf"), text.as_bytes())
    }

    #[test]
    fn how_long_a_peer_may_take() {
        let limit = |text: &str| NodeConf::parse(Path::new("node.conf"), text.as_bytes()).unwrap().peer_timeout().map(|d| d.as_secs());
        assert_eq!((limit("[node]\npeer_timeout = 1m\n"), limit("[node]\npeer_timeout=30\n")), (Some(60), Some(30)));
        assert_eq!((limit(""), limit("[node]\npeer_timeout = 1\n"), limit("[node]\npeer_timeout = soon\n")), (None, None, None));
    }

    #[test]
    fn host_mode_comes_from_node_then_default_then_tst() {
        for (text, mode) in [
            ("", "TST"),
            ("[node]\nhost_mode = PRD\n", "PRD"),
            ("[DEFAULT]\nhost_mode = DRP\n", "DRP"),
            ("[DEFAULT]\nhost_mode = DRP\n[node]\nHOST_MODE=PRD\n", "PRD"),
            ("# c\n; c\n\n[sync]\nhost_mode = PRD\n", "TST"),
        ] {
            assert_eq!(parse(text).unwrap().host_mode(), mode, "{text}");
        }
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        let conf = parse("[node]\na = \"x\\n\" 'y'\nb: 1 = 2\n").unwrap();
        assert_eq!(conf.get("node", "a"), Some("\"x\\n\" 'y'"));
        assert_eq!(conf.get("node", "b"), Some("1 = 2"));
        let conf = parse("[node]\nhost_mode = PRD ; production\nssh = \"\"\n").unwrap();
        assert_eq!((conf.host_mode(), conf.get("node", "ssh")), ("PRD", Some("")));
        assert!(conf.has_section("node") && !conf.has_section("sync"));
    }

    #[test]
    fn ruser_of_a_node_beats_the_general_one() {
        let conf = parse("[node]\nruser = opensvc admin@deb2\n").unwrap();
        assert_eq!((conf.ruser("deb1").as_str(), conf.ruser("DEB2").as_str()), ("opensvc", "admin"));
        assert_eq!(NodeConf::default().ruser("deb1"), "root");
    }

    #[test]
    fn a_stray_line_is_refused_with_its_place() {
        for (text, place) in [
            ("[node]\nhost_mode = PRD\nstray\n[sync]\nperiod = 1\n", "etc/node.conf:3"),
            ("[node]\nx = 1\nstray\n", "etc/node.conf:3"),
            ("[node\nhost_mode = PRD\n", "etc/node.conf:1"),
            ("host_mode = PRD\n", "etc/node.conf:1"),
            ("\n[ ]\nhost_mode = PRD\n", "etc/node.conf:2"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.starts_with(place), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_missing_file_is_empty() {
        assert_eq!(NodeConf::load(Path::new("/nonexistent/node.conf")), Ok(NodeConf::default()));
    }
}
