//! What peers ask of this node: may they send to it, and the receiving end of what they send.

mod advice;
pub mod common;
pub mod gate;
pub mod giveback;
mod images;
mod own_files;
mod receipt;
pub mod recv;
pub mod takeover;
pub mod where_is;
