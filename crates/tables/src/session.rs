//! A client's session: its directory, its settings and its transaction.
//!
//! A listener prepares a statement, hands its parameters to [`Session::execute`] and passes the answer on.
//! Everything that a client was told is durable: a write waits for its commit, a read for the last write to
//! what it read (rows by key, tables otherwise). Statements outside a transaction are transactions of their
//! own and run again after a conflict; inside BEGIN … COMMIT the client hears of it.

mod copy;
mod ddl;
mod dml;
mod duration;
mod planning;
mod query;
mod variables;

pub use copy::{CopyFormat, CopyIn, CopyOut};
pub(crate) use variables::is_utc;
pub use variables::{SERVER_VERSION, Variables};

use crate::sql::plan::{OutputColumn, Plan};
use crate::transaction::OpenTransaction;
use crate::{Error, Result, Row, Tables, Type, Value};
use ballast_store::{Isolation, Position};
use ballast_types::{Call, TreePath};
use datafusion::sql::sqlparser::ast;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Whether a transaction is open, as a client is told after every answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Idle,
    Open,
    /// A statement of the open transaction failed; only its end is accepted.
    Failed,
}

/// A statement, ready to run any number of times.
#[derive(Debug)]
pub struct Prepared {
    /// `None` for an empty text.
    statement: Option<Arc<ast::Statement>>,
    plan: Option<Arc<Plan>>,
    /// Where the session was when it was planned.
    directory: Arc<TreePath>,
    /// Planned for an execution that follows at once.
    is_fresh: AtomicBool,
    declared: Vec<Option<Type>>,
    /// It says FOR UPDATE or FOR SHARE somewhere.
    locks_rows: bool,
    /// The types of `$1`, `$2`, …
    pub parameters: Vec<Type>,
    /// The columns of its result; `None` if it gives no rows.
    pub columns: Option<Arc<[OutputColumn]>>,
}

impl Prepared {
    pub fn is_empty(&self) -> bool {
        self.statement.is_none()
    }

    /// True for the statements that a failed transaction accepts.
    fn ends_transaction(&self) -> bool {
        matches!(self.statement.as_deref(), Some(ast::Statement::Commit { .. } | ast::Statement::Rollback { .. }))
    }
}

/// What a statement did, for the word that ends its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    Select,
    Insert(u64),
    Update(u64),
    Delete(u64),
    Copy(u64),
    Command(&'static str),
}

/// Rows of a result.
pub enum Rows {
    Ready(Vec<Row>),
    /// In portions, as they are computed.
    Stream(BoxStream<'static, Result<Vec<Row>>>),
}

pub enum Answer {
    /// The text held no statement.
    Empty,
    Done(Tag),
    Rows {
        columns: Arc<[OutputColumn]>,
        rows: Rows,
        tag: Tag,
    },
    /// The client sends rows now; see [`Session::copy_in`].
    CopyIn(CopyIn),
    CopyOut(CopyOut),
    /// The listener is to forget the prepared statement of this name, or all of them, and to end its answer.
    Deallocate(Option<String>, Tag),
}

pub struct Session {
    tables: Tables,
    call: Call,
    /// Where names start unless the search path says.
    home: Arc<TreePath>,
    directory: Arc<TreePath>,
    /// Of the settings that `directory` is of.
    followed: u64,
    variables: Variables,
    transaction: Option<OpenTransaction>,
    failed: bool,
    /// The isolation that the fresh open transaction is to begin again with.
    restart: Option<Isolation>,
    notices: Vec<String>,
    ending: Arc<AtomicBool>,
}

impl Session {
    /// `directory`: where unquoted and relative names start.
    pub fn new(tables: Tables, call: Call, directory: TreePath) -> Self {
        let variables = Variables::default();
        let directory = Arc::new(directory);
        Self {
            tables,
            call,
            home: Arc::clone(&directory),
            directory,
            followed: 0,
            variables,
            transaction: None,
            failed: false,
            restart: None,
            notices: Vec::new(),
            ending: Arc::default(),
        }
    }

