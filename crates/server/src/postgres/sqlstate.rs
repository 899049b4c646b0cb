//! Errors as PostgreSQL's clients know them.

use super::message::{Wire, put_text};
use ballast_tables::Error;
use ballast_types::ErrorKind;
use bytes::BufMut;

/// The SQLSTATE of an error of the tables.
pub fn of(error: &Error) -> &'static str {
    match error {
        Error::Syntax(_) => "42601",
        Error::UndefinedTable(_) => "42P01",
        Error::UndefinedColumn(_) => "42703",
        Error::UndefinedFunction(_) => "42883",
        Error::UndefinedObject(_) => "42704",
        Error::UndefinedStatement(_) => "26000",
        Error::DuplicateTable(_) => "42P07",
        Error::DuplicateColumn(_) => "42701",
        Error::AmbiguousColumn(_) => "42702",
        Error::NotATable(_) => "42809",
        Error::TypeMismatch(_) => "42804",
        Error::InvalidText { .. } => "22P02",
        Error::InvalidDatetime(_) => "22007",
        Error::OutOfRange(_) => "22003",
        Error::TextTooLong(_) => "22001",
        Error::InvalidEncoding => "22021",
        Error::DivisionByZero => "22012",
        Error::NotNull { .. } => "23502",
        Error::UniqueViolation { .. } => "23505",
        Error::Cardinality => "21000",
        Error::Conflict => "40001",
        Error::TransactionFailed => "25P02",
        Error::IdleInTransaction => "25P03",
        Error::TransactionTimeout => "25P04",
        Error::ActiveTransaction(_) => "25001",
        Error::ReadOnly(_) => "25006",
        Error::TooLarge(_) => "54000",
        Error::TooComplex(_) => "54001",
        Error::OutOfMemory(_) => "53200",
        Error::Cancelled | Error::StatementTimeout => "57014",
        Error::Unsupported(_) => "0A000",
        Error::InvalidParameter(_) => "22023",
        Error::InvalidName(_) => "42602",
        Error::InvalidDefinition(_) => "42P16",
        Error::BadCopy(_) => "22P04",
        Error::Denied(_) => "42501",
        Error::Corrupt(_) => "XX001",
        Error::Tree(error) => of_kind(error.kind()),
        Error::Store(error) => of_kind(error.kind()),
        Error::Query(_) => "42000",
    }
}

/// Where nothing is known but what the caller can do next.
fn of_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "42P01",
        ErrorKind::AlreadyExists => "42P07",
        ErrorKind::Conflict => "40001",
        ErrorKind::Invalid => "22023",
        ErrorKind::Denied => "42501",
        ErrorKind::Exhausted => "53100",
        ErrorKind::Unavailable => "57P03",
        ErrorKind::Fenced => "57P01",
        ErrorKind::Corrupt => "XX001",
        ErrorKind::Unsupported => "0A000",
    }
}

/// What a client is told of a failure.
pub struct Report<'a> {
    pub severity: &'static str,
    pub state: &'static str,
    pub message: &'a str,
    pub detail: Option<&'a str>,
}

impl Wire {
    /// `tag`: E for an error, N for a notice.
    pub fn report(&mut self, tag: u8, report: &Report<'_>) {
        self.message(tag, |out| {
            for (field, text) in [
                (b'S', report.severity),
                (b'V', report.severity),
                (b'C', report.state),
                (b'M', report.message),
                (b'D', report.detail.unwrap_or_default()),
            ] {
                if !text.is_empty() {
                    out.put_u8(field);
                    put_text(out, text);
                }
            }
            out.put_u8(0);
        });
    }

    pub fn error(&mut self, error: &Error) {
        let detail = match error {
            Error::UniqueViolation { detail, .. } => Some(detail.as_str()),
            _ => None,
        };
        let message = error.to_string();
        self.report(b'E', &Report { severity: "ERROR", state: of(error), message: &message, detail });
    }

    /// The client broke the protocol in a way that the connection survives.
    pub fn violation(&mut self, message: &str) {
        self.report(b'E', &Report { severity: "ERROR", state: "08P01", message, detail: None });
    }

    pub fn fatal(&mut self, state: &'static str, message: &str) {
        self.report(b'E', &Report { severity: "FATAL", state, message, detail: None });
    }

    pub fn notice(&mut self, message: &str) {
        self.report(b'N', &Report { severity: "NOTICE", state: "00000", message, detail: None });
    }
}
