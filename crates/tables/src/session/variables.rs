//! Settings of a session: SET, SHOW and what a client sends at the start.

use super::{Answer, Rows, Session, Tag, duration};
use crate::sql::plan::OutputColumn;
use crate::{Error, Result, Type, Value, limits};
use ballast_store::Isolation;
use ballast_types::TreePath;
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What we say we are. Clients choose their catalog queries by it.
pub const SERVER_VERSION: &str = "15.0 (Ballast)";

const IDLE_IN_TRANSACTION: &str = "idle_in_transaction_session_timeout";
const STATEMENT_TIMEOUT: &str = "statement_timeout";
const TRANSACTION_TIMEOUT: &str = "transaction_timeout";

const DEFAULTS: [(&str, &str); 27] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    (IDLE_IN_TRANSACTION, limits::IDLE_IN_TRANSACTION_TIMEOUT),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "off"),
    ("lc_collate", "C"),
    ("lc_ctype", "C"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "255"),
    ("row_security", "off"),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("standard_conforming_strings", "on"),
    (STATEMENT_TIMEOUT, "0"),
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
    (TRANSACTION_TIMEOUT, limits::TRANSACTION_TIMEOUT),
];

/// Cannot be changed: what they say is a fact of this server.
const FIXED: [&str; 9] = [
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
];

/// Settings of a session may be many, but not without end.
const VARIABLES_MAX: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct Variables {
    set: BTreeMap<String, String>,
    /// What SET LOCAL hides up to the end of the transaction; `None` is the default.
    hidden: BTreeMap<String, Option<String>>,
    /// Inside a transaction; its rollback takes settings back.
    in_transaction: bool,
    /// As they were before the transaction, once it has changed one.
    before: Option<BTreeMap<String, String>>,
    /// Grows whenever a setting may have changed.
    version: u64,
    pub user: String,
    pub database: String,
    pub process: i32,
}

impl Variables {
    pub fn get(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        let default = || DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        self.set.get(&name).map(String::as_str).or_else(default)
    }

