//! Tables: schemas, rows, transactions and SQL, without a wire protocol.
//!
//! A table is an inode of the tree. Its rows are rows of the volume: the primary key in the key, so that they
//! lie in its order, the other columns in the value. A listener opens a [`Session`] per connection, prepares
//! statements and streams answers; everything else is behind it.
//!
//! Reading order: [`types`] and [`value`] (what a column holds), [`schema`] (what a table is), [`keys`] (what
//! lies in the volume), `table`, `locks` and `changes` (how rows are written), [`tables`] (the engine),
//! `portion` and `transaction` (how they are read together), [`session`] (what a client does), [`sql`] (from text
//! to plan), `metrics`, [`limits`].
//!
//! Invariants: no write goes through DataFusion. A statement's rows are written together or not at all. What a
//! client was told is durable. Every write of a row holds its key's lock while it commits.

mod changes;
pub mod error;
pub mod keys;
pub mod limits;
mod locks;
mod metrics;
mod portion;
pub mod schema;
pub mod session;
pub mod sql;
mod table;
pub mod tables;
mod transaction;
pub mod types;
pub mod value;

pub use error::{Error, Result};
pub use session::{Answer, Prepared, Rows, Session, Status, Tag};
pub use sql::catalog::{type_modifier, type_oid};
pub use sql::plan::OutputColumn;
pub use tables::{Measured, Settings, Tables};
pub use types::Type;
pub use value::{Row, Value};
