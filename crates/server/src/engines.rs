//! The engines over one tree, made in one place with one budget.
//!
//! Memory is bounded by the sum of what stands in [`Budget`]; each engine waits or evicts at its share.

use crate::Components;
use ballast_files::Files;
use ballast_streams::Streams;
use ballast_tables::Tables;
use ballast_tree::Tree;
use std::sync::Arc;

/// How a server's memory is shared out. The index's caches have a limit of their own in `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Content and rows of files that are kept because they may be read again.
    pub files_cache_bytes: usize,
    /// Bytes that were written to files and not yet to the log: writers wait above it.
    pub files_dirty_bytes: usize,
    /// The newest records of all streams, from which readers at the end are served.
    pub streams_tail_bytes: usize,
    /// What queries share for sorts, joins and groups.
    pub tables_query_bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            files_cache_bytes: 192 << 20,
            files_dirty_bytes: 64 << 20,
            streams_tail_bytes: 64 << 20,
            tables_query_bytes: 256 << 20,
        }
    }
}

/// The engines of one volume. Clones share them.
#[derive(Clone)]
pub struct Engines {
    pub tree: Tree,
    pub files: Files,
    pub streams: Streams,
    pub tables: Tables,
}

impl Engines {
    pub fn new(tree: Tree, components: &Components, budget: Budget) -> anyhow::Result<Self> {
        let (volume, clock) = (tree.volume(), &components.clock);
        let settings = ballast_files::Settings {
            dirty_bytes_max: budget.files_dirty_bytes,
            // Rows are some hundred bytes for each 128 KiB or so of content.
            content_cache_bytes: budget.files_cache_bytes / 4 * 3,
            row_cache_bytes: budget.files_cache_bytes / 4,
        };
        let files = Files::new(Arc::clone(volume), tree.clone(), Arc::clone(clock), &settings);
        files.register_metrics(&components.metrics);
        let config = ballast_streams::Config { tail_bytes: budget.streams_tail_bytes, ..Default::default() };
        let streams =
            Streams::new(Arc::clone(volume), tree.clone(), Arc::clone(clock), components.random.clone(), config);
        streams.register_metrics(&components.metrics);
        let settings = ballast_tables::Settings { query_memory_bytes: budget.tables_query_bytes, ..Default::default() };
        let (volume, random) = (Arc::clone(volume), components.random.clone());
        let tables = Tables::new(volume, tree.clone(), Arc::clone(clock), random, settings)?;
        tables.register_metrics(&components.metrics);
        Ok(Self { tree, files, streams, tables })
    }
}
