//! The driver tables: one row a driver. Adding a driver is a row here and a file in `resource` or `sync`.

use crate::config::keyword::{
    Keyword,
    Type::{Bool, Choice, Command, Duration, Int, Json, Text, Words},
};
use crate::resource::{self, Driver};
use crate::sync;

/// What starts and stops.
pub const RESOURCES: &[Driver] = &[
    resource::docker::DRIVER,
    resource::hb::OPENHA,
    resource::hb::LINUXHA,
    resource::ip::DRIVER,
    resource::loopdev::DRIVER,
    resource::vg::DRIVER,
    resource::pool::DRIVER,
    resource::fs::DRIVER,
    resource::zfs::DRIVER,
    resource::app::DRIVER,
];

/// What copies.
pub const SYNCS: &[sync::Driver] = &[sync::rsync::DRIVER, sync::dds::DRIVER, sync::zfs::DRIVER, sync::btrfs::DRIVER, sync::docker::DRIVER];

/// Sync types of 2014 for storage arrays: not carried over.
pub const ARRAY_SYNCS: [&str; 11] =
    ["netapp", "nexenta", "symclone", "symsrdfs", "hp3par", "ibmdssnap", "evasnap", "necismsnap", "dcssnap", "dcsckpt", "zfssnap"];

/// The driver of a resource section: by kind and `type` (matched in lower case; container types as written).
pub fn resource(kind: &str, ty: &str) -> Option<&'static Driver> {
    let of_kind = || RESOURCES.iter().filter(|d| d.kind == kind);
    let ty = if kind == "container" { ty.to_owned() } else { ty.to_ascii_lowercase() };
    of_kind().find(|d| d.types.contains(&ty.as_str())).or_else(|| of_kind().find(|d| d.types.is_empty() || (kind == "vg" && ty.is_empty())))
}

/// The driver of a sync section; no type is rsync.
pub fn sync(ty: &str) -> Option<&'static sync::Driver> {
    SYNCS.iter().find(|d| d.types.contains(&if ty.is_empty() { "rsync" } else { ty }))
}

/// Keywords of `[DEFAULT]` that are about the service. Every other keyword there is inherited by each section.
pub const SERVICE: &[Keyword] = &[
    Keyword::new("service_type", Choice(&super::SERVICE_TYPES), "environment of the service").required().unscoped().example("TST"),
    Keyword::new("nodes", Words, "nodes of the primary site").required().example("deb1"),
    Keyword::new("drpnodes", Words, "nodes of the recovery site").example("deb2"),
    Keyword::new("drpnode", Words, "added to drpnodes").deprecated("drpnodes"),
    Keyword::new("encapnodes", Words, "guests in which the encapsulated part runs"),
    Keyword::new("autostart_node", Words, "nodes that start it at boot").example("deb1"),
    Keyword::new("mode", Choice(&["hosted", "sg", "rhcs", "vcs"]), "who drives the resources").default("hosted"),
    Keyword::new("pkg_name", Text, "package name, for modes other than hosted").unscoped(),
    Keyword::new("app", Text, "code of ownership; informational").unscoped(),
    Keyword::new("comment", Text, "informational").unscoped(),
    Keyword::new("cluster_type", Choice(&["failover", "flex", "autoflex"]), "one node runs it, or several").default("failover"),
    Keyword::new("flex_primary", Text, "the flex node that sends syncs"),
    Keyword::new("drp_flex_primary", Text, "the same on the recovery site"),
    Keyword::new("flex_min_nodes", Int, "nodes that have to run it").default("1"),
    Keyword::new("flex_max_nodes", Int, "nodes that may run it"),
    Keyword::new("flex_cpu_low_threshold", Int, "percent").default("10"),
    Keyword::new("flex_cpu_high_threshold", Int, "percent").default("90"),
    Keyword::new("copies", Choice(&["node", "site"]), "how often the data exist: once a node or once a site; default: by the syncs")
        .unscoped(),
    Keyword::new("boot_wait", Duration(&[]), "how long a boot here waits for an answer of a node with another copy of the data")
        .default("2m")
        .unscoped(),
    Keyword::new(
        "boot_alone",
        Duration(&["always", "never"]),
        "how long this node may have been down and still start at boot though nobody answers",
    )
    .default("15m")
    .unscoped(),
    Keyword::new("anti_affinity", Words, "services that must be down here when this one starts"),
    Keyword::new("drp_type", Text, "informational").unscoped(),
    Keyword::new("drnoaction", Bool, "informational").default("false").unscoped(),
    Keyword::new("cluster", Text, "informational").unscoped(),
    Keyword::new("monitor_action", Choice(&["reboot", "crash", "freezestop"]), "what to do when a monitored resource fails").unscoped(),
    Keyword::new("presnap_trigger", Command, "run before the snapshots of a sync; a failure stops it").unscoped(),
    Keyword::new("postsnap_trigger", Command, "run after the snapshots of a sync; a failure stops it").unscoped(),
    Keyword::new("bwlimit", Int, "KB/s, default of every sync").unscoped(),
    Keyword::new("scsireserv", Bool, "SCSI-3 reservation of the disks").default("false"),
    Keyword::new("no_preempt_abort", Bool, "preempt without abort").default("false"),
    Keyword::new("containerize", Bool, "accepted, unused").default("true"),
    Keyword::new("container_cpus", Text, "accepted, unused"),
    Keyword::new("container_cpu_shares", Text, "accepted, unused"),
    Keyword::new("container_mems", Text, "accepted, unused"),
    Keyword::new("container_mem_limit", Text, "accepted, unused"),
    Keyword::new("container_vmem_limit", Text, "accepted, unused"),
    Keyword::new("docker_data_dir", Text, "data folder of the service's docker daemon"),
    Keyword::new("docker_daemon_args", Words, "more arguments of the service's docker daemon"),
];

/// Keywords of `[subset#TYPE:NAME]`.
pub const SUBSET: &[Keyword] = &[Keyword::new("parallel", Bool, "run the members at the same time").default("false")];

/// Keywords of `[sync]`: the schedule of the internal syncs.
pub const INTERNAL_SCHEDULE: &[Keyword] = &[
    Keyword::new("sync_max_delay", Int, "minutes after which the copy is late").default("1500").unscoped(),
    Keyword::new("sync_interval", Int, "minutes between two runs by schedule; 0: never").default("121").unscoped(),
    Keyword::new("sync_min_delay", Int, "minutes").deprecated("sync_interval").unscoped(),
    Keyword::new("sync_period", Json, "window: [\"HH:MM\",\"HH:MM\"] or a list of them").default("[\"03:59\",\"05:59\"]").unscoped(),
    Keyword::new("sync_days", Json, "days: [\"monday\",…]").unscoped(),
];