    /// The same as before if no setting has changed since.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes a setting. Unknown names with a dot in them are a client's own business and are kept.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = name.to_lowercase();
        let known = DEFAULTS.iter().any(|(known, _)| *known == name);
        if !known && !name.contains('.') {
            // Settings of PostgreSQL that mean nothing here are accepted, so that its clients get through.
            tracing::debug!(%name, "a setting without effect");
        }
        let changes = self.get(&name) != Some(value);
        if FIXED.contains(&name.as_str()) && changes {
            return Err(Error::InvalidParameter(format!("parameter \"{name}\" cannot be changed")));
        }
        match name.as_str() {
            "client_encoding"
                // Some clients quote it, as in a configuration file.
                if !["utf8", "utf-8", "unicode", "sql_ascii"]
                    .contains(&value.trim_matches('\'').to_lowercase().as_str()) =>
            {
                return Err(Error::Unsupported(format!("encoding {value} is not supported: text is UTF-8")));
            }
            "client_encoding" => {
                return self.keep(name, "UTF8".into());
            }
            // Clients say at the start where they are. Times are shown in UTC all the same, and their text says so.
            "timezone" => return Ok(()),
            "default_transaction_isolation" => {
                isolation_by_name(value)?;
            }
            STATEMENT_TIMEOUT => return self.keep(name, duration::show(duration::parse(STATEMENT_TIMEOUT, value)?)),
            IDLE_IN_TRANSACTION | TRANSACTION_TIMEOUT => {
                let asked = duration::parse(&name, value)?;
                return self.keep(name, duration::show(bounded(asked)));
            }
            "search_path" => {
                directory_of(value)?;
            }
            "standard_conforming_strings" if !is_on(value) => {
                return Err(Error::Unsupported("standard_conforming_strings is always on".into()));
            }
            _ => {}
        }
        self.keep(name, value.to_owned())
    }

    fn keep(&mut self, name: String, value: String) -> Result<()> {
        if self.set.len() >= VARIABLES_MAX && !self.set.contains_key(&name) {
            return Err(Error::TooLarge(format!("a session can have at most {VARIABLES_MAX} settings")));
        }
        self.change();
        self.hidden.remove(&name);
        self.set.insert(name, value);
        Ok(())
    }

    /// A setting is about to change.
    fn change(&mut self) {
        self.version += 1;
        if self.in_transaction && self.before.is_none() {
            self.before = Some(self.set.clone());
        }
    }

    /// Where the search path leads; `None` if it does not say.
    pub(super) fn directory(&self) -> Option<TreePath> {
        directory_of(self.get("search_path").unwrap_or_default()).ok().flatten()
    }

    pub(super) fn transaction_begins(&mut self) {
        self.in_transaction = true;
    }

    /// The same up to the end of the transaction.
    fn set_local(&mut self, name: &str, value: &str) -> Result<()> {
        let outer = self.hidden.get(name).cloned().unwrap_or_else(|| self.set.get(name).cloned());
        self.set(name, value)?;
        self.hidden.insert(name.to_owned(), outer);
        Ok(())
    }

    /// The transaction is over.
    pub(super) fn transaction_ends(&mut self, committed: bool) {
        self.in_transaction = false;
        let (before, hidden) = (self.before.take(), std::mem::take(&mut self.hidden));
        if let (false, Some(before)) = (committed, before) {
            self.version += 1;
            self.set = before;
            return;
        }
        for (name, outer) in hidden {
            self.version += 1;
            match outer {
                Some(value) => self.set.insert(name, value),
                None => self.set.remove(&name),
            };
        }
    }

    pub fn reset(&mut self, name: &str) {
        self.change();
        let name = name.to_lowercase();
        self.hidden.remove(&name);
        self.set.remove(&name);
    }

    pub fn reset_all(&mut self) {
        self.change();
        self.hidden.clear();
        self.set.clear();
    }

    /// How long a statement may run.
    pub fn statement_timeout(&self) -> Option<Duration> {
        Some(self.time(STATEMENT_TIMEOUT)).filter(|time| !time.is_zero())
    }

    /// How long the client may be silent inside a transaction.
    pub(super) fn idle_in_transaction_timeout(&self) -> Duration {
        bounded(self.time(IDLE_IN_TRANSACTION))
    }

    /// How long a transaction may be open, whatever is done in it.
    pub(super) fn transaction_timeout(&self) -> Duration {
        bounded(self.time(TRANSACTION_TIMEOUT))
    }

    fn time(&self, name: &str) -> Duration {
        duration::parse(name, self.get(name).unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn default_isolation(&self) -> Isolation {
        let name = self.get("default_transaction_isolation").unwrap_or_default();
        isolation_by_name(name).unwrap_or_default()
    }

    pub(crate) fn is_synchronous(&self) -> bool {
        !matches!(self.get("synchronous_commit"), Some("off"))
    }

    fn is_read_only(&self) -> bool {
        self.get("default_transaction_read_only").is_some_and(is_on)
    }
}

/// Another zone than UTC is refused: times without an offset would be read as something else than what was asked for.
fn check_zone(name: &str) -> Result<()> {
    if is_utc(name) || ["default", "local"].contains(&name.to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Error::Unsupported(format!("time zone {name} is not supported: times without an offset are in UTC")))
}

/// The names of UTC.
pub(crate) fn is_utc(name: &str) -> bool {
    let names = ["utc", "etc/utc", "gmt", "etc/gmt", "z", "zulu", "uct", "universal", "0", "+00", "+00:00", "00:00"];
    names.contains(&name.to_lowercase().as_str())
}

/// 0 is PostgreSQL's word for no end; here it is the largest.
fn bounded(asked: Duration) -> Duration {
    let largest = limits::TRANSACTION_TIMEOUT_MAX;
    if asked.is_zero() { largest } else { asked.min(largest) }
}

fn is_on(value: &str) -> bool {
    ["on", "true", "yes", "1"].contains(&value.to_lowercase().as_str())
}

fn isolation_by_name(name: &str) -> Result<Isolation> {
    match name.to_lowercase().as_str() {
        "serializable" => Ok(Isolation::Serializable),
        "repeatable read" | "read committed" | "read uncommitted" | "snapshot" => Ok(Isolation::Snapshot),
        other => Err(Error::InvalidParameter(format!("invalid isolation level: \"{other}\""))),
    }
}

fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Serializable => "serializable",
        Isolation::Snapshot => "repeatable read",
    }
}

