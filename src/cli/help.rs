//! What the help says: actions by what one wants, the other names of the program, errors of the command line.

use super::program::Program;
use crate::action;
use std::fmt::Write;

/// The actions by what one wants; every one that is not for svcmgr itself is in one of these.
const HELP: &[(&str, &[&str])] = &[
    ("Look", &["print_status", "where", "json_status", "status"]),
    ("Run", &["start", "stop", "restart", "switch"]),
    ("Disaster recovery", &["takeover", "giveback"]),
    ("Copy to other nodes", &["sync_update", "sync_full", "sync_nodes", "sync_drp", "sync_all", "sync_verify", "sync_resync"]),
    (
        "Service file",
        &[
            "validate",
            "print_config",
            "edit_config",
            "get",
            "set",
            "unset",
            "enable",
            "disable",
            "create",
            "update",
            "delete",
            "install",
            "json_env",
            "print_env_mtime",
        ],
    ),
    ("Hold", &["freeze", "thaw", "frozen"]),
    ("For init scripts and schedulers", &["boot", "shutdown", "startstandby", "resource_monitor"]),
    ("Devices", &["print_devlist", "json_devlist", "print_disklist", "json_disklist"]),
    ("Containers", &["docker"]),
];

/// The action list of the help.
pub(super) fn actions_help() -> String {
    let mut out = String::new();
    for (title, names) in HELP {
        let _ = writeln!(out, "{title}:");
        for action in names.iter().filter_map(|n| action::find(n)) {
            let _ = writeln!(out, "  {:<16} {}", action.name.replace('_', " "), action.help);
        }
    }
    out.push_str("Parts of a service:\n  start or stop, with: ip disk vg loop pool fs share container app (startip, stopfs…)\n");
    out.push_str("svcmgr's own:\n  template         print a commented service file of a driver: svcmgr template sync.rsync\n");
    out.push_str("  completion       print shell completion: svcmgr completion bash|zsh|fish\n");
    out.push_str("  man              print the man page\n\n");
    out.push_str("Other names: allservices, allupservices, alldownservices, allprimaryservices,\n");
    out.push_str("allsecondaryservices ACTION; svcmon (a line a service); nodemgr; svcfreeze, svcthaw\n\n");
    out.push_str("Exit status: 0 done, 1 failed or refused (stderr says why), 2 wrong command line;\n`status` exits with the state");
    out
}

/// What a program of another name is for, and how it is called; its options that count.
pub(super) fn other_help(program: &Program, name: &str) -> Option<(String, &'static str, &'static [&'static str])> {
    match program {
        Program::Freezer("freeze") => {
            Some((format!("{name} [SERVICE]"), "Forbids actions on a service on this node, or on all with no SERVICE", &[]))
        }
        Program::Freezer("thaw") => {
            Some((format!("{name} [SERVICE]"), "Allows actions on a service again, or on all with no SERVICE", &[]))
        }
        Program::Freezer(_) => Some((format!("{name} [SERVICE]"), "Exit status 1 if the service, or the node, is frozen", &[])),
        Program::Nodemgr => Some((
            format!("{name} get|set --param SECTION.KEYWORD [--value VALUE]\n       {name} print schedule"),
            "Settings of this node (etc/node.conf), and when its syncs run by themselves",
            &["param", "value"],
        )),
        Program::Svcmon => Some((
            format!("{name} [-s NAME,…] [options]"),
            "A line for each service of this node",
            &["service", "status", "format", "color", "onlyprimary", "onlysecondary"],
        )),
        _ => None,
    }
}

/// Options that are taken and not advertised.
pub(super) const HIDDEN_FLAGS: [&str; 11] =
    ["ask", "tell", "undo", "verbose", "updatedb", "interactive", "provision", "master", "slaves", "warn", "error"];
pub(super) const HIDDEN_VALUES: [&str; 4] = ["slave", "epoch", "clock", "maxdelaydb"];

/// clap's words without its footer, and without advice about options that are not advertised.
pub(super) fn usage_error(text: &str) -> String {
    let text = text.trim_start_matches("error: ");
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let hidden = |line: &str| HIDDEN_FLAGS.iter().chain(&HIDDEN_VALUES).any(|h| line.contains(&format!("'--{h}")));
    let lines = text.get(..end).unwrap_or(text).lines().filter(|l| !(l.trim().is_empty() || l.contains("tip:") && hidden(l)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_has_every_action() {
        use crate::action::{ACTIONS, Class, Id};
        for action in ACTIONS {
            let part = matches!(
                action.id,
                Id::StartGroup(_) | Id::StopGroup(_) | Id::PreSync | Id::PostSync | Id::Handover | Id::Prepare | Id::Gone
            );
            let there = HELP.iter().any(|(_, names)| names.contains(&action.name));
            assert_eq!(there, !part && action.class != Class::Peer, "{}", action.name);
        }
    }
}
