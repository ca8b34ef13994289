//! The options of dds, as clap has them: they parse, help, complete, and are the man page.

use clap::builder::{OsStringValueParser, StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, Command, value_parser};
use std::path::PathBuf;

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
       dds --note SET --source DEV [--cow COW|--from SET2]
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
