//! Actions on one service: which there are, what gates them, and how they are done.

pub mod authority;
pub mod call;
pub mod data;
pub mod execute;
pub mod gates;
mod ground;
pub mod handover;
pub mod passes;
pub mod plan;
pub mod select;
pub mod start;
pub mod sync;
pub mod triggers;
pub mod written;

use crate::sync::Share;
use chrono::{DateTime, Local};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an action is about: decides its gates and its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Looks only. No lock, done on a frozen service.
    View,
    /// Edits the service file. Locked, done on a frozen service.
    Config,
    /// Starts and stops. Locked, refused on a frozen service or one a cluster manager drives.
    Run,
    /// Copies. Locked, refused on a frozen service.
    Sync,
    /// Freeze and thaw. No lock.
    Freeze,
    /// Answers a peer. No lock, no gate: it has its own.
    Peer,
}

/// One action: its names, its class, a line of help.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// The action.
    pub id: Id,
    /// Words joined by `_`: `print_status`.
    pub name: &'static str,
    /// Other spellings, joined the same way.
    pub aliases: &'static [&'static str],
    /// Its class.
    pub class: Class,
    /// One line of help.
    pub help: &'static str,
}

/// All actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // ACTIONS has a line for each
pub enum Id {
    PrintStatus,
    Where,
    JsonStatus,
    Status,
    Start,
    Stop,
    Restart,
    Boot,
    Shutdown,
    StartStandby,
    Switch,
    Takeover,
    Giveback,
    StartGroup(Group),
    StopGroup(Group),
    SyncNodes,
    SyncDrp,
    SyncAll,
    SyncUpdate,
    SyncFull,
    SyncResync,
    SyncVerify,
    PreSync,
    PostSync,
    Freeze,
    Thaw,
    Frozen,
    Validate,
    PrintConfig,
    EditConfig,
    JsonEnv,
    PrintEnvMtime,
    PrintDevlist,
    JsonDevlist,
    PrintDisklist,
    JsonDisklist,
    Get,
    Set,
    Unset,
    Enable,
    Disable,
    Create,
    Update,
    Delete,
    Install,
    ResourceMonitor,
    Docker,
    Gate,
    Recv,
    Handover,
    Prepare,
    Gone,
}

/// The parts of a service a group action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // as named in ACTIONS
pub enum Group {
    Ip,
    Disk,
    Vg,
    Loop,
    Pool,
    Fs,
    Share,
    Container,
    App,
}

