//! What can go wrong with a table or a statement.

use ballast_types::ErrorKind;
use datafusion::error::DataFusionError;
use std::sync::Arc;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Each variant is one thing that a client can tell apart; the listener gives each its SQLSTATE.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("syntax error: {0}")]
    Syntax(String),
    #[error("relation \"{0}\" does not exist")]
    UndefinedTable(String),
    #[error("column \"{0}\" does not exist")]
    UndefinedColumn(String),
    #[error("{0}")]
    UndefinedFunction(String),
    #[error("{0}")]
    UndefinedObject(String),
    #[error("prepared statement \"{0}\" does not exist")]
    UndefinedStatement(String),
    #[error("relation \"{0}\" already exists")]
    DuplicateTable(String),
    #[error("column \"{0}\" specified more than once")]
    DuplicateColumn(String),
    #[error("column reference \"{0}\" is ambiguous")]
    AmbiguousColumn(String),
    #[error("\"{0}\" is not a table")]
    NotATable(String),
    #[error("{0}")]
    TypeMismatch(String),
    #[error("invalid input syntax for type {expected}: \"{text}\"")]
    InvalidText { expected: String, text: String },
    #[error("{0}")]
    InvalidDatetime(String),
    #[error("{0} out of range")]
    OutOfRange(String),
    #[error("value too long for type character varying({0})")]
    TextTooLong(u32),
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    InvalidEncoding,
    #[error("division by zero")]
    DivisionByZero,
    #[error("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint")]
    NotNull { table: String, column: String },
    #[error("duplicate key value violates unique constraint \"{constraint}\"")]
    UniqueViolation { constraint: String, detail: String },
    #[error("ON CONFLICT DO UPDATE command cannot affect row a second time")]
    Cardinality,
    #[error("could not serialize access due to concurrent update")]
    Conflict,
    #[error("current transaction is aborted, commands ignored until end of transaction block")]
    TransactionFailed,
    #[error("{0} cannot run inside a transaction block")]
    ActiveTransaction(&'static str),
    #[error("cannot execute {0} in a read-only transaction")]
    ReadOnly(&'static str),
    #[error("{0}")]
    TooLarge(String),
    /// A statement that is too deep to be worked on.
    #[error("{0}")]
    TooComplex(String),
    #[error("{0}")]
    OutOfMemory(String),
    #[error("canceling statement due to user request")]
    Cancelled,
    #[error("canceling statement due to statement timeout")]
    StatementTimeout,
    #[error("terminating connection due to transaction timeout")]
    TransactionTimeout,
    #[error("terminating connection due to idle-in-transaction timeout")]
    IdleInTransaction,
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    InvalidName(String),
    #[error("{0}")]
    InvalidDefinition(String),
    #[error("{0}")]
    BadCopy(String),
    #[error("permission denied for table {0}")]
    Denied(String),
    /// Stored bytes of a table are not what was written.
    #[error("corrupt: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Tree(#[from] ballast_tree::Error),
    #[error(transparent)]
    Store(#[from] ballast_store::Error),
    /// The planner or an operator refused; the text is its own.
    #[error("{0}")]
    Query(String),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UndefinedTable(_)
            | Self::UndefinedColumn(_)
            | Self::UndefinedObject(_)
            | Self::UndefinedStatement(_) => ErrorKind::NotFound,
            Self::DuplicateTable(_) | Self::UniqueViolation { .. } => ErrorKind::AlreadyExists,
            Self::Conflict => ErrorKind::Conflict,
            Self::TooLarge(_) | Self::TooComplex(_) | Self::OutOfMemory(_) => ErrorKind::Exhausted,
            Self::Cancelled | Self::StatementTimeout | Self::TransactionTimeout | Self::IdleInTransaction => {
                ErrorKind::Unavailable
            }
            Self::Unsupported(_) | Self::UndefinedFunction(_) => ErrorKind::Unsupported,
            Self::Denied(_) | Self::ReadOnly(_) => ErrorKind::Denied,
            Self::Corrupt(_) => ErrorKind::Corrupt,
            Self::Tree(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Syntax(_)
            | Self::DuplicateColumn(_)
            | Self::AmbiguousColumn(_)
            | Self::NotATable(_)
            | Self::TypeMismatch(_)
            | Self::InvalidText { .. }
            | Self::InvalidDatetime(_)
            | Self::OutOfRange(_)
            | Self::TextTooLong(_)
            | Self::InvalidEncoding
            | Self::DivisionByZero
            | Self::NotNull { .. }
            | Self::Cardinality
            | Self::TransactionFailed
            | Self::ActiveTransaction(_)
            | Self::InvalidParameter(_)
            | Self::InvalidName(_)
            | Self::InvalidDefinition(_)
            | Self::BadCopy(_)
            | Self::Query(_) => ErrorKind::Invalid,
        }
    }

    /// True if the statement's future was dropped.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::StatementTimeout | Self::TransactionTimeout)
    }

    /// True if running the whole statement again may succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict | Self::Store(ballast_store::Error::Conflict))
    }
}

