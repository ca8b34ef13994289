//! Tests on real nodes: machines made of namespaces, with ssh, disks and cables to cut (tests/bed/nodes.sh).
//! They need root and some seconds each, so `cargo test` leaves them out; `make test` or
//! `cargo test --test nodes` runs them.
#![allow(
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

mod smoke;
