//! One connection: from its first byte to its last.
//!
//! Simple queries are run here, prepared ones in [`super::extended`]. After an error the rest of a pipeline is
//! skipped up to its Sync, as the protocol wants it.

use super::cancel::{Cancel, Key, Registry};
use super::extended::{Portal, Statement};
use super::message::{Body, Message, Wire};
use super::startup::REPORTED;
use super::{Shared, limits, sqlstate, startup};
use ballast_tables::{Answer, Error, OutputColumn, Result, Row, Rows, Session, Status, Tag};
use bytes::BufMut;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::Instant;

pub struct Connection {
    pub wire: Wire,
    pub session: Session,
    pub key: Key,
    pub statements: HashMap<String, Arc<Statement>>,
    pub portals: HashMap<String, Portal>,
    /// An error happened in a pipeline: everything up to its Sync is skipped.
    skipping: bool,
    /// No statement has come since the client was told that the next may come.
    is_idle: bool,
    /// When the running statement is cancelled.
    deadline: Option<Instant>,
    /// The settings that the client knows of, and the version of all that they are of.
    reported: Vec<(&'static str, String)>,
    reported_version: u64,
}

/// Why a step ended the connection or the statement.
pub enum Stop {
    /// The connection is of no more use.
    Io(io::Error),
    /// The statement failed; the client is told.
    Failed(Error),
    /// The session ends with it; the client is told.
    Ended(Error),
    /// The client broke the protocol; it is told.
    Violation(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if matches!(error, Error::TransactionTimeout) { Self::Ended(error) } else { Self::Failed(error) }
    }
}

impl From<super::message::Malformed> for Stop {
    fn from(_: super::message::Malformed) -> Self {
        Self::Violation("invalid message format")
    }
}

pub type Step<T = ()> = std::result::Result<T, Stop>;

/// Serves a connection to its end. `full`: there are too many already.
pub async fn serve(stream: TcpStream, shared: Arc<Shared>, full: bool) -> io::Result<()> {
    let mut wire = Wire::new(stream, Arc::clone(&shared.large));
    if full {
        wire.fatal("53300", "sorry, too many clients already");
        wire.close().await;
        return Ok(());
    }
    let greeting = tokio::time::timeout(limits::STARTUP_TIMEOUT, startup::greet(&mut wire, &shared));
    let greeted = tokio::select! {
        greeted = greeting => greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
        () = shared.shutdown.begun() => None,
    };
    let Some(mut session) = greeted else {
        wire.close().await;
        return Ok(());
    };
    let key = Registry::enter(&shared);
    session.variables().process = key.process;
    wire.message(b'K', |out| {
        out.put_i32(key.process);
        out.put_i32(key.secret);
    });
    let mut connection = Connection {
        wire,
        session,
        key,
        statements: HashMap::new(),
        portals: HashMap::new(),
        skipping: false,
        is_idle: true,
        deadline: None,
        reported: Vec::new(),
        reported_version: 0,
    };
    connection.note_reported();
    let served = connection.run(&shared).await;
    connection.session.close().await;
    if let Err(error) = &served
        && error.kind() == io::ErrorKind::InvalidData
    {
        connection.wire.fatal("08P01", &error.to_string());
    }
    connection.wire.close().await;
    served
}

impl Connection {
    async fn run(&mut self, shared: &Shared) -> io::Result<()> {
        self.ready();
        loop {
            let message = tokio::select! {
                message = self.next() => message?,
                () = shared.shutdown.begun() => {
                    self.wire.fatal("57P01", "terminating connection due to administrator command");
                    return Ok(());
                }
            };
            let Some(message) = message else { return Ok(()) };
            if message.tag == b'X' {
                return Ok(());
            }
            match self.handle(message).await {
                Ok(()) => {}
                Err(Stop::Io(error)) => return Err(error),
                Err(Stop::Ended(why)) => return Err(self.ended(&why)),
                Err(Stop::Failed(error)) => {
                    self.wire.error(&error);
                    self.skipping = true;
                }
                Err(Stop::Violation(text)) => {
                    self.session.fail();
                    self.wire.violation(text);
                    self.skipping = true;
                }
            }
        }
    }

