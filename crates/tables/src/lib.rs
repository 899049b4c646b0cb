//! Tables: schemas, rows, transactions and SQL, without a wire protocol.

pub mod error;
pub mod keys;
pub mod limits;
pub mod schema;
pub mod types;
pub mod value;

pub use error::{Error, Result};
pub use types::Type;
pub use value::{Row, Value};
