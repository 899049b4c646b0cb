//! Tests of the tree on a volume in memory.

mod operations;
mod support;
