//! Names: the directories and inodes of one volume, for every kind alike.
//!
//! Files, tables and streams are inodes. They are made, listed, renamed and removed here, by the same code
//! under the same rules, whoever asks. An engine adds its own rows to the batch that makes an inode, and
//! removes its content when the inode is gone ([`Content`]). The content of a kind is none of our business.
//!
//! Reading order: [`inode`] (the nouns), [`tree`] (what can be done with them), [`access`] (who may), `edit`
//! (how a change is made: locks, batch, commit, caches), `ops` (the changes, one file each), `cache`, [`keys`]
//! (the rows), [`change`] (news for subscribers), [`view`] (the tree of a snapshot),
//! [`check`](mod@check) (what must hold), [`limits`].

pub mod access;
mod cache;
pub mod change;
pub mod check;
mod edit;
pub mod error;
pub mod inode;
pub mod keys;
pub mod limits;
mod locks;
mod numbers;
mod ops;
mod pins;
mod renames;
mod rows;
mod touched;
pub mod tree;
pub mod view;

pub use access::Access;
pub use cache::CacheStats;
pub use change::{Change, Changes, News, Wants, What};
pub use check::check;
pub use error::{Error, Result};
pub use inode::{Entry, Inode, NewInode, Rename, SetAttributes, SetTime};
pub use pins::Pin;
pub use tree::{Config, Content, Tree};
pub use view::TreeView;
