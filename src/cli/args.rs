//! The command line: options, and the words that name the action.

pub use super::program::{Program, Which};

use super::help::{HIDDEN_FLAGS, HIDDEN_VALUES, actions_help, other_help, usage_error};
use crate::action::Options;
use crate::error::Error;
use crate::render::color::When;
use crate::sync::Share;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::time::Duration;

/// How views print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// Documented in docs/json.md.
    Json,
}

/// Everything on the command line.
#[derive(Debug, Clone, Default)]
pub struct Args {
    /// Words joined by `_`: the action.
    pub action: String,
    /// The words as typed.
    pub words: Vec<String>,
    /// What follows `docker`, or `--`.
    pub rest: Vec<String>,
    /// `-s`, split at commas.
    pub services: Vec<String>,
    /// `--status`, split at commas.
    pub statuses: Vec<String>,
    /// `--onlyprimary`.
    pub only_primary: bool,
    /// `--onlysecondary`.
    pub only_secondary: bool,
    /// `--envfile`.
    pub envfile: Option<String>,
    /// `-p`: `Some(0)` means the default number of workers.
    pub parallel: Option<usize>,
    /// `--debug`.
    pub debug: bool,
    /// `--color`.
    pub color: When,
    /// `--format`.
    pub format: Format,
    /// `--plan`.
    pub plan: bool,
    /// `--watch`, seconds.
    pub watch: Option<u64>,
    /// `--impersonate`.
    pub impersonate: Option<String>,
    /// `--param`.
    pub param: Option<String>,
    /// `--value`.
    pub value: Option<String>,
    /// `--resource`, each.
    pub resources: Vec<String>,
    /// `--ask`: a gate call that writes nothing.
    pub ask: bool,
    /// `--epoch` of recv.
    pub epoch: u64,
    /// `--yes`.
    pub yes: bool,
    /// `--tell`: console lines go to stdout, for a peer that shows them.
    pub tell: bool,
    /// `--verbose` of svcmon.
    pub verbose: bool,
    /// What the action is given.
    pub options: Options,
}

impl Args {
    /// The beginning of the command line as it was typed, for advice: `svcmgr -s NAME`.
    pub fn spoken(&self, name: &str) -> String {
        match (name, self.services.is_empty()) {
            ("svcmgr", true) => "svcmgr -s NAME".into(),
            ("svcmgr", false) => format!("svcmgr -s {}", self.services.join(",")),
            (other, _) => other.to_owned(),
        }
    }
}

fn flag(long: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).action(ArgAction::SetTrue).help(help)
}

fn value(long: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(long).long(long).value_name(name).help(help)
}

fn share(text: &str) -> Result<Share, String> {
    Share::parse(text).filter(|s| !s.is_nothing()).ok_or_else(|| "it is no share, as 5%".to_owned())
}

/// The clap command of a program: parses, helps, completes, and is the man page.
pub fn command(program: &Program, name: &str) -> Command {
    let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
    if let Some((usage, about, options)) = other_help(program, name) {
        let all = options_of(program, name).override_usage(usage).about(about);
        return all.mut_args(|a| if options.contains(&a.get_id().as_str()) || a.get_id() == "help" { a } else { a.hide(true) });
    }
    let usage = match program {
        Program::Svcmgr => format!("{name} -s NAME[,NAME…] ACTION [options]"),
        _ => format!("{name} ACTION [options]"),
    };
    options_of(program, name)
        .override_usage(usage)
        .after_help(actions_help())
        .help_template("{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}\n")
}

