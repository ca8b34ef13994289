//! The program dds: stores that a kernel made, stores that are made up, and the same by a naive model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    missing_docs,
    reason = "a test may panic"
)]

mod bed;
mod damage;
mod devices;
mod framed;
mod hashes;
mod inspect;
mod loops;
mod model;
mod spool;
mod vectors;
