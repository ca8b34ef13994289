//! What is remembered on disk, and the messages nodes exchange about it.

pub mod atomic;
pub mod frozen;
pub mod gate;
pub mod history;
pub mod stamp;
