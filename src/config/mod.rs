//! Reading configuration: env files (lossless), this node's view of them, keyword types, node.conf.

pub mod edit;
pub mod env;
pub mod keyword;
pub mod nodeconf;
pub mod scope;
pub mod value;
