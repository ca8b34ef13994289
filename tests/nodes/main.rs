//! Tests on real nodes: machines made of namespaces, with ssh, disks and cables to cut (tests/bed/nodes.sh).
//! They need root and some seconds each, so `cargo test` leaves them out; `make test` or
//! `cargo test --test nodes` runs them.
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic, and runs commands of its own"
)]

#[path = "../bed/nodes.rs"]
mod bed;

mod abandon;
mod bench_replicas;
mod btrfs;
mod btrfs_content;
mod btrfs_edges;
mod btrfs_faults;
mod btrfs_keeps;
mod btrfs_mounts;
mod bulk;
mod clean;
mod copies;
mod damage;
mod danger;
mod dds_target;
mod dead_peers;
mod docker;
mod docker_daemons;
mod dst_snap;
mod engine;
mod failover;
mod faults;
mod handed;
mod handover;
mod images;
mod in_flight;
mod many;
mod micro;
mod old_primary;
mod own_files;
mod prepared;
mod resources;
mod rounds;
mod smoke;
mod steps;
mod story;
mod strangers;
mod sync;
mod takeover;
mod tutorial;
mod where_is;
mod wire_cut;
mod writer;
mod zfs;
mod zfs_dies;
mod zfs_faults;
mod zfs_mended;
mod zfs_pool;
mod zfs_table;
mod zfs_wire;

/// Compares a text with `/snapshots/nodes__NAME.snap`.
fn snapshot(name: &str, text: &str) {
    // on a busy machine a peer may take more than a second
    let text: String = text.split_inclusive('\n').filter(|l| !(l.contains("waiting for ") && l.contains(" to answer, "))).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");
    insta::with_settings!({snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(format!("nodes__{name}"), text);
    });
}