/// Carries one of our errors through a DataFusion plan.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// Finds our own error inside, else names the planner's by what a client can act on.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        use datafusion::common::SchemaError;
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Query(other.to_string()),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::Shared(inner) => Self::from_shared(&inner),
            DataFusionError::Collection(mut all) if !all.is_empty() => Self::from(all.swap_remove(0)),
            DataFusionError::SQL(parser, _) => Self::Syntax(parser.to_string()),
            DataFusionError::NotImplemented(text) => Self::Unsupported(text),
            DataFusionError::ResourcesExhausted(text) => Self::OutOfMemory(text),
            DataFusionError::SchemaError(schema, _) => match *schema {
                SchemaError::FieldNotFound { field, .. } => Self::UndefinedColumn(field.name.clone()),
                SchemaError::AmbiguousReference { field } => Self::AmbiguousColumn(field.name.clone()),
                other => Self::Query(other.to_string()),
            },
            DataFusionError::Plan(text) => Self::from_plan(text),
            DataFusionError::ArrowError(arrow, _) => Self::from_arrow(&arrow),
            other => Self::Query(other.strip_backtrace()),
        }
    }
}

impl Error {
    fn from_shared(error: &Arc<DataFusionError>) -> Self {
        match error.as_ref() {
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None => Self::Query(inner.to_string()),
            },
            DataFusionError::ArrowError(arrow, _) => Self::from_arrow(arrow),
            DataFusionError::ResourcesExhausted(text) => Self::OutOfMemory(text.clone()),
            DataFusionError::Shared(inner) => Self::from_shared(inner),
            DataFusionError::Context(_, inner) => Self::Query(inner.strip_backtrace()),
            other => Self::Query(other.strip_backtrace()),
        }
    }

    fn from_plan(text: String) -> Self {
        if text.starts_with("Invalid function") || text.contains("No function matches") {
            return Self::UndefinedFunction(text);
        }
        if let Some(rest) = text.strip_prefix("table '") {
            let name = rest.split('\'').next().unwrap_or(rest);
            return Self::UndefinedTable(name.rsplit('.').next().unwrap_or(name).to_owned());
        }
        if text.contains("Cannot coerce") || text.contains("Cannot infer common") || text.contains("type_coercion") {
            return Self::TypeMismatch(text);
        }
        Self::Query(text)
    }

    fn from_arrow(error: &datafusion::arrow::error::ArrowError) -> Self {
        use datafusion::arrow::error::ArrowError;
        match error {
            ArrowError::DivideByZero => Self::DivisionByZero,
            ArrowError::ArithmeticOverflow(_) => Self::OutOfRange("value".into()),
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None => match inner.downcast_ref::<DataFusionError>() {
                    Some(DataFusionError::External(own)) if own.is::<Self>() => {
                        own.downcast_ref::<Self>().cloned().unwrap_or(Self::Cancelled)
                    }
                    _ => Self::Query(inner.to_string()),
                },
            },
            ArrowError::CastError(text) => Self::InvalidText { expected: "the column".into(), text: text.clone() },
            other => Self::Query(other.to_string()),
        }
    }
}
