//! The vocabulary of Ballast: the nouns that two engines, or a protocol and an engine, both speak of.
//!
//! A name is admitted here when two crates need it. Nothing here does input or output, knows a clock or
//! depends on another crate of ours. Read in this order: [`kind`], [`ino`], [`name`], [`path`], [`caller`],
//! [`error`], [`time`].

pub mod caller;
pub mod error;
pub mod ino;
pub mod kind;
pub mod name;
pub mod path;
pub mod time;

pub use caller::{Call, Caller, RequestId};
pub use error::ErrorKind;
pub use ino::Ino;
pub use kind::Kind;
pub use name::{Name, NameError};
pub use path::{PathError, TreePath};
pub use time::Timestamp;
