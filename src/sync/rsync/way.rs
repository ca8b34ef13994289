//! Where the data of a sync are on each side, and the way back: from what stands at `dst` to where the source was.
//! rsync puts the content of `/srv/d/` into dst, and `/srv/d` itself below it.

use super::{common, is_pattern, plain_options};
use crate::config::scope::Params;
use crate::host::patience::within;
use crate::sync::{Side, Way};
use std::path::Path;
use std::time::Duration;

/// How long a filesystem may take to say whether dst is a file.
const LOOK: Duration = Duration::from_secs(5);

/// A sync as home sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Forward {
    /// As written.
    pub(super) src: Vec<String>,
    /// As written, or the place the source has.
    pub(super) dst: String,
    /// `-R`: each source keeps its own path below dst.
    pub(super) relative: bool,
    /// What a target sends instead, if the service file says so.
    pub(super) own: Option<Vec<String>>,
}

/// One source and its dst, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// The content of a folder, here and there.
    Content(String, String),
    /// A file or folder in a folder, here and there; its name.
    Item(String, String, String),
    /// A file, which has another name there.
    File(String, String),
    /// A path below a folder, here and there; the path.
    Below(String, String, String),
}

impl Shape {
    /// `is_file`: whether a path without a slash at its end is a file on the target.
    fn of(src: &str, dst: &str, relative: bool, is_file: impl Fn(&str) -> bool) -> Option<Self> {
        if !src.starts_with('/') || !dst.starts_with('/') {
            return None;
        }
        let folder = |path: &str| if path.trim_end_matches('/').is_empty() { "/".into() } else { path.trim_end_matches('/').to_owned() };
        if relative {
            let (base, rest) = src.split_once("/./").unwrap_or(("", src.trim_start_matches('/')));
            return Some(Self::Below(folder(base), folder(dst), rest.to_owned()));
        }
        let content = src.strip_suffix("/.").unwrap_or(src);
        if content.ends_with('/') || content.len() < src.len() {
            return Some(Self::Content(folder(content), folder(dst)));
        }
        let (parent, name) = src.rsplit_once('/')?;
        if matches!(name, "" | "." | "..") {
            return None;
        }
        if !dst.ends_with('/') && is_file(dst) {
            return Some(Self::File(src.to_owned(), dst.to_owned()));
        }
        Some(Self::Item(folder(parent), folder(dst), name.to_owned()))
    }

    /// What to send from `side`.
    fn src(&self, side: Side) -> String {
        match self {
            Self::Content(source, target) => below(pick(side, source, target), ""),
            Self::Item(source, target, name) => below(pick(side, source, target), name),
            Self::File(source, target) => pick(side, source, target).clone(),
            Self::Below(source, target, rest) => match pick(side, source, target).as_str() {
                "/" => format!("/{rest}"),
                base => format!("{base}/./{rest}"),
            },
        }
    }

    /// Where to on `side`.
    fn dst(&self, side: Side) -> String {
        match self {
            Self::Content(source, target) | Self::File(source, target) | Self::Below(source, target, _) => {
                pick(side, source, target).clone()
            }
            Self::Item(source, target, _) => below(pick(side, source, target), ""),
        }
    }
}

fn pick<'a>(side: Side, source: &'a String, target: &'a String) -> &'a String {
    match side {
        Side::Source => source,
        Side::Target => target,
    }
}

fn below(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

impl Forward {
    /// Of a section, as home resolves it. The error is the line for a section that lacks something.
    pub(super) fn of(p: &Params) -> Result<Self, String> {
        let src: Vec<String> = common::required(p, "src")?.split_whitespace().map(str::to_owned).collect();
        let dst = match (p.text("dst"), src.as_slice()) {
            (Some(dst), _) => dst.to_owned(),
            (None, [one]) => same_place(one),
            (None, _) => return Err(format!("config file section {} must have dst set: it has several sources", p.section)),
        };
        Ok(Self { src, dst, relative: relative(&plain_options(p)?), own: None })
    }

    /// What home sends, as the node of `p` knows it: which may be a target, with a `src` of its own.
    pub(super) fn seen_by(p: &Params) -> Result<Self, String> {
        if !p.config.scope.is_drp() || !["src", "dst"].iter().any(|key| is_scoped(p, key)) {
            return Self::of(p);
        }
        let as_home = p.config.impersonate(&p.config.home());
        let as_home = as_home.section(p.section);
        Ok(Self { own: own(p, &as_home, "src").map(|src| words(&src)), ..Self::of(&as_home)? })
    }

    /// Where the data are on `side`, as patterns. A target that has them must be this node: it looks at dst.
    pub(super) fn places(&self, side: Side) -> Vec<String> {
        match (side, &self.own) {
            (Side::Source, _) => self.src.clone(),
            (Side::Target, Some(own)) => own.clone(),
            (Side::Target, None) => self.sideways().0,
        }
    }

    /// From one target to another: of several sources, all that stands at dst.
    fn sideways(&self) -> (Vec<String>, String) {
        let shapes: Vec<Shape> = match self.back() {
            Some(one) => vec![one],
            None => self.src.iter().filter_map(|s| Shape::of(s, &self.dst, self.relative, |_| false)).collect(),
        };
        let content = shapes.iter().find(|s| matches!(s, Shape::Content(..)));
        let dst = content.or(shapes.first()).map_or_else(|| self.dst.clone(), |s| s.dst(Side::Target));
        match content {
            Some(all) => (vec![all.src(Side::Target)], dst),
            None => (shapes.iter().map(|s| s.src(Side::Target)).collect(), dst),
        }
    }

    /// The one source, if it can be sent back.
    fn back(&self) -> Option<Shape> {
        match self.src.as_slice() {
            [one] if !is_pattern(one) && !is_pattern(&self.dst) => Shape::of(one, &self.dst, self.relative, is_file),
            _ => None,
        }
    }

    fn why_not(&self) -> &'static str {
        match self.src.as_slice() {
            [_, _, ..] => "it has several sources",
            [one] if is_pattern(one) => "its source is a pattern",
            _ => "its source is not a plain absolute path",
        }
    }
}

