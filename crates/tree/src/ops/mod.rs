//! The changes of the tree, one file each; and the one read that is more than a look into the cache.

pub mod attribute;
pub mod create;
pub mod link;
pub mod list;
pub mod reap;
pub mod remove;
pub mod rename;
pub mod update;
