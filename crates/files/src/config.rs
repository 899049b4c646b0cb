//! Settings of the engine.

use crate::limits;

/// Budgets that a server shares out over its volumes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes that were written to files and are not committed yet; writers wait above it.
    pub dirty_bytes_max: usize,
    /// Bytes of clean content in memory.
    pub content_cache_bytes: usize,
    /// Bytes of block rows in memory.
    pub row_cache_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dirty_bytes_max: limits::DIRTY_BYTES_MAX,
            content_cache_bytes: limits::CONTENT_CACHE_BYTES,
            row_cache_bytes: limits::ROW_CACHE_BYTES,
        }
    }
}