/// Isolation and read-only as a list of modes says; what it does not say is `None`.
pub(super) fn modes(list: &[ast::TransactionMode]) -> (Option<Isolation>, Option<bool>) {
    let (mut isolation, mut read_only) = (None, None);
    for mode in list {
        match mode {
            ast::TransactionMode::AccessMode(access) => {
                read_only = Some(*access == ast::TransactionAccessMode::ReadOnly);
            }
            ast::TransactionMode::IsolationLevel(level) => {
                isolation = Some(match level {
                    ast::TransactionIsolationLevel::Serializable => Isolation::Serializable,
                    _ => Isolation::Snapshot,
                });
            }
        }
    }
    (isolation, read_only)
}

/// The columns of a command that gives rows.
pub(super) fn columns_of(statement: &ast::Statement) -> Option<Arc<[OutputColumn]>> {
    match statement {
        ast::Statement::ShowVariable { variable } => {
            Some(Arc::from([OutputColumn::new(variable_name(variable), Type::Text)]))
        }
        _ => None,
    }
}

fn variable_name(parts: &[ast::Ident]) -> String {
    let words: Vec<String> = parts.iter().map(|part| part.value.to_lowercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["transaction", "isolation", "level"] => "transaction_isolation".into(),
        ["time", "zone"] => "timezone".into(),
        _ => words.join("."),
    }
}

impl Session {
    pub(super) fn show(&self, variable: &[ast::Ident]) -> Result<Answer> {
        let name = variable_name(variable);
        let value = match name.as_str() {
            "transaction_isolation" => {
                let open = self.transaction.as_ref().map(|open| open.isolation);
                isolation_name(open.unwrap_or_else(|| self.variables.default_isolation())).to_owned()
            }
            "transaction_read_only" => {
                if self.is_read_only() {
                    "on".into()
                } else {
                    "off".into()
                }
            }
            other => {
                let value = self.variables.get(other);
                let unknown = || Error::UndefinedObject(format!("unrecognized configuration parameter \"{other}\""));
                value.ok_or_else(unknown)?.to_owned()
            }
        };
        let columns = Arc::from([OutputColumn::new(name, Type::Text)]);
        Ok(Answer::Rows { columns, rows: Rows::Ready(vec![vec![Value::text(value)]]), tag: Tag::Command("SHOW") })
    }

