//! svcmgr: an OpenSVC-compatible service manager for disaster recovery.
//!
//! One folder a floor; a folder imports only from the floors below it (`tests/floors.rs` holds this):
//!
//! ```text
//! 8  bin, cli                           speak to the user
//! 7  bulk, dr, render                   many services | gate server | data -> text
//! 6  action                             decide (pure plan), then do
//! 5  service                            config + drivers = what is there; status; validate
//! 4  sync                               things that copy
//! 3  resource                           things that start and stop
//! 2  host | authority                   all that a driver may touch | who may write and send
//! 1  config | cmd | report | state      reading | doing | how it stands | what is remembered
//! 0  error, status, clock, rid, log     words
//! ```
//!
//! `dds` is the other program, an island: nothing of it is imported by the rest, and it imports nothing.

pub mod clock;
pub mod error;
pub mod log;
pub mod rid;
pub mod status;
#[cfg(debug_assertions)]
pub mod steps;

pub mod cmd;
pub mod config;
pub mod report;
pub mod state;

pub mod authority;
pub mod host;

pub mod resource;

pub mod sync;

pub mod service;

pub mod action;

pub mod bulk;
pub mod dr;
pub mod render;

pub mod cli;

pub mod dds;
