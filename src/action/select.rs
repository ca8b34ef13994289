//! Which resources `--rid` and `--tags` select. A word that selects nothing is an error, never "no filter".

use super::Options;
use crate::error::{Error, Result};
use crate::service::{Res, Service};

/// The resources an action is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection(Option<Vec<String>>);

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self(None)
    }

    /// These alone.
    pub fn only(rids: Vec<String>) -> Self {
        Self(Some(rids))
    }

    /// Resolves the words of the command line.
    pub fn of(service: &Service, options: &Options) -> Result<Self> {
        if options.rids.is_empty() && options.tags.is_empty() {
            return Ok(Self::all());
        }
        let mut rids = Vec::new();
        for word in &options.rids {
            let found = matching(service, |r| if word.contains('#') { r.rid == *word } else { is_kind(r, word) });
            if found.is_empty() {
                let all: Vec<&str> = service.resources.iter().map(|r| r.rid.as_str()).collect();
                return Err(Error::text(format!("no resource {word} in service {}. it has: {}", service.name, all.join(", "))));
            }
            rids.extend(found);
        }
        for tag in &options.tags {
            let found = matching(service, |r| r.tags.contains(tag));
            if found.is_empty() {
                return Err(Error::text(format!("no resource of service {} has tag {tag}. {}", service.name, known_tags(service))));
            }
            rids.extend(found);
        }
        Ok(Self(Some(rids)))
    }

    /// The resource is selected.
    pub fn has(&self, rid: &str) -> bool {
        self.0.as_ref().is_none_or(|rids| rids.iter().any(|r| r == rid))
    }

    /// The whole service is.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }
}

fn is_kind(res: &Res, word: &str) -> bool {
    crate::rid::split(&res.rid).0.eq_ignore_ascii_case(word)
}

fn matching(service: &Service, want: impl Fn(&Res) -> bool) -> Vec<String> {
    service.resources.iter().filter(|r| want(r)).map(|r| r.rid.clone()).collect()
}

fn known_tags(service: &Service) -> String {
    let mut tags: Vec<&str> = service.resources.iter().flat_map(|r| r.tags.iter().map(String::as_str)).collect();
    tags.sort_unstable();
    tags.dedup();
    if tags.is_empty() { "there are no tags".into() } else { format!("there are: {}", tags.join(", ")) }
}