    /// Tells the client why its connection ends.
    fn ended(&mut self, why: &Error) -> io::Error {
        let text = why.to_string();
        self.wire.fatal(sqlstate::of(why), &text);
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    /// The next message; `None` if the client is gone. One that is silent inside a transaction, or has been in one for too
    /// long, is told that it ends.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        let silent = self.session.idle_timeout().map(|idle| (Instant::now() + idle, Error::IdleInTransaction));
        let ends = self.session.transaction_deadline().map(|end| (end, Error::TransactionTimeout));
        let first = silent.into_iter().chain(ends).min_by_key(|(end, _)| *end);
        let wire = &mut self.wire;
        let next = async {
            // Answers of a pipeline are sent together: nothing is sent while more is there to be read.
            if wire.peek().is_none() {
                wire.flush().await?;
            }
            wire.read().await
        };
        let Some((end, why)) = first else { return next.await };
        match tokio::time::timeout_at(end, next).await {
            Ok(message) => message,
            Err(_) => Err(self.ended(&why)),
        }
    }

    /// A statement begins, unless a part of it already has: its time runs from here to [`Self::statement_ends`].
    pub fn statement_begins(&mut self) {
        if self.deadline.is_none() {
            self.deadline = self.session.variables().statement_timeout().map(|time| Instant::now() + time);
        }
    }

    pub fn statement_ends(&mut self) {
        self.deadline = None;
    }

    pub fn cancel(&self) -> Cancel {
        Cancel {
            signal: Arc::clone(&self.key.signal),
            deadline: self.deadline,
            transaction: self.session.transaction_deadline(),
            ending: self.session.ending(),
        }
    }

    /// Sends what has gathered if it is much, until something stops the statement.
    pub async fn relieve(&mut self) -> Step {
        if !self.wire.is_heavy() {
            return Ok(());
        }
        let cancel = self.cancel();
        let stopped = tokio::select! {
            flushed = self.wire.flush() => return Ok(flushed?),
            why = cancel.stopped() => why,
        };
        self.session.fail();
        Err(stopped.into())
    }

    async fn handle(&mut self, message: Message) -> Step {
        if std::mem::replace(&mut self.is_idle, false) {
            self.key.signal.clear();
        }
        let body = Body(message.body);
        match message.tag {
            b'S' => self.sync().await,
            b'Q' => {
                self.skipping = false;
                Box::pin(self.simple(body)).await
            }
            // What a client still sends of a COPY that has failed.
            b'd' | b'c' | b'f' => Ok(()),
            _ if self.skipping => Ok(()),
            b'P' => Box::pin(self.parse(body)).await,
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(body).await,
            b'C' => self.close(body),
            b'H' => Ok(self.wire.flush().await?),
            b'F' => Err(Error::Unsupported("function calls are not supported".into()).into()),
            _ => Err(Stop::Violation("unknown message")),
        }
    }

    async fn sync(&mut self) -> Step {
        self.skipping = false;
        self.statement_ends();
        if let Err(error) = self.session.sync().await {
            self.wire.error(&error);
        }
        if self.session.status() == Status::Idle {
            self.portals.clear();
        }
        self.ready();
        Ok(())
    }

    /// Tells the client that the next statement may come.
    fn ready(&mut self) {
        self.is_idle = true;
        self.tell();
        self.wire.ready(match self.session.status() {
            Status::Idle => b'I',
            Status::Open => b'T',
            Status::Failed => b'E',
        });
    }

    /// Sends notices, and settings that have changed.
    pub fn tell(&mut self) {
        for notice in self.session.take_notices() {
            self.wire.notice(&notice);
        }
        if self.session.variables().version() == self.reported_version {
            return;
        }
        let before = std::mem::take(&mut self.reported);
        self.note_reported();
        for (now, before) in self.reported.iter().zip(&before) {
            if now != before {
                self.wire.parameter(now.0, &now.1);
            }
        }
    }

    fn note_reported(&mut self) {
        let variables = self.session.variables();
        let value = |name: &str| variables.get(name).unwrap_or_default().to_owned();
        self.reported_version = variables.version();
        self.reported = REPORTED.iter().map(|(shown, name)| (*shown, value(name))).collect();
    }

    async fn simple(&mut self, mut body: Body) -> Step {
        let run = match body.text() {
            Ok(sql) => self.run_text(&sql).await,
            Err(_) => Err(Stop::Failed(Error::InvalidEncoding)),
        };
        match run {
            Ok(()) => {}
            Err(stop @ (Stop::Io(_) | Stop::Ended(_))) => return Err(stop),
            Err(Stop::Failed(error)) => {
                self.session.fail();
                self.wire.error(&error);
            }
            Err(Stop::Violation(text)) => {
                self.session.fail();
                self.wire.violation(text);
            }
        }
        self.statement_ends();
        if let Err(error) = self.session.sync().await {
            self.wire.error(&error);
        }
        if self.session.status() == Status::Idle {
            self.portals.clear();
        }
        self.ready();
        Ok(())
    }

