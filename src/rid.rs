//! Resource ids and the section names that make a resource.

/// Kinds of resource sections, in the order in which 2014 built them.
pub const KINDS: [&str; 14] =
    ["container", "hb", "stonith", "ip", "drbd", "loop", "vdisk", "vg", "vmdg", "pool", "fs", "share", "app", "sync"];

/// The kind of resource a section named `section` is, if it is one: `K` alone or `K#` and a digit,
/// any case, anchored at the start only (`[FS#1]`, `[fs#2a]`, `[fs]`; not `[fs#x]`). The bare name
/// does not count for container and sync; `sync#i` and a digit does.
pub fn kind_of(section: &str) -> Option<&'static str> {
    let lower = section.to_ascii_lowercase();
    KINDS.into_iter().find(|kind| {
        let Some(rest) = lower.strip_prefix(kind) else { return false };
        let digit = |s: &str| s.starts_with(|c: char| c.is_ascii_digit());
        match rest.strip_prefix('#') {
            Some(index) => digit(index) || (*kind == "sync" && index.strip_prefix('i').is_some_and(digit)),
            None => rest.is_empty() && *kind != "container" && *kind != "sync",
        }
    })
}

/// The kind part of a rid as written (`fs` of `fs#1`), and its index if any.
pub fn split(rid: &str) -> (&str, Option<&str>) {
    match rid.split_once('#') {
        Some((kind, index)) => (kind, Some(index)),
        None => (rid, None),
    }
}

#[cfg(test)]
mod tests {
    use super::kind_of;

    #[test]
    fn section_names_that_are_resources() {
        for (section, kind) in [
            ("fs#1", Some("fs")),
            ("FS#1", Some("fs")),
            ("fs#2a", Some("fs")),
            ("fs", Some("fs")),
            ("fs#x", None),
            ("fs #3", None),
            (" fs#4 ", None),
            ("container", None),
            ("container#0", Some("container")),
            ("sync", None),
            ("sync#i0", Some("sync")),
            ("sync#1", Some("sync")),
            ("subset#fs:a", None),
            ("DEFAULT", None),
            ("vg#1", Some("vg")),
            ("vgx#1", None),
            ("foo#1", None),
        ] {
            assert_eq!(kind_of(section), kind, "{section}");
        }
    }
}