const fn row(id: Id, name: &'static str, aliases: &'static [&'static str], class: Class, help: &'static str) -> Info {
    Info { id, name, aliases, class, help }
}

/// Every action there is, in the order of the help.
pub const ACTIONS: &[Info] = &[
    row(Id::PrintStatus, "print_status", &[], Class::View, "the status tree"),
    row(Id::JsonStatus, "json_status", &[], Class::View, "the status as one line of JSON"),
    row(Id::Status, "status", &[], Class::View, "prints nothing, exits with 0 up, 1 down, 2 warn, 3 n/a, 6 or 7 stdby"),
    row(Id::Where, "where", &[], Class::View, "who has which data: a line for each copy and node, and what to type"),
    row(Id::Start, "start", &[], Class::Run, "start everything: ip, disk, fs, share, container, app"),
    row(Id::Stop, "stop", &[], Class::Run, "stop everything, in the other order"),
    row(Id::Restart, "restart", &[], Class::Run, "stop, then start"),
    row(Id::Switch, "switch", &[], Class::Run, "stop here, start on --to NODE of the same site"),
    row(Id::Takeover, "takeover", &[], Class::Run, "start here what runs on another copy: stopped there, last writes sent, nothing lost"),
    row(Id::Giveback, "giveback", &[], Class::Run, "return home: sent there while it runs here, one short stop, started there"),
    row(Id::Boot, "boot", &[], Class::Run, "for init scripts: start on an autostart node, else startstandby"),
    row(Id::Shutdown, "shutdown", &[], Class::Run, "for init scripts: stop, standby resources too"),
    row(Id::StartStandby, "startstandby", &[], Class::Run, "start what is always on here"),
    row(Id::StartGroup(Group::Ip), "startip", &[], Class::Run, "start the addresses"),
    row(Id::StopGroup(Group::Ip), "stopip", &[], Class::Run, "stop the addresses"),
    row(Id::StartGroup(Group::Disk), "startdisk", &[], Class::Run, "start the disks: loop, vg"),
    row(Id::StopGroup(Group::Disk), "stopdisk", &[], Class::Run, "stop the disks"),
    row(Id::StartGroup(Group::Vg), "startvg", &[], Class::Run, "start the volume groups"),
    row(Id::StopGroup(Group::Vg), "stopvg", &[], Class::Run, "stop the volume groups"),
    row(Id::StartGroup(Group::Loop), "startloop", &[], Class::Run, "start the loop devices"),
    row(Id::StopGroup(Group::Loop), "stoploop", &[], Class::Run, "stop the loop devices"),
    row(Id::StartGroup(Group::Pool), "startpool", &[], Class::Run, "start the pools"),
    row(Id::StopGroup(Group::Pool), "stoppool", &[], Class::Run, "stop the pools"),
    row(Id::StartGroup(Group::Fs), "startfs", &["mount"], Class::Run, "start the disks and filesystems"),
    row(Id::StopGroup(Group::Fs), "stopfs", &["umount"], Class::Run, "stop the filesystems and disks"),
    row(Id::StartGroup(Group::Share), "startshare", &[], Class::Run, "start the shares"),
    row(Id::StopGroup(Group::Share), "stopshare", &[], Class::Run, "stop the shares"),
    row(Id::StartGroup(Group::Container), "startcontainer", &[], Class::Run, "start the containers"),
    row(Id::StopGroup(Group::Container), "stopcontainer", &[], Class::Run, "stop the containers"),
    row(Id::StartGroup(Group::App), "startapp", &[], Class::Run, "start the launchers"),
    row(Id::StopGroup(Group::App), "stopapp", &[], Class::Run, "stop the launchers"),
    row(Id::SyncNodes, "sync_nodes", &["syncnodes"], Class::Sync, "copy data and the service's own files to the other nodes of this site"),
    row(Id::SyncDrp, "sync_drp", &["syncdrp"], Class::Sync, "copy data and the service's own files to the recovery site"),
    row(Id::SyncAll, "sync_all", &["syncall"], Class::Sync, "sync nodes, then sync drp"),
    row(
        Id::SyncUpdate,
        "sync_update",
        &["syncupdate"],
        Class::Sync,
        "copy data that have changed to all targets (--force: now, not at night)",
    ),
    row(
        Id::SyncFull,
        "sync_full",
        &["syncfullsync", "sync_full_sync", "syncfull"],
        Class::Sync,
        "copy all data to all targets, whatever the schedule",
    ),
    row(
        Id::SyncResync,
        "sync_resync",
        &["syncresync", "resync"],
        Class::Sync,
        "mend a broken replication: only what differs is sent (dds)",
    ),
    row(
        Id::SyncVerify,
        "sync_verify",
        &["syncverify"],
        Class::Sync,
        "compare the copies, sending no data; --content: what is in the files, too",
    ),
    row(Id::PreSync, "presync", &[], Class::Sync, "for svcmgr itself: before a sync"),
    row(Id::PostSync, "postsync", &[], Class::Sync, "for svcmgr itself: after a sync, on the target"),
    row(Id::Freeze, "freeze", &[], Class::Freeze, "forbid actions on the service on this node"),
    row(Id::Thaw, "thaw", &["unfreeze"], Class::Freeze, "allow them again"),
    row(Id::Frozen, "frozen", &[], Class::View, "exit status 1 if the service or the node is frozen"),
    row(Id::Validate, "validate", &[], Class::View, "check the service file: every error and warning with its place"),
    row(Id::PrintConfig, "print_config", &[], Class::View, "the settings as this node sees them, or --impersonate NODE"),
    row(Id::JsonEnv, "json_env", &[], Class::View, "the service file as one line of JSON"),
    row(Id::PrintEnvMtime, "print_env_mtime", &[], Class::View, "when the service file was last changed, seconds"),
    row(Id::EditConfig, "edit_config", &["edit"], Class::Config, "edit the service file; checked before it replaces the old one"),
    row(Id::Get, "get", &[], Class::View, "print --param SECTION.KEYWORD"),
    row(Id::Set, "set", &[], Class::Config, "set --param SECTION.KEYWORD to --value VALUE"),
    row(Id::Unset, "unset", &[], Class::Config, "remove --param SECTION.KEYWORD"),
    row(Id::Enable, "enable", &[], Class::Config, "enable the service, or --rid RID,…"),
    row(Id::Disable, "disable", &[], Class::Config, "disable the service, or --rid RID,…"),
    row(Id::Create, "create", &[], Class::Config, "make a service of --resource JSON …"),
    row(Id::Update, "update", &[], Class::Config, "add --resource JSON … to a service"),
    row(Id::Delete, "delete", &[], Class::Config, "remove --rid RID,… from the service file"),
    row(Id::Install, "install", &[], Class::Config, "make a service of --envfile FILE"),
    row(Id::PrintDevlist, "print_devlist", &[], Class::View, "block devices of the service"),
    row(Id::JsonDevlist, "json_devlist", &[], Class::View, "the same as JSON"),
    row(Id::PrintDisklist, "print_disklist", &[], Class::View, "disks below them"),
    row(Id::JsonDisklist, "json_disklist", &[], Class::View, "the same as JSON"),
    row(Id::ResourceMonitor, "resource_monitor", &[], Class::Run, "restart monitored resources that are down"),
    row(Id::Docker, "docker", &[], Class::View, "docker client of the service's own daemon"),
    row(Id::Gate, "gate", &[], Class::Peer, "for svcmgr itself: may a peer send to this node?"),
    row(Id::Recv, "recv", &[], Class::Peer, "for svcmgr itself: receive what a peer sends"),
    row(Id::Handover, "handover", &[], Class::Run, "for svcmgr itself: stop here, send the last writes to --to NODE, give authority away"),
    row(Id::Prepare, "prepare", &[], Class::Run, "for svcmgr itself: make ready to receive the data of the holder"),
    row(
        Id::Gone,
        "push",
        &[
            "push_appinfo",
            "printsvc",
            "prstart",
            "prstop",
            "prstatus",
            "migrate",
            "stonith",
            "provision",
            "syncresume",
            "syncquiesce",
            "syncbreak",
            "syncsplit",
            "syncestablish",
            "syncrevert",
            "compliance_auto",
            "compliance_check",
            "compliance_fix",
        ],
        Class::View,
        "(2014 actions that are not carried over: they say so and exit 1)",
    ),
];

/// The action that `words` (joined by `_`) name.
pub fn find(words: &str) -> Option<&'static Info> {
    ACTIONS.iter().find(|a| a.name == words || a.aliases.contains(&words))
}