    pub fn status(&self) -> Status {
        match &self.transaction {
            _ if self.failed => Status::Failed,
            Some(transaction) if !transaction.implicit => Status::Open,
            _ => Status::Idle,
        }
    }

    pub fn variables(&mut self) -> &mut Variables {
        &mut self.variables
    }

    /// How long the client may send nothing from now on; `None` outside of transactions.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.transaction.as_ref().map(|_| self.variables.idle_in_transaction_timeout())
    }

    /// When the open transaction ends, whatever is done in it; `None` outside of transactions.
    pub fn transaction_deadline(&self) -> Option<Instant> {
        self.transaction.as_ref().map(|open| open.began + self.variables.transaction_timeout())
    }

    /// True while a transaction or a change of its own is committed or taken back. A statement must not be cancelled then:
    /// its client would hear that nothing was written, and it may have been. The listener sets it false at the start.
    pub fn ending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ending)
    }

    fn end_begins(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub fn directory(&self) -> &TreePath {
        &self.directory
    }

    /// Goes where the search path leads, which may have changed since the last statement.
    fn follow_search_path(&mut self) {
        let version = self.variables.version();
        if std::mem::replace(&mut self.followed, version) != version {
            self.directory = self.variables.directory().map_or_else(|| Arc::clone(&self.home), Arc::new);
        }
    }

    /// What a client should be told beside the answer.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// The statements of a text, to prepare and run one after the other.
    pub fn parse(&self, sql: &str) -> Result<Vec<ast::Statement>> {
        crate::sql::parse(sql)
    }

    /// Prepares the one statement of a text. `declared`: the parameter types that the client has fixed.
    pub async fn prepare(&mut self, sql: &str, declared: &[Option<Type>]) -> Result<Prepared> {
        let mut statements = self.noted(|_| crate::sql::parse(sql))?;
        if statements.len() > 1 {
            self.fail();
            return Err(Error::Syntax("cannot insert multiple commands into a prepared statement".into()));
        }
        let statement = statements.pop();
        let prepared = self.prepare_statement(statement, declared).await?;
        prepared.is_fresh.store(false, Ordering::Relaxed);
        Ok(prepared)
    }

    /// Prepares a statement that is executed at once.
    pub async fn prepare_statement(
        &mut self,
        statement: Option<ast::Statement>,
        declared: &[Option<Type>],
    ) -> Result<Prepared> {
        let Some(statement) = statement.map(Arc::new) else {
            let parameters = declared.iter().map(|of| of.unwrap_or(Type::Text)).collect();
            let (directory, is_fresh) = (Arc::clone(&self.directory), AtomicBool::new(true));
            let (statement, plan, declared, columns) = (None, None, Vec::new(), None);
            let locks_rows = false;
            return Ok(Prepared { statement, plan, directory, is_fresh, declared, locks_rows, parameters, columns });
        };
        let is_end = matches!(&*statement, ast::Statement::Commit { .. } | ast::Statement::Rollback { .. });
        if self.failed && !is_end {
            return Err(Error::TransactionFailed);
        }
        self.follow_search_path();
        let planned = Box::pin(self.plan(&statement, declared)).await;
        let (plan, parameters) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.fail();
                return Err(error);
            }
        };
        let columns = match &plan {
            Plan::Command(command) => variables::columns_of(command),
            plan => plan.columns(),
        };
        let parameters = parameters.into_iter().map(|of| of.unwrap_or(Type::Text)).collect();
        let (statement, plan) = (Some(statement), Some(Arc::new(plan)));
        let (directory, is_fresh) = (Arc::clone(&self.directory), AtomicBool::new(true));
        let (declared, locks_rows) = (declared.to_vec(), planning::locks_rows(statement.as_deref()));
        Ok(Prepared { statement, plan, directory, is_fresh, declared, locks_rows, parameters, columns })
    }

    /// Runs a statement. `more`: other statements follow that belong to the same implicit transaction.
    pub async fn execute(&mut self, prepared: &Prepared, parameters: &[Value], more: bool) -> Result<Answer> {
        let Some(statement) = &prepared.statement else { return Ok(Answer::Empty) };
        if self.failed && !prepared.ends_transaction() {
            return Err(Error::TransactionFailed);
        }
        if parameters.len() < prepared.parameters.len() {
            let (given, wanted) = (parameters.len(), prepared.parameters.len());
            self.fail();
            return Err(Error::InvalidParameter(format!("{given} parameters were given, {wanted} are needed")));
        }
        self.follow_search_path();
        if prepared.locks_rows {
            self.noted(Self::refuse_locks_without_conflicts)?;
        }
        let begun = Instant::now();
        let answer = self.execute_planned(statement, prepared, parameters, more).await;
        let metrics = &self.tables.0.metrics;
        metrics.statement_seconds.observe(begun.elapsed().as_secs_f64());
        if let Err(error) = &answer {
            metrics.failed_statements.inc();
            metrics.conflicts.inc_by(u64::from(error.is_conflict()));
            self.fail();
        }
        answer
    }

    async fn execute_planned(
        &mut self,
        statement: &Arc<ast::Statement>,
        prepared: &Prepared,
        parameters: &[Value],
        more: bool,
    ) -> Result<Answer> {
        let mut plan = prepared.plan.clone().ok_or_else(|| Error::Syntax("nothing was prepared".into()))?;
        let mut tries = 0;
        // A COMMIT that found a conflict has no transaction any more, and must not run again for that.
        let alone = self.transaction.is_none();
        let is_fresh = prepared.is_fresh.swap(false, Ordering::Relaxed);
        let mut holds = prepared.directory == self.directory && (is_fresh || !plan.is_momentary());
        loop {
            if !holds || !self.is_current(&plan).await {
                plan = Arc::new(Box::pin(self.plan(statement, &prepared.declared)).await?.0);
                let columns = plan.columns();
                if prepared.columns.is_some()
                    && columns.as_deref() != prepared.columns.as_deref()
                    && !matches!(*plan, Plan::Command(_))
                {
                    return Err(Error::Unsupported("cached plan must not change result type".into()));
                }
            }
            match self.execute_plan(&plan, &prepared.parameters, parameters, more).await {
                Err(error) if error.is_conflict() && alone && self.transaction.is_none() => {
                    tries += 1;
                    self.ending.store(false, Ordering::Relaxed);
                    holds = !plan.is_momentary();
                    if tries > self.tables.0.settings.conflict_retries_max {
                        return Err(Error::Conflict);
                    }
                    // Whoever got in the way is done by now; give others a turn all the same.
                    tokio::task::yield_now().await;
                }
                Err(error) if error.is_conflict() => return Err(Error::Conflict),
                other => return other,
            }
        }
    }

    /// There are no locks that outlast a statement. A serializable transaction needs none: its commit finds out whether
    /// somebody changed what it read. Others would go on as if they had them.
    fn refuse_locks_without_conflicts(&mut self) -> Result<()> {
        match &self.transaction {
            Some(open) if open.isolation != Isolation::Serializable => Err(Error::Unsupported(
                "FOR UPDATE and FOR SHARE need a serializable transaction, whose commit finds the conflicts".into(),
            )),
            _ => Ok(()),
        }
    }

    /// What is not by key is boxed: its future is large, and those of a look-up would be copied with it.
    async fn execute_plan(&mut self, plan: &Plan, types: &[Type], parameters: &[Value], more: bool) -> Result<Answer> {
        match plan {
            Plan::Select(select) => self.select(select, parameters).await,
            Plan::Query(query) => Box::pin(self.query(query, types, parameters)).await,
            Plan::Insert(_) | Plan::Update(_) | Plan::Delete(_) => {
                if more && self.transaction.is_none() {
                    self.begin_implicit().await?;
                }
                self.write(plan, types, parameters).await
            }
            Plan::Nothing(columns) => {
                Ok(Answer::Rows { columns: Arc::clone(columns), rows: Rows::Ready(Vec::new()), tag: Tag::Select })
            }
            Plan::Command(statement) => Box::pin(self.command(statement, more)).await,
        }
    }

    /// Ends what the statements since the last end began on their own: commits, or takes back after a failure.
    /// A listener calls it where the protocol says that an implicit transaction ends.
    pub async fn sync(&mut self) -> Result<()> {
        match &self.transaction {
            Some(transaction) if transaction.implicit => match self.failed {
                true => {
                    self.rollback().await;
                    Ok(())
                }
                false => self.commit().await,
            },
            Some(_) => Ok(()),
            None => {
                self.failed = false;
                Ok(())
            }
        }
    }

    /// Notes that a statement failed, as the listener may learn while it streams rows.
    pub fn fail(&mut self) {
        self.failed = self.transaction.is_some();
    }

    /// The future of a statement was dropped: what it had begun by itself is taken back, an open transaction fails.
    pub async fn cancelled(&mut self) {
        match &self.transaction {
            Some(open) if open.implicit => self.rollback().await,
            _ => self.fail(),
        }
    }

    /// Ends the session; an open transaction is taken back.
    pub async fn close(mut self) {
        self.rollback().await;
    }

    async fn begin_implicit(&mut self) -> Result<()> {
        let (isolation, read_only) = self.begin_modes(&[]);
        self.transaction = Some(OpenTransaction::begin(&self.tables.0, isolation, read_only, true).await?);
        self.variables.transaction_begins();
        Ok(())
    }

    async fn begin(&mut self, isolation: Isolation, read_only: bool) -> Result<()> {
        match &mut self.transaction {
            Some(open) if open.implicit => open.implicit = false,
            Some(_) => self.notices.push("there is already a transaction in progress".into()),
            None => {
                let open = OpenTransaction::begin(&self.tables.0, isolation, read_only, false).await?;
                self.transaction = Some(open);
                self.variables.transaction_begins();
            }
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        self.failed = false;
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        self.end_begins();
        let is_synchronous = self.variables.is_synchronous();
        let position = Box::pin(transaction.commit(&self.tables.0, &self.call)).await;
        self.variables.transaction_ends(position.is_ok());
        let position = position.map_err(|error| if error.is_conflict() { Error::Conflict } else { error })?;
        self.durable_if(is_synchronous, position).await
    }

    async fn rollback(&mut self) {
        self.failed = false;
        if let Some(transaction) = self.transaction.take() {
            self.end_begins();
            self.variables.transaction_ends(false);
            Box::pin(transaction.rollback(&self.tables.0, &self.call)).await;
        }
    }

    /// Waits for a write to be durable, unless the client asked not to.
    async fn durable(&self, position: Position) -> Result<()> {
        self.durable_if(self.variables.is_synchronous(), position).await
    }

    async fn durable_if(&self, wanted: bool, position: Position) -> Result<()> {
        if wanted {
            self.tables.0.volume.durable(position).await?;
        }
        Ok(())
    }

    fn noted<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let done = act(self);
        if done.is_err() {
            self.fail();
        }
        done
    }

    /// Whether the plan's names still lead to its tables, and those are as it knows them.
    async fn is_current(&self, plan: &Plan) -> bool {
        for view in plan.views() {
            let is_current = match self.transaction.as_ref().and_then(|open| open.tables.get(&view.ino())) {
                Some(touched) => {
                    let is_same = Arc::ptr_eq(&touched.schema, &view.schema) || *touched.schema == *view.schema;
                    is_same && !touched.is_dropped()
                }
                None => view.table.is_current(&view.schema),
            };
            let found = self.tables.0.tree.resolve(&self.call, &view.path).await;
            if !is_current || !found.is_ok_and(|inode| inode.ino == view.ino()) {
                return false;
            }
        }
        true
    }
}