    async fn run_text(&mut self, sql: &str) -> Step {
        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            self.wire.empty(b'I');
            return Ok(());
        }
        // Several statements of one text are one transaction, unless they say otherwise.
        let more = statements.len() > 1;
        for statement in statements {
            self.statement_ends();
            self.statement_begins();
            let cancel = self.cancel();
            let session = &mut self.session;
            let run = async {
                let prepared = session.prepare_statement(Some(statement), &[]).await?;
                let answer = session.execute(&prepared, &[], more).await?;
                Ok(answer)
            };
            let answered = cancel.unless(&self.wire, run).await;
            let answer: Answer = match answered {
                Ok(answered) => answered,
                Err(error) => return Err(self.cancelled(error).await.into()),
            };
            self.answer(answer, true).await?;
        }
        Ok(())
    }

    /// After a failure: what a cancelled statement had begun is taken back.
    pub async fn cancelled(&mut self, error: Error) -> Error {
        if error.is_cancelled() {
            self.session.cancelled().await;
        }
        error
    }

    /// Sends a whole answer. `describe`: the columns go in front, as for a simple query.
    pub async fn answer(&mut self, answer: Answer, describe: bool) -> Step {
        match answer {
            Answer::Empty => self.wire.empty(b'I'),
            Answer::Done(tag) => {
                self.tell();
                self.wire.complete(&tag_text(tag, 0));
            }
            Answer::Rows { columns, rows, tag } => {
                if describe {
                    self.wire.row_description(&columns, &[]);
                }
                let mut rows = RowSource::new(rows);
                let count = self.send_rows(&mut rows, &columns, &[], usize::MAX).await?.0;
                self.wire.complete(&tag_text(tag, count));
            }
            Answer::CopyIn(copy) => Box::pin(self.copy_in(copy)).await?,
            Answer::CopyOut(copy) => Box::pin(self.copy_out(copy)).await?,
            Answer::Deallocate(name, tag) => {
                self.forget(name)?;
                self.tell();
                self.wire.complete(&tag_text(tag, 0));
            }
        }
        Ok(())
    }

    /// Sends up to `rows_max` rows; how many, and whether they were the last.
    pub async fn send_rows(
        &mut self,
        rows: &mut RowSource,
        columns: &[OutputColumn],
        formats: &[i16],
        rows_max: usize,
    ) -> Step<(u64, bool)> {
        let cancel = self.cancel();
        let mut sent = 0;
        while (sent as usize) < rows_max {
            let next = match rows.ready() {
                Some(row) => Some(row),
                None => match cancel.unless(&self.wire, rows.refill()).await {
                    Ok(more) if more => rows.ready(),
                    Ok(_) => None,
                    Err(error) => {
                        self.session.fail();
                        return Err(error.into());
                    }
                },
            };
            let Some(row) = next else { return Ok((sent, true)) };
            self.wire.data_row(columns, formats, &row);
            sent += 1;
            self.relieve().await?;
        }
        Ok((sent, rows.is_spent()))
    }
}

/// Rows of an answer, one at a time.
pub struct RowSource {
    ready: std::vec::IntoIter<Row>,
    stream: Option<BoxStream<'static, Result<Vec<Row>>>>,
}

impl RowSource {
    pub fn new(rows: Rows) -> Self {
        match rows {
            Rows::Ready(rows) => Self { ready: rows.into_iter(), stream: None },
            Rows::Stream(stream) => Self { ready: Vec::new().into_iter(), stream: Some(stream) },
        }
    }

    fn ready(&mut self) -> Option<Row> {
        self.ready.next()
    }

    fn is_spent(&self) -> bool {
        self.ready.len() == 0 && self.stream.is_none()
    }

    /// Fetches the next portion; false at the end.
    async fn refill(&mut self) -> Result<bool> {
        while let Some(stream) = &mut self.stream {
            match stream.next().await {
                None => self.stream = None,
                Some(rows) => {
                    let rows = rows?;
                    if !rows.is_empty() {
                        self.ready = rows.into_iter();
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    pub async fn next(&mut self) -> Result<Option<Row>> {
        match self.ready() {
            Some(row) => Ok(Some(row)),
            None if self.refill().await? => Ok(self.ready()),
            None => Ok(None),
        }
    }
}

/// The word that ends an answer.
pub fn tag_text(tag: Tag, rows: u64) -> std::borrow::Cow<'static, str> {
    match tag {
        Tag::Select => format!("SELECT {rows}").into(),
        Tag::Insert(count) => format!("INSERT 0 {count}").into(),
        Tag::Update(count) => format!("UPDATE {count}").into(),
        Tag::Delete(count) => format!("DELETE {count}").into(),
        Tag::Copy(count) => format!("COPY {count}").into(),
        Tag::Command(word) => word.into(),
    }
}
