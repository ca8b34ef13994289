//! What makes a service unusable as a whole: the refusals of `build`, all of them at once.

use super::{Check, Span, nearest, word_span};
use crate::config::env::DEFAULT;
use crate::config::value;

pub(super) fn check(check: &mut Check<'_>) {
    managed_here(check);
    let (mode, _) = check.default("mode");
    if let (true, Some(entry)) =
        (mode.is_empty() || mode == "hosted", check.here.entry(DEFAULT, "pkg_name").filter(|e| !e.value.is_empty()))
    {
        check
            .error(Some(super::key_span(entry)), "pkg_name needs a mode other than hosted (sg, rhcs, vcs)")
            .about(DEFAULT, Some("pkg_name"));
    }
    service_type(check);
    flex(check);
    names(check);
}

fn managed_here(check: &mut Check<'_>) {
    let node = check.viewer.node;
    if check.here.scope.everyone().any(|n| n == node) {
        return;
    }
    let (_, span) = check.default("nodes");
    let message = format!("service {} not managed here: {node} is neither in nodes nor in drpnodes", check.service);
    let close = nearest(node, check.here.scope.everyone().map(String::as_str)).map(str::to_owned);
    check.error(span, message).about(DEFAULT, Some("nodes")).did_you_mean(close.as_deref());
}

fn service_type(check: &mut Check<'_>) {
    let (ty, span) = check.default("service_type");
    let entry = check.env.lookup(DEFAULT, "service_type");
    if entry.is_none_or(|e| e.value.is_empty()) {
        check
            .error(span, "service_type is not set")
            .about(DEFAULT, Some("service_type"))
            .help(format!("one of {}; without it the service is taken as TST", crate::service::SERVICE_TYPES.join(", ")));
    } else if check.viewer.host_mode == "PRD" && ty != "PRD" {
        let message = format!("service {} type {ty} is not allowed to run on this node (host mode PRD)", check.service);
        check.error(span, message).about(DEFAULT, Some("service_type"));
    }
}

fn flex(check: &mut Check<'_>) {
    let most = check.default("autostart_node").0.split_whitespace().count().max(1);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let number = |check: &Check<'_>, key, default| {
        let (text, span) = check.default(key);
        // what is no number is found with the keywords
        (if text.is_empty() { Some(default) } else { value::integer(text).ok() }, span)
    };
    let (min, min_at) = number(check, "flex_min_nodes", 1);
    let (max, max_at) = number(check, "flex_max_nodes", most);
    let max_is_set = check.here.text(DEFAULT, "flex_max_nodes").is_some();
    let mut refuse = |key: &str, n: i64, why: &str, span: Option<Span>| {
        check.error(span, format!("invalid {key} '{n}' ({why}).")).about(DEFAULT, Some(key));
    };
    let why = format!(">{most} nb of nodes");
    match min {
        Some(n) if n < 0 => refuse("flex_min_nodes", n, "<0", min_at),
        Some(n) if n > most => refuse("flex_min_nodes", n, &why, min_at),
        _ => {}
    }
    match (min, max) {
        (_, Some(n)) if n < 0 => refuse("flex_max_nodes", n, "<0", max_at),
        (Some(least), Some(n)) if n < least && max_is_set => refuse("flex_max_nodes", n, "<flex_min_nodes", max_at),
        _ => {}
    }
    for (key, default) in [("flex_cpu_low_threshold", 10), ("flex_cpu_high_threshold", 90)] {
        let (percent, span) = number(check, key, default);
        let why = match percent {
            Some(n) if n < 0 => "<0",
            Some(n) if n > 100 => ">100",
            _ => continue,
        };
        check.error(span, format!("invalid {key} '{}' ({why}).", percent.unwrap_or_default())).about(DEFAULT, Some(key));
    }
}

/// Node names in `[DEFAULT]` that name nobody.
fn names(check: &mut Check<'_>) {
    let scope = &check.here.scope;
    let everyone: Vec<&str> = scope.everyone().map(String::as_str).collect();
    for (key, known) in [
        ("autostart_node", everyone.clone()),
        ("flex_primary", scope.nodes.iter().map(String::as_str).collect()),
        ("drp_flex_primary", scope.drpnodes.iter().map(String::as_str).collect()),
    ] {
        let Some(entry) = check.here.entry(DEFAULT, key) else { continue };
        for word in entry.value.split_whitespace() {
            // autostart_node is compared as written with the lower-case host name
            let same = known.contains(&word) || (key != "autostart_node" && known.contains(&word.to_lowercase().as_str()));
            if !same {
                let close = nearest(word, known.iter().copied());
                check
                    .warning(Some(word_span(entry, word)), format!("`{word}` is not a node of the service"))
                    .about(DEFAULT, Some(key))
                    .did_you_mean(close);
            }
        }
    }
    for both in scope.drpnodes.iter().filter(|n| scope.nodes.contains(n)) {
        let span = check.here.entry(DEFAULT, "drpnodes").map(|e| word_span(e, both));
        check.warning(span, format!("`{both}` is in nodes and in drpnodes: it counts as one of nodes")).about(DEFAULT, Some("drpnodes"));
    }
}
