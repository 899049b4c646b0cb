//! Files: POSIX semantics of content over a volume, without a kernel.
//!
//! Names, rights and attributes are the tree's; this crate keeps the bytes. A file of up to 2 KiB lives in its
//! inode. A larger one is cut into blocks of 128 KiB, each described by one row that points at payload. Writes
//! gather in memory as exact extents, and a flush turns them into payload (of the log, or of a segment when they
//! are large and sequential) and one commit of rows and inode. `fsync` is a flush and a wait for the log.
//!
//! What holds:
//! * A read sees every write that returned before it began.
//! * After a crash a file is as one of its flushes left it; every write before a returned fsync is there.
//!   The log is ordered, so an fsync also makes every earlier change of names durable.
//! * Bytes that could not be flushed stay dirty; every open handle learns of the failure once.
//! * The size and times of a dirty file are merged into its attributes by [`Files::attributes`].
//!
//! Cost: an fsync of one small write is one payload, one batch of two rows and one wait for the log.
//!
//! Reading order: [`files`] (files in use), [`handle`], `node` and `overlay` (what is not committed), `block` and
//! `descriptor` (what is), [`mod@read`], [`mod@write`], `flush`, [`space`], [`copy`], [`locks`], [`background`], [`limits`].

pub mod background;
mod block;
mod budget;
pub mod config;
pub mod copy;
mod descriptor;
mod epochs;
pub mod error;
pub mod files;
mod flush;
pub mod handle;
pub mod limits;
pub mod locks;
mod lru;
mod metrics;
mod node;
mod overlay;
pub mod read;
pub mod space;
pub mod write;

pub use config::Settings;
pub use error::{Error, Result};
pub use files::Files;
pub use handle::{Handle, Open};
