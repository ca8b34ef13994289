//! What belongs to a dds section on a node: its files, and the program that does the work.

use super::chain::{Chain, Id};
use crate::error::{Error, Result};
use crate::host::{Cx, Host};
use crate::state::authority::{read_json, write_json};
use crate::state::{atomic, stamp};
use chrono::{DateTime, Local};
use std::path::{Path, PathBuf};

/// The files of one section here.
pub(super) struct Files<'a>(pub(super) &'a Cx<'a>);

impl Files<'_> {
    fn path(&self, what: &str) -> PathBuf {
        self.0.host.paths.service_var(self.0.service).join(format!("{}.{what}", self.0.rid))
    }

    /// Where the chain is kept.
    pub(super) fn record(&self) -> PathBuf {
        self.path("chain.json")
    }

    /// What the chain says of this node, as far as it can be read: what is lost is compared anew.
    pub(super) fn chain(&self) -> Chain {
        let read = read_json::<Chain>(&self.record());
        if let Some(why) = read.fault() {
            self.0.log.warning(format!("{why}: what was to be sent by lists of changes is found by comparing"));
        }
        let node = &self.0.host.node;
        read.known().filter(|chain| chain.node == *node).cloned().unwrap_or_else(|| Chain::new(node))
    }

    /// How far the peers were compared.
    pub(super) fn scrub(&self) -> PathBuf {
        self.path("scrub.json")
    }

    /// There is one.
    pub(super) fn has_chain(&self) -> bool {
        self.record().exists()
    }

    /// The list of what `peer` is behind.
    pub(super) fn behind(&self, peer: &str) -> PathBuf {
        self.path(&format!("behind.{peer}"))
    }

    /// A list that is needed for a moment.
    pub(super) fn passing(&self, what: &str, peer: &str) -> PathBuf {
        self.path(&format!("{what}.{peer}"))
    }

    /// Puts the chain on the disk, then removes the lists that it does not name.
    pub(super) fn save(&self, chain: &Chain) -> Result<()> {
        write_json(&self.record(), chain)?;
        for (peer, _) in chain.peers.iter().filter(|(_, reach)| !reach.listed) {
            _ = std::fs::remove_file(self.behind(peer)); // of no use, and no harm
        }
        Ok(())
    }

    /// Nothing is known any more.
    pub(super) fn forget(&self) -> Result<()> {
        for peer in self.chain().peers.keys() {
            _ = std::fs::remove_file(self.behind(peer));
        }
        remove(&self.record())
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The file of 2014 that tells when the image here was frozen, and its id.
pub(super) fn state_file(host: &Host, service: &str, rid: &str) -> PathBuf {
    host.paths.var.join(format!("{service}_{rid}_dds_state"))
}

/// The state file of 2014: when the base was frozen, and its name.
pub(super) fn write_state(cx: &Cx, id: &Id, at: DateTime<Local>) -> Result<()> {
    atomic::write(&state_file(cx.host, cx.service, cx.rid), format!("{};{id}\n", stamp::format(at)).as_bytes())?;
    cx.log.info(format!("update state file with snap uuid {id}"));
    Ok(())
}

/// The program dds: beside this one, else in PATH.
pub(super) fn program(host: &Host) -> std::result::Result<String, String> {
    let beside = host.paths.program.parent().map(|folder| folder.join("dds")).filter(|p| p.is_file());
    let found = beside.or_else(|| which::which("dds").ok());
    found.map(|p| p.display().to_string()).ok_or_else(|| {
        format!(
            "the program dds is not there, neither beside {} nor in PATH. it comes with svcmgr: install both on {}",
            host.paths.program.display(),
            host.node
        )
    })
}
