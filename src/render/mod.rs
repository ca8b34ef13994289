//! From data to text: trees, tables, JSON, colours.

pub mod color;
pub mod diagnostics;
pub mod json;
pub mod svcmon;
pub mod tree;
pub mod where_is;
pub mod wrap;
