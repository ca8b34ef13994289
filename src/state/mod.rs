//! What is remembered on disk, and the messages nodes exchange about it.

pub mod alive;
pub mod atomic;
pub mod authority;
pub mod frozen;
pub mod gate;
pub mod history;
pub mod received;
pub mod replica;
pub mod stamp;
