//! The command line of dds: which verb takes which options, and what they say.

use super::error::{Error, Result};
use super::options::command;
use clap::ArgMatches;
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `--extract`: a store's changed chunks become a stream.
    Extract,
    /// `--merge`: a stream is written to a device.
    Merge,
    /// `--recover DIR`: what a spooled merge left is finished.
    Recover(PathBuf),
    /// `--inspect [FILE]`: says what a file is. `None`: stdin.
    Inspect(Option<PathBuf>),
    /// `--check [FILE]`: verifies a file. `None`: stdin.
    Check(Option<PathBuf>),
    /// `--note SET`: adds chunks to a set.
    Note(PathBuf),
    /// `--hash`: hashes of a device's blocks.
    Hash,
    /// `--diff`: compares a device with such hashes.
    Diff,
    /// `--witness DEV`: a hash of both ends of a device.
    Witness(PathBuf),
    /// `--completion SHELL`.
    Completion(clap_complete::Shell),
    /// `--man`.
    Man,
}

/// The command line. What the verb does not take is absent: `parse` has refused it.
#[derive(Debug, Clone, Default)]
pub struct Args {
    /// The exception store; of merge also a stream in a file.
    pub cow: Option<PathBuf>,
    /// Where data are read.
    pub source: Option<PathBuf>,
    /// Where data are written.
    pub dest: Option<PathBuf>,
    /// `-v`: the report as text.
    pub verbose: bool,
    /// `--json`: the report as JSON.
    pub json: bool,
    /// `--frame`: the framed stream.
    pub frame: bool,
    /// `--behind SET`, each.
    pub behind: Vec<PathBuf>,
    /// `--all`: the whole source.
    pub all: bool,
    /// `--compress[=LEVEL]` of zstd.
    pub compress: Option<i32>,
    /// `--base ID`.
    pub base: Option<String>,
    /// `--image ID`.
    pub image: Option<String>,
    /// `--frozen-at TEXT`.
    pub frozen_at: Option<String>,
    /// `--note TEXT` of extract.
    pub note: Option<String>,
    /// `--dry-run`: report only.
    pub dry_run: bool,
    /// `--progress` on stderr.
    pub progress: bool,
    /// `--bwlimit`, bytes a second.
    pub bwlimit: Option<u64>,
    /// `--create`: a regular file may be made or extended.
    pub create: bool,
    /// `--expect-base ID`.
    pub expect_base: Option<String>,
    /// `--spool DIR`.
    pub spool: Option<PathBuf>,
    /// `--hold`: not applied.
    pub hold: bool,
    /// `--discard` of recover.
    pub discard: bool,
    /// `--from SET2` of note.
    pub from_set: Option<PathBuf>,
    /// `--from OFFSET` of hash, bytes.
    pub from: u64,
    /// `--length N` of hash, bytes.
    pub length: Option<u64>,
    /// `--block BYTES` of hash.
    pub block: u64,
    /// `--hashes FILE`; `-` is stdin.
    pub hashes: Option<PathBuf>,
    /// `--set SET` of diff.
    pub set: Option<PathBuf>,
}

/// A verb, the options it must have, and those it may have.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

const FRAMED: [&str; 9] = ["behind", "all", "compress", "base", "image", "frozen-at", "note", "progress", "bwlimit"];

const RULES: [Rule; 11] = [
    (
        "extract",
        &["source"],
        &[
            "cow",
            "dest",
            "verbose",
            "json",
            "frame",
            "behind",
            "all",
            "compress",
            "base",
            "image",
            "frozen-at",
            "note",
            "dry-run",
            "progress",
            "bwlimit",
        ],
    ),
    ("merge", &["dest"], &["cow", "verbose", "json", "create", "expect-base", "spool", "hold", "progress"]),
    ("recover", &[], &["dest", "discard", "verbose", "json"]),
    ("inspect", &[], &["json"]),
    ("check", &[], &["json"]),
    ("hash", &["source"], &["block", "from", "length", "bwlimit", "progress"]),
    ("diff", &["source", "hashes"], &["set", "json"]),
    ("witness", &[], &[]),
    ("completion", &[], &[]),
    ("man", &[], &[]),
    ("note", &["source"], &["cow", "from", "json"]), // last: for extract it is an option
];

/// Parses what follows argv[0]. `Err(Ok(text))`: help or version was asked for.
pub fn parse(argv: impl Iterator<Item = std::ffi::OsString>) -> std::result::Result<(Verb, Args), std::result::Result<String, Error>> {
    let words = std::iter::once("dds".into()).chain(argv);
    let matches = command().try_get_matches_from(words).map_err(|e| match e.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => Ok(e.to_string()),
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(usage("no verb")),
        _ => Err(usage(&first_paragraph(&e.to_string()))),
    })?;
    let verb = rule(&matches).map_err(Err)?;
    let args = args(&matches, verb).map_err(Err)?;
    Ok((verb_of(&matches, verb).map_err(Err)?, args))
}

fn usage(why: &str) -> Error {
    Error::usage("command line", why).hint("dds --help lists what there is")
}

/// What clap says before its usage lines, on one line.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

