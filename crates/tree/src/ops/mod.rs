//! The changes of the tree, one file each.

pub mod attribute;
pub mod create;
pub mod link;
pub mod reap;
pub mod remove;
pub mod rename;
pub mod update;
