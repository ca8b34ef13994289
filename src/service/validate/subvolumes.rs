//! Mounts of what a btrfs sync replaces: by name, as the number is another one after each sync.

use super::{Check, Severity, value_span};
use crate::config::scope::ServiceConfig;
use crate::rid::kind_of;

pub(super) fn check(check: &mut Check<'_>) {
    for section in check.env.sections().filter(|s| kind_of(&s.name) == Some("fs")) {
        let found = check.views.iter().find_map(|view| numbered(view, &section.name).map(|n| (view, n)));
        let Some((view, (id, sync, sure))) = found else { continue };
        let span = view.entry(&section.name, "mnt_opt").map(value_span);
        let (severity, when) = if sure {
            (Severity::Error, String::new())
        } else {
            (Severity::Warning, format!("if {} is a filesystem of it: ", view.text(&section.name, "dev").unwrap_or_default()))
        };
        let message = format!(
            "{id} in section {}: {when}each run of {sync} puts a subvolume of another number in its place: neither a standby nor a takeover could mount it then",
            section.name
        );
        check.add(severity, span, message).about(&section.name, Some("mnt_opt")).help("say it by name: subvol=PATH");
    }
}

/// The subvolume that `fs` mounts by its number, and the btrfs sync of its filesystem; whether it is that for sure.
fn numbered(view: &ServiceConfig, fs: &str) -> Option<(String, String, bool)> {
    let options = view.text(fs, "mnt_opt")?;
    // 5, which 0 stands for, is the top of each filesystem
    let top = |n: &str| n.parse() == Ok(5) || n.parse() == Ok(0);
    let id = options.split(',').map(str::trim).find(|o| o.strip_prefix("subvolid=").is_some_and(|n| !top(n)))?;
    let btrfs = |section: &str| view.text(section, "type") == Some("btrfs");
    let mut syncs = view.env.sections().filter(|s| kind_of(&s.name) == Some("sync") && btrfs(&s.name));
    let label = view.text(fs, "dev").and_then(|dev| dev.strip_prefix("LABEL=")).map(|l| l.trim_matches('"'));
    let names = |section: &str| {
        let words = ["src", "dst"].into_iter().filter_map(|key| view.text(section, key)).flat_map(str::split_whitespace);
        words.filter_map(|word| word.split_once(':')).any(|(of, _)| Some(of) == label)
    };
    let of_it = syncs.find(|s| label.is_none() && btrfs(fs) || names(&s.name))?;
    Some((id.to_owned(), of_it.name.clone(), label.is_some()))
}
