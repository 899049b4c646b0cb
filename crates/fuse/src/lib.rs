//! The mount: FUSE to tree and files.
//!
//! The kernel's requests arrive on a few session threads. One that asks becomes a future that is polled once right there:
//! when all it needs is cached, the answer is sent without a hop. Else, and if it changes something, it is a task, so that
//! a session thread never waits for the volume or for a lock. Nothing is kept here but tables of open handles, of
//! directories that were removed in use, and of the numbers of virtual children: what a mount shows is the tree's and
//! the files' alone.
//!
//! The kernel checks mode bits from the attributes we give it (`default_permissions`), with all groups of the caller;
//! the tree checks again. There is no writeback cache: every write(2) reaches the daemon before it returns.
//! Locks are the kernel's own, which is right while a volume has one mount.
//!
//! Streams and tables show as directories with a few virtual children ([`Virtual`]).
//!
//! Reading order: [`mount`], `fs` (requests to futures), `ops` (what each request does), [`errno`], `attributes`,
//! `handles`, [`virtuals`], `news`, `teller` and `alone` (what changed through other protocols), `stale` and `replace`
//! (what a killed server left), [`limits`].

mod alone;
mod attributes;
pub mod config;
pub mod errno;
pub mod error;
mod fs;
mod handles;
pub mod limits;
pub mod mount;
mod news;
mod ops;
mod replace;
mod stale;
mod teller;
pub mod virtuals;
mod who;

pub use config::Settings;
pub use error::{Error, Result};
pub use mount::{Mount, mount};
pub use virtuals::{NoVirtuals, Virtual, VirtualEntry, VirtualFile};