/// What the command line asked of the action.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--rid`, split at commas.
    pub rids: Vec<String>,
    /// `--tags`, split at commas.
    pub tags: Vec<String>,
    /// `--force`.
    pub force: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `--disable-rollback`.
    pub disable_rollback: bool,
    /// `--ignore-affinity`.
    pub ignore_affinity: bool,
    /// `--cluster`, or called as NAME.cluster.
    pub cluster: bool,
    /// `--content`: of `sync verify`.
    pub content: Option<Share>,
    /// `--cron`: by schedule, less talk.
    pub cron: bool,
    /// How long the lock is waited for.
    pub waitlock: Duration,
    /// `--to`.
    pub to: Option<String>,
    /// A terminal is watching stderr: live progress may be shown.
    pub live: bool,
    /// `--abandon`: the node whose writes are given up.
    pub abandon: Option<String>,
    /// `--from`: of `prepare`, the node that will send.
    pub from: Option<String>,
    /// `--clock`: of `prepare`, that node's time.
    pub clock: Option<DateTime<Local>>,
    /// `--undo` of `prepare`.
    pub undo: bool,
    /// Of a command on several services: asked before authority is taken from a node that does not answer.
    pub consent: Option<Arc<Consent>>,
}

/// Told who is silent; true: they may be taken over from.
pub type Ask = Box<dyn Fn(&[String]) -> bool + Send + Sync>;

/// Consent to take services over from nodes that do not answer: given on the command line, or asked for once.
pub struct Consent {
    /// `--yes`.
    pub yes: bool,
    /// `--from NODE|SITE`.
    pub from: Option<String>,
    /// Asks on the terminal, if there is one.
    pub ask: Ask,
    /// What was answered.
    pub answer: Mutex<Option<bool>>,
}

impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Consent").field("yes", &self.yes).field("from", &self.from).finish_non_exhaustive()
    }
}

impl Consent {
    /// The service of `here` may be taken over from `silent`.
    pub fn given(&self, here: &crate::authority::Here, silent: &[String]) -> bool {
        let named = |from: &String| {
            let copies = &here.copies;
            silent
                .iter()
                .all(|n| n.eq_ignore_ascii_case(from) || copies.of_node(n).is_some_and(|c| c.name == *from) || is_site(here, n, from))
        };
        if self.yes || self.from.as_ref().is_some_and(named) {
            return true;
        }
        if self.from.is_some() {
            return false;
        }
        let Ok(mut answer) = self.answer.lock() else { return false };
        *answer.get_or_insert_with(|| (self.ask)(silent))
    }
}

fn is_site(here: &crate::authority::Here, node: &str, from: &str) -> bool {
    match from {
        "nodes" => here.home_site.iter().any(|n| n == node),
        "drpnodes" => !here.home_site.iter().any(|n| n == node),
        _ => false,
    }
}