fn given(m: &ArgMatches, name: &str) -> bool {
    m.value_source(name).is_some_and(|s| s == clap::parser::ValueSource::CommandLine)
}

/// The one verb there is, after all its options were found to belong to it.
fn rule(m: &ArgMatches) -> Result<&'static str> {
    let mut there = RULES.iter().filter(|(verb, ..)| given(m, verb));
    let Some((verb, must, may)) = there.next() else {
        return Err(usage("say what to do: --extract, --merge or another verb"));
    };
    if let Some((other, ..)) = there.find(|(other, ..)| !may.contains(other)) {
        return Err(usage(&format!("--{verb} and --{other} are two commands")));
    }
    if let Some(missing) = must.iter().find(|o| !given(m, o)) {
        return Err(usage(&format!("--{verb} needs --{missing}")));
    }
    let known = |o: &str| must.contains(&o) || may.contains(&o) || o == *verb;
    if let Some(foreign) = m.ids().map(clap::Id::as_str).find(|o| given(m, o) && !known(o)) {
        return Err(usage(&format!("--{foreign} is not an option of --{verb}")));
    }
    together(m, verb)?;
    Ok(verb)
}

/// What only some options together make sense of.
fn together(m: &ArgMatches, verb: &str) -> Result<()> {
    let has = |name: &str| given(m, name);
    match verb {
        "extract" if !has("frame") => match FRAMED.iter().find(|o| has(o)) {
            Some(framed) => Err(usage(&format!("--{framed} is for the framed stream: add --frame"))),
            None if !has("cow") => Err(usage("--extract needs --cow")),
            None => Ok(()),
        },
        "extract" if !(has("cow") || has("behind") || has("all")) => Err(usage("--extract --frame needs --cow, --behind or --all")),
        "merge" if has("hold") && !has("spool") => Err(usage("--hold is for --spool")),
        "merge" if has("cow") && (has("spool") || has("create") || has("expect-base")) => {
            Err(usage("with --cow there is no --spool, --create or --expect-base: they are for a framed stream on stdin"))
        }
        "note" if has("cow") && has("from") => {
            Err(usage("--note takes one of --cow and --from, or neither: then a volume that grew is noted"))
        }
        "merge" if has("create") && has("spool") => {
            Err(usage("--create is for writing as it comes, --spool for a destination that is there"))
        }
        _ => Ok(()),
    }
}

fn verb_of(m: &ArgMatches, verb: &str) -> Result<Verb> {
    let path = |name: &str| m.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    let file = |name: &str| Some(path(name)).filter(|p| p.as_os_str() != "-");
    Ok(match verb {
        "extract" => Verb::Extract,
        "merge" => Verb::Merge,
        "recover" => Verb::Recover(path("recover")),
        "inspect" => Verb::Inspect(file("inspect")),
        "check" => Verb::Check(file("check")),
        "note" => Verb::Note(m.get_one::<std::ffi::OsString>("note").map(PathBuf::from).unwrap_or_default()),
        "hash" => Verb::Hash,
        "diff" => Verb::Diff,
        "witness" => Verb::Witness(path("witness")),
        "completion" => Verb::Completion(m.get_one("completion").copied().unwrap_or(clap_complete::Shell::Bash)),
        _ => Verb::Man,
    })
}

fn args(m: &ArgMatches, verb: &str) -> Result<Args> {
    let on = |name: &str| m.get_flag(name);
    let text = |name: &str| m.get_one::<String>(name).cloned();
    let path = |name: &str| m.get_one::<PathBuf>(name).cloned();
    let number = |name: &str| m.get_one::<u64>(name).copied();
    let note = if verb == "extract" { m.get_one::<std::ffi::OsString>("note") } else { None };
    let note = note.map(|n| {
        n.to_str().filter(|n| n.len() <= 255).map(str::to_owned).ok_or_else(|| usage("--note: not text, or longer than 255 bytes"))
    });
    let from = text("from").filter(|_| verb == "hash");
    let from = from.map(|f| f.parse::<u64>().map_err(|_| usage(&format!("--from {f}: not a number of bytes"))));
    Ok(Args {
        cow: path("cow"),
        source: path("source"),
        dest: path("dest"),
        verbose: on("verbose"),
        json: on("json"),
        frame: on("frame"),
        behind: m.get_many("behind").into_iter().flatten().cloned().collect(),
        all: on("all"),
        compress: m.get_one::<i32>("compress").copied(),
        base: text("base"),
        image: text("image"),
        frozen_at: text("frozen-at"),
        note: note.transpose()?,
        dry_run: on("dry-run"),
        progress: on("progress"),
        bwlimit: number("bwlimit").map(|kb| kb.saturating_mul(1024)),
        create: on("create"),
        expect_base: text("expect-base"),
        spool: path("spool"),
        hold: on("hold"),
        discard: on("discard"),
        from_set: text("from").filter(|_| verb == "note").map(PathBuf::from),
        from: from.transpose()?.unwrap_or(0),
        length: number("length"),
        block: number("block").unwrap_or(65536),
        hashes: path("hashes"),
        set: path("set"),
    })
}