/// What is sent, where to, and what home sends.
pub(super) struct Route {
    pub(super) src: Vec<String>,
    pub(super) dst: String,
    pub(super) forward: Forward,
}

/// The paths of a sync that goes `way`; `home` is the section as home resolves it. The error says what to set.
pub(super) fn route(way: &Way, home: &Params) -> Result<Route, String> {
    let forward = Forward::of(home)?;
    let mine = (own(&way.here, home, "src"), own(&way.here, home, "dst"));
    let (src, dst, own) = match (way.from, way.to, mine) {
        (Side::Source, Side::Source, _) => return Err(format!("{} is not sent: both nodes have the same copy", home.section)),
        (Side::Source, Side::Target, _) => (forward.src.clone(), forward.dst.clone(), None),
        (Side::Target, _, _) if is_pattern(&forward.dst) => return Err(told(way, home.section, "its dst looks like a pattern")),
        (Side::Target, Side::Target, (src, _)) => {
            let (from, to) = forward.sideways();
            (from, to, src.map(|s| words(&s)))
        }
        (Side::Target, Side::Source, (Some(src), Some(dst))) => (words(&src), dst, Some(words(&src))),
        (Side::Target, Side::Source, (None, None)) => match forward.back() {
            Some(shape) => (vec![shape.src(Side::Target)], shape.dst(Side::Source), None),
            None => return Err(told(way, home.section, forward.why_not())),
        },
        (Side::Target, Side::Source, (src, _)) => {
            let (is, lacks) = if src.is_some() { ("src", "dst") } else { ("dst", "src") };
            return Err(told(way, home.section, &format!("it has a {is} of its own there, but no {lacks}")));
        }
    };
    Ok(Route { src, dst, forward: Forward { own, ..forward } })
}

fn told(way: &Way, rid: &str, why: &str) -> String {
    let scope = &way.here.config.scope;
    let (from, to) = (&scope.node, &way.there.config.scope.node);
    let site = if scope.is_drp() { "drpnodes" } else { from };
    format!(
        "{rid} cannot be sent back from {from} to {to}: {why}. set src@{site} (what {from} sends) and dst@{site} (where to on {to}) in section [{rid}]"
    )
}

/// `key` as `p`'s node alone spells it: not inherited from what home reads.
pub(super) fn own(p: &Params, home: &Params, key: &str) -> Option<String> {
    let mine = p.config.entry(p.section, key).filter(|e| e.key.contains('@') && !e.value.is_empty())?;
    let theirs = home.config.entry(home.section, key);
    (theirs.map(|e| &e.key) != Some(&mine.key)).then(|| mine.value.clone())
}

fn is_scoped(p: &Params, key: &str) -> bool {
    p.config.entry(p.section, key).is_some_and(|e| e.key.contains('@'))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `-R` is among the options.
pub(super) fn relative(options: &[String]) -> bool {
    options.iter().any(|o| o == "--relative" || (o.starts_with('-') && !o.starts_with("--") && o.contains('R')))
}

/// The dst that puts `src` where it is here. rsync puts a folder named without a slash at the end *into* dst.
pub(super) fn same_place(src: &str) -> String {
    match src.rsplit_once('/') {
        Some((parent, last)) if !last.is_empty() => format!("{parent}/"),
        _ => src.to_owned(),
    }
}

fn is_file(path: &str) -> bool {
    let path = path.to_owned();
    within(LOOK, move || Path::new(&path).is_file()).unwrap_or(false)
}

#[cfg(test)]
#[path = "way_tests.rs"]
mod tests;