fn options_of(program: &Program, name: &'static str) -> Command {
    let many = matches!(program, Program::Svcmgr);
    let mut command = Command::new(name)
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .about("Service manager for disaster recovery: starts, stops and replicates the services of etc/*.env")
        .infer_long_args(true)
        .args_override_self(true)
        .arg(Arg::new("words").value_name("action").num_args(0..).help("see below; `print status` and `print_status` are the same"))
        .args([
            value("rid", "LIST", "only these resources: fs#1,ip or kinds: fs"),
            value("tags", "LIST", "only resources with one of these tags"),
            flag("force", "sync: whatever the schedule; stop: standby resources too; start, takeover: see docs/disaster.md").short('f'),
            flag("dry-run", "say what would be done, do nothing"),
            flag("plan", "print what would be done, in order, with reasons; do nothing"),
            flag("disable-rollback", "keep what a failed start has started"),
            flag("ignore-affinity", "start beside services that should not be on the same node"),
            flag("cluster", "drive a service that a cluster manager drives").short('c'),
            flag("cron", "called by a scheduler: less talk"),
            value("waitlock", "SECONDS", "how long to wait for the service's lock; default 60").value_parser(clap::value_parser!(u64)),
            value("to", "NODE", "destination of switch and giveback"),
            value("abandon", "NODE", "give up what NODE has written: it says what is lost"),
            flag("yes", "several services: take over from nodes that do not answer").short('y'),
            value("from", "NODE|SITE", "several services: take over from this one, though it does not answer"),
            value("param", "SECTION.KEYWORD", "for get, set, unset"),
            value("value", "VALUE", "for set"),
            value("resource", "JSON", "for create and update; may be repeated").action(ArgAction::Append),
            value("impersonate", "NODE", "print config as this node sees it"),
            value("format", "FORMAT", "text or json").value_parser(["text", "json"]),
            value("color", "WHEN", "auto, always or never").value_parser(["auto", "always", "never"]),
            value("watch", "SECONDS", "print status again and again; default every 2 s")
                .value_parser(clap::value_parser!(u64).range(1..))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("2"),
            value("parallel", "N", "several services at a time; default: 4 a core")
                .short('p')
                .value_parser(clap::value_parser!(usize))
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("0"),
            value("content", "SHARE", "sync verify of btrfs: compare also what is in the files: in all, or in a share, as 5%")
                .value_parser(share)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("100%"),
            flag("debug", "show quiet commands too"),
        ])
        .args(HIDDEN_FLAGS.map(|f| flag(f, "").hide(true)))
        .args(HIDDEN_VALUES.map(|v| value(v, "VALUE", "").hide(true)));
    if many || matches!(program, Program::Svcmon) {
        command = command.args([
            value("service", "LIST", "services: names or patterns ('web*'), separated by commas").short('s'),
            value("status", "LIST", "services in one of these states: up,warn"),
            flag("onlyprimary", "services this node starts at boot").conflicts_with("onlysecondary"),
            flag("onlysecondary", "services this node does not start at boot"),
            value("envfile", "FILE", "for install"),
        ]);
    }
    command
}

const VALUE_OPTIONS: [&str; 19] = [
    "-s",
    "--service",
    "--rid",
    "--tags",
    "--to",
    "--abandon",
    "--from",
    "--waitlock",
    "--param",
    "--value",
    "--resource",
    "--impersonate",
    "--format",
    "--color",
    "--status",
    "--envfile",
    "--slave",
    "--epoch",
    "--clock",
];

/// What follows the word `docker`, or the first `--`, belongs to another program and is not parsed.
fn split_rest(argv: &[String]) -> (&[String], &[String]) {
    let is_value = |at: usize| at.checked_sub(1).and_then(|p| argv.get(p)).is_some_and(|p| VALUE_OPTIONS.contains(&p.as_str()));
    let first = argv.iter().enumerate().find(|(at, word)| !word.starts_with('-') && !is_value(*at));
    let (mine, rest) = match first {
        Some((at, word)) if word == "docker" => (at + 1, at + 1),
        _ => match argv.iter().position(|w| w == "--") {
            Some(at) => (at, at + 1),
            None => (argv.len(), argv.len()),
        },
    };
    (argv.get(..mine).unwrap_or_default(), argv.get(rest..).unwrap_or_default())
}

/// Parses what follows argv[0]. `Err(Ok(text))`: help or version was asked for.
pub fn parse(program: &Program, name: &str, implied_cluster: bool, argv: &[String]) -> Result<Args, Result<String, Error>> {
    let (mine, rest) = split_rest(argv);
    let words = std::iter::once(name.to_owned()).chain(mine.iter().cloned());
    let matches = command(program, name).try_get_matches_from(words).map_err(|e| match e.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => Ok(e.to_string()),
        _ => Err(Error::Usage(usage_error(&e.to_string()))),
    })?;
    Ok(args(&matches, rest, implied_cluster))
}

