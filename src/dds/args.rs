//! The command line of dds: every option, and which verb takes which.

use super::error::{Error, Result};
use clap::builder::{OsStringValueParser, StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
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

const FRAMED: [&str; 7] = ["behind", "all", "compress", "base", "image", "frozen-at", "note"];

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

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn value(name: &'static str, label: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(label).help(help)
}

fn path(name: &'static str, label: &'static str, help: &'static str) -> Arg {
    value(name, label, help).value_parser(value_parser!(PathBuf))
}

/// An id or a text that is carried in a header: at most 255 bytes.
fn carried(name: &'static str, label: &'static str, help: &'static str) -> Arg {
    let short = |text: String| if text.len() <= 255 { Ok(text) } else { Err("longer than 255 bytes") };
    value(name, label, help).value_parser(StringValueParser::new().try_map(short))
}

fn number(name: &'static str, label: &'static str, help: &'static str) -> Arg {
    value(name, label, help).value_parser(value_parser!(u64))
}

const USAGE: &str = "dds --extract --cow COW --source SNAP [--dest FILE] [-v]
       dds --merge [--cow FILE] --dest DEV [-v]
       dds --extract --frame --source SNAP [--cow COW] [--behind SET]... [--all] [options]
       dds --merge [--spool DIR] --dest DEV [options]
       dds --recover DIR | --inspect [FILE] | --check [FILE] | --witness DEV
       dds --note SET --source DEV --cow COW|--from SET2
       dds --hash --source DEV [options]
       dds --diff --source DEV --hashes FILE|- [--set SET]";

/// The clap command: parses, helps, completes, and is the man page.
pub fn command() -> Command {
    Command::new("dds")
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .about("The changed chunks of an LVM snapshot as a stream, and a stream written to a device")
        .override_usage(USAGE)
        .infer_long_args(true)
        .arg_required_else_help(true)
        .args(verbs())
        .args(places())
        .args(framed())
        .args(others())
}

fn verbs() -> Vec<Arg> {
    let optional = |a: Arg| a.num_args(0..=1).default_missing_value("-");
    vec![
        flag("extract", "write the chunks that the store COW names, as they are in SNAP"),
        flag("merge", "write a stream's chunks to DEV"),
        path("recover", "DIR", "finish what a merge with --spool left there"),
        optional(path("inspect", "FILE", "say what FILE (or stdin) is: stream, store, set, hashes, spool folder")),
        optional(path("check", "FILE", "verify FILE (or stdin), write nothing")),
        value("note", "SET|TEXT", "add the chunks of a store or set to SET; with --extract: a text for the header")
            .value_parser(OsStringValueParser::new()),
        flag("hash", "write a hash for each block of DEV"),
        flag("diff", "compare DEV with such hashes"),
        path("witness", "DEV", "print a hash of the first and the last MiB"),
        value("completion", "SHELL", "print the completion for bash, zsh or fish").value_parser(value_parser!(clap_complete::Shell)),
        flag("man", "print the manual page"),
    ]
}

fn places() -> Vec<Arg> {
    vec![
        path(
            "cow",
            "COW",
            "the snapshot's exception store (/dev/mapper/VG-SNAP-cow); --merge: a stream in a file, or a store to roll back to",
        ),
        path("source", "SNAP", "where the data are read; for --note, --hash, --diff: the device meant"),
        path("dest", "FILE|DEV", "--extract: a file instead of stdout; --merge: what is written to"),
        path("spool", "DIR", "receive there and check all before the first write to DEV"),
    ]
}

fn framed() -> Vec<Arg> {
    vec![
        flag("frame", "the stream with checksums and an end record"),
        path("behind", "SET", "the chunks of this set too; may be repeated").action(ArgAction::Append),
        flag("all", "all of the source: a first copy"),
        value("compress", "LEVEL", "compress with zstd; default level 1")
            .value_parser(value_parser!(i32).range(1..=19))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("1"),
        carried("base", "ID", "the image that the stream changes"),
        carried("image", "ID", "the image that it makes"),
        carried("frozen-at", "TEXT", "when SNAP was made"),
        carried("expect-base", "ID", "refuse a stream that changes another image"),
        flag("create", "a regular file DEV may be made, or extended to the size of the source"),
        flag("hold", "receive and check, do not write to DEV"),
        flag("discard", "with --recover: drop what was received, if writing it has not begun"),
    ]
}

fn others() -> Vec<Arg> {
    vec![
        value("from", "OFFSET|SET2", "with --hash: first byte; with --note: the set to add"),
        number("length", "BYTES", "with --hash: how much; default: to the end"),
        number("block", "BYTES", "with --hash: block size; default 65536"),
        path("hashes", "FILE", "the hashes to compare with; - is stdin"),
        path("set", "SET", "write the differing blocks to SET"),
        flag("dry-run", "only the report: how much would be sent"),
        flag("progress", "say on stderr how far it is"),
        number("bwlimit", "KB/s", "read or send no faster than this"),
        flag("json", "the report as JSON"),
        flag("verbose", "the report as text, as in 2010").short('v'),
    ]
}

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
        "note" if has("cow") == has("from") => Err(usage("--note needs one of --cow and --from")),
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
