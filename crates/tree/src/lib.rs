//! Names: the directories and inodes of one volume, for every kind alike.
//!
//! Files, tables and streams are inodes. They are made, listed, renamed and removed here, by the same code
//! under the same rules, whoever asks. An engine adds its own rows to the batch that makes an inode, and
//! removes its content when the inode is gone ([`Content`]). The content of a kind is none of our business.

pub mod access;
pub mod error;
pub mod inode;
pub mod tree;

pub use error::{Error, Result};
pub use inode::{Entry, Inode, NewInode, Rename, SetAttributes, SetTime};
pub use tree::{Content, Tree};