fn list(matches: &ArgMatches, name: &str) -> Vec<String> {
    let text = matches.try_get_one::<String>(name).ok().flatten();
    text.map(|t| t.split(',').map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect()).unwrap_or_default()
}

fn args(m: &ArgMatches, rest: &[String], implied_cluster: bool) -> Args {
    let on = |name: &str| m.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false);
    let text = |name: &str| m.try_get_one::<String>(name).ok().flatten().cloned();
    let words: Vec<String> = m.get_many::<String>("words").into_iter().flatten().cloned().collect();
    let rest = if rest.is_empty() && words.first().is_some_and(|w| w == "template" || w == "completion" || w == "man") {
        words.get(1..).unwrap_or_default().to_vec()
    } else {
        rest.to_vec()
    };
    Args {
        action: words.join("_").replace(' ', "_"),
        words,
        rest,
        services: list(m, "service"),
        statuses: list(m, "status"),
        only_primary: on("onlyprimary"),
        only_secondary: on("onlysecondary"),
        envfile: text("envfile"),
        parallel: m.get_one::<usize>("parallel").copied(),
        debug: on("debug"),
        color: match text("color").as_deref() {
            Some("always") => When::Always,
            Some("never") => When::Never,
            _ => When::Auto,
        },
        format: if text("format").as_deref() == Some("json") { Format::Json } else { Format::Text },
        plan: on("plan"),
        watch: m.get_one::<u64>("watch").copied(),
        impersonate: text("impersonate"),
        param: text("param"),
        value: text("value"),
        resources: m.get_many::<String>("resource").into_iter().flatten().cloned().collect(),
        ask: on("ask"),
        epoch: text("epoch").and_then(|e| e.parse().ok()).unwrap_or(0),
        yes: on("yes"),
        tell: on("tell"),
        verbose: on("verbose"),
        options: Options {
            rids: list(m, "rid"),
            tags: list(m, "tags"),
            force: on("force"),
            dry_run: on("dry-run"),
            disable_rollback: on("disable-rollback"),
            ignore_affinity: on("ignore-affinity"),
            cluster: on("cluster") || implied_cluster,
            cron: on("cron"),
            content: m.get_one::<Share>("content").copied(),
            waitlock: Duration::from_secs(m.get_one::<u64>("waitlock").copied().unwrap_or(60)),
            to: text("to"),
            live: false,
            abandon: text("abandon").map(|n| n.to_lowercase()),
            from: text("from").map(|n| n.to_lowercase()),
            clock: text("clock").and_then(|t| t.parse().ok()),
            undo: on("undo"),
            consent: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(argv: &[&str]) -> Args {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        parse(&Program::Svcmgr, "svcmgr", false, &argv).unwrap()
    }

    #[test]
    fn options_anywhere_and_both_spellings() {
        assert_eq!(parsed(&["-s", "a,b", "print", "status"]).action, "print_status");
        let a = parsed(&["sync", "--force", "drp", "--service=a", "--wait", "7"]);
        assert_eq!((a.action.as_str(), a.options.force, a.options.waitlock.as_secs()), ("sync_drp", true, 7));
        assert_eq!(parsed(&["-p", "start"]).parallel, Some(0));
        assert_eq!(parsed(&["start", "--parallel=3"]).parallel, Some(3));
        assert_eq!(parsed(&["start"]).parallel, None);
    }

    #[test]
    fn the_rest_belongs_to_the_other_program() {
        let a = parsed(&["-s", "docker", "docker", "ps", "-a", "--force"]);
        assert_eq!((a.action.as_str(), a.options.force, a.rest.join(" ").as_str()), ("docker", false, "ps -a --force"));
        let a = parsed(&["-s", "x", "recv", "--rid", "sync#1", "--epoch", "4", "--", "rsync", "--server", "-x"]);
        assert_eq!((a.action.as_str(), a.epoch, a.rest.len()), ("recv", 4, 3));
    }

    #[test]
    fn names_decide() {
        assert_eq!(Program::of("/opt/opensvc/etc/busybox.opensvc.com"), (Program::Service("busybox.opensvc.com".into()), false));
        assert_eq!(Program::of("svc1.cluster"), (Program::Service("svc1".into()), true));
        assert_eq!(Program::of("allupservices").0, Program::All(Which::Up));
    }
}
