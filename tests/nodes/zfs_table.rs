//! The table of faults of a zfs or btrfs replication, as a person reads it: what was done, what was said, how both nodes stand,
//! what the next run did. Each test's table is a snapshot.

use crate::bed::{Nodes, Said};
use crate::snapshot;
use crate::zfs::sent;
use std::fmt::Write as _;

/// The lines so far.
pub struct Table<'b> {
    bed: &'b Nodes,
    nodes: Vec<&'b str>,
    /// What a node has as what was sent last.
    sent: fn(&Nodes, &str) -> String,
    text: String,
}

/// What the node's status says of the sync of a service, on one line.
pub fn row(bed: &Nodes, node: &str, service: &str) -> String {
    let tree = bed.run(node, &format!("{service} print status")).stdout;
    let rows = tree.lines().skip_while(|l| !l.contains("sync#1 ")).take_while(|l| !l.contains("hb ") && !l.contains("sync#i"));
    let words = rows.flat_map(str::split_whitespace).filter(|w| !["|", "'-", "|-", "#"].contains(w));
    plain(&words.collect::<Vec<_>>().join(" "))
}

/// Without what is another the next time: times, ids, sizes.
pub fn plain(text: &str) -> String {
    let shown = [
        (r"\d\d:\d\d:\d\d", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID"),
        (r"\d{9,}", "GUID"),
        (r"/dev/loop\d+", "DEVICE"),
        (r"process \d+", "process PID"),
        (r"\d+ s old", "N s old"),
        (r"since then: \d+ s", "since then: N s"),
        (r": (full|incremental), .* in .*", ": $1"),
        (r"cannot be reached: .*", "cannot be reached: WHY"),
        (r"(kept before, until somebody deletes them:).*", "$1 ..."),
        (r"-q -o Strict\S+ .* -S \S+ ", ""),
    ];
    shown.iter().fold(text.to_owned(), |text, (pattern, word)| regex::Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned())
}

/// What is to be read of what a command said: warnings and errors with the lines that belong to them.
pub fn words(said: &Said) -> String {
    let lines = said.stderr.lines().filter(|l| [" ERROR ", " WARNING ", "svcmgr: "].iter().any(|w| l.contains(w)) || l.starts_with("  "));
    lines.filter(|l| !l.contains("waiting for ")).map(|l| format!("  {}\n", plain(l))).collect()
}

impl<'b> Table<'b> {
    /// Of these nodes; the first one sends.
    pub fn new(bed: &'b Nodes) -> Self {
        Self::of(bed, sent)
    }

    /// The same of another kind of replication.
    pub fn of(bed: &'b Nodes, sent: fn(&Nodes, &str) -> String) -> Self {
        Self { bed, nodes: bed.names().iter().map(String::as_str).collect(), sent, text: String::new() }
    }

    /// The node that receives.
    fn target(&self) -> &str {
        self.nodes.last().unwrap()
    }

    /// What was done, and what came of it.
    pub fn fault(&mut self, what: &str, said: &Said) {
        let rows: String = self.nodes.iter().map(|node| format!("  {node}: {}\n", row(self.bed, node, "svc1"))).collect();
        _ = write!(self.text, "== {what}: exit status {}\n{}{rows}", said.code, words(said));
        eprint!("{what}: exit status {}\n{}", said.code, said.stderr);
    }

    /// What another command said, as part of that.
    pub fn also(&mut self, what: &str, said: &Said) {
        _ = write!(self.text, "  {what}: exit status {}\n{}", said.code, words(said));
    }

    /// The replica is what it was, and is known to be one.
    pub fn unchanged(&self, before: &str, what: &str) {
        assert_eq!((self.sent)(self.bed, self.target()), before, "{what}");
        let record = self.bed.sh(self.target(), "cat '/opt/opensvc/var/svc1/sync#1.replica.json'");
        assert!(record.contains("\"state\": \"replica\""), "{what}: {record}");
    }

    /// The next run brings all of it, as `how` says. What was sent.
    pub fn mended(&mut self, how: &str) -> String {
        let said = self.bed.run(self.nodes[0], "svc1 sync update --force");
        let line = said.stderr.lines().find(|l| l.contains(": full,") || l.contains(": incremental,")).unwrap_or_default();
        let line = plain(line.split_once("SYNC#1").map_or(line, |(_, line)| line.trim()));
        _ = writeln!(self.text, "  next run: exit status {}, {line}", said.code);
        assert!(said.code == 0 && said.stderr.contains(how), "{}\n{}", self.text, said.stderr);
        let now = (self.sent)(self.bed, self.nodes[0]);
        assert_eq!((self.sent)(self.bed, self.target()), now, "{}", self.text);
        now
    }

    /// Compares it with `/snapshots/nodes__NAME.snap`.
    pub fn done(self, name: &str) {
        snapshot(name, &self.text);
    }
}