    pub(super) fn set(&mut self, set: &ast::Set) -> Result<()> {
        match set {
            ast::Set::SingleAssignment { scope, variable, values, .. } => {
                let name = variable.to_string().to_lowercase();
                let texts = values.iter().map(setting_text);
                let text = match name.as_str() {
                    "search_path" => texts.map(list_item).collect::<Vec<_>>().join(", "),
                    _ => texts.collect::<Vec<_>>().join(", "),
                };
                if text.eq_ignore_ascii_case("default") {
                    self.variables.reset(&name);
                    return Ok(());
                }
                if name == "timezone" {
                    return check_zone(&text);
                }
                if name == "transaction_isolation" {
                    let isolation = isolation_by_name(&text)?;
                    return self.set_modes(Some(isolation), None);
                }
                match (scope, &self.transaction) {
                    (Some(ast::ContextModifier::Local), Some(_)) => self.variables.set_local(&name, &text),
                    (Some(ast::ContextModifier::Local), None) => {
                        self.notices.push("SET LOCAL can only be used in transaction blocks".into());
                        Ok(())
                    }
                    _ => self.variables.set(&name, &text),
                }
            }
            ast::Set::SetTimeZone { value, .. } => check_zone(&setting_text(value)),
            ast::Set::SetNames { charset_name, .. } => self.variables.set("client_encoding", &charset_name.value),
            ast::Set::SetTransaction { modes: list, session, .. } => {
                let (isolation, read_only) = modes(list);
                if *session {
                    if let Some(isolation) = isolation {
                        self.variables.set("default_transaction_isolation", isolation_name(isolation))?;
                    }
                    if let Some(read_only) = read_only {
                        self.variables.set("default_transaction_read_only", if read_only { "on" } else { "off" })?;
                    }
                    return Ok(());
                }
                self.set_modes(isolation, read_only)
            }
            ast::Set::SetRole { .. } | ast::Set::SetSessionAuthorization(_) => {
                Err(Error::Unsupported("roles are not supported".into()))
            }
            _ => Err(Error::Unsupported("this form of SET is not supported".into())),
        }
    }

    fn set_modes(&mut self, isolation: Option<Isolation>, read_only: Option<bool>) -> Result<()> {
        let Some(open) = &mut self.transaction else {
            self.notices.push("SET TRANSACTION can only be used in transaction blocks".into());
            return Ok(());
        };
        if let Some(read_only) = read_only {
            open.read_only = read_only;
        }
        match isolation {
            Some(isolation) if isolation != open.isolation && open.is_fresh() => {
                self.restart = Some(isolation);
                Ok(())
            }
            Some(isolation) if isolation != open.isolation => {
                Err(Error::ActiveTransaction("SET TRANSACTION ISOLATION LEVEL after a query"))
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing may be changed: in this transaction, or by default outside of one.
    fn is_read_only(&self) -> bool {
        self.transaction.as_ref().map_or_else(|| self.variables.is_read_only(), |open| open.read_only)
    }

    pub(super) fn refuse_if_read_only(&self, what: &'static str) -> Result<()> {
        if self.is_read_only() { Err(Error::ReadOnly(what)) } else { Ok(()) }
    }

    pub(super) fn begin_modes(&self, list: &[ast::TransactionMode]) -> (Isolation, bool) {
        let (isolation, read_only) = modes(list);
        let isolation = isolation.unwrap_or_else(|| self.variables.default_isolation());
        (isolation, read_only.unwrap_or_else(|| self.variables.is_read_only()))
    }
}

/// `search_path = '/a/b'` is where names start; one that does not begin with a path is the directory of the start.
fn directory_of(search_path: &str) -> Result<Option<TreePath>> {
    let first = first_of(search_path);
    if !first.starts_with('/') {
        return Ok(None);
    }
    TreePath::parse(&first).map(Some).map_err(|error| Error::InvalidName(error.to_string()))
}

/// The first item of a list, quotes taken off.
fn first_of(list: &str) -> String {
    let Some(quoted) = list.trim_start().strip_prefix('"') else {
        return list.split(',').next().unwrap_or_default().trim().to_owned();
    };
    let (mut name, mut rest) = (String::new(), quoted.chars().peekable());
    while let Some(c) = rest.next() {
        // A quote that is doubled is the name's own.
        if c == '"' && rest.next_if_eq(&'"').is_none() {
            break;
        }
        name.push(c);
    }
    name
}

/// An item of a list, quoted where it would not be read as one.
fn list_item(text: String) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// The text of a setting's value, quotes taken off.
fn setting_text(expr: &ast::Expr) -> String {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(text) => text.clone(),
            ast::Value::Number(digits, _) => digits.clone(),
            ast::Value::Boolean(true) => "on".into(),
            ast::Value::Boolean(false) => "off".into(),
            other => other.to_string(),
        },
        ast::Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}
