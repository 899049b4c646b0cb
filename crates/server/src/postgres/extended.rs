//! Prepared statements and portals.

use super::connection::{Connection, RowSource, Step, Stop, tag_text};
use super::message::Body;
use super::{limits, wire};
use ballast_tables::{Answer, Error, OutputColumn, Prepared, Tag, Value};
use bytes::BufMut;
use std::sync::Arc;

/// A prepared statement and its text, to prepare it again where that is needed.
pub struct Statement {
    pub prepared: Prepared,
}

/// A statement with its parameters.
pub struct Portal {
    statement: Arc<Statement>,
    parameters: Vec<Value>,
    formats: Vec<i16>,
    state: State,
}

enum State {
    New,
    /// Some rows were sent; more are left.
    Suspended {
        columns: Arc<[OutputColumn]>,
        rows: RowSource,
        tag: Tag,
        sent: u64,
    },
    Done,
}

impl Connection {
    pub async fn parse(&mut self, mut body: Body) -> Step {
        let (name, sql) = (body.text()?, body.text()?);
        let count = body.count()?;
        let mut declared = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            declared.push(wire::type_of(body.i32()? as u32));
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            self.session.fail();
            return Err(Error::InvalidDefinition(format!("prepared statement \"{name}\" already exists")).into());
        }
        if self.statements.len() >= limits::STATEMENTS_MAX {
            self.session.fail();
            return Err(Error::TooLarge(format!("a connection can have {} statements", limits::STATEMENTS_MAX)).into());
        }
        self.statement_begins();
        let cancel = self.cancel();
        let prepared = match cancel.unless(&self.wire, self.session.prepare(&sql, &declared)).await {
            Ok(prepared) => prepared,
            Err(error) => return Err(self.cancelled(error).await.into()),
        };
        self.statements.insert(name, Arc::new(Statement { prepared }));
        self.wire.empty(b'1');
        Ok(())
    }

    pub fn bind(&mut self, mut body: Body) -> Step {
        let (portal, name) = (body.text()?, body.text()?);
        let statement = self.statement(&name)?;
        let mut formats = Vec::new();
        for _ in 0..body.count()? {
            formats.push(body.i16()?);
        }
        let count = body.count()?;
        let wanted = statement.prepared.parameters.len();
        if count != wanted {
            return Err(Stop::Violation("bind message supplies another number of parameters than the statement has"));
        }
        let mut parameters = Vec::with_capacity(count);
        for at in 0..count {
            let length = body.i32()?;
            let Ok(length) = usize::try_from(length) else {
                parameters.push(Value::Null);
                continue;
            };
            let bytes = body.bytes(length)?;
            let value = wire::read(bytes, statement.prepared.parameters[at], wire::format_of(&formats, at));
            parameters.push(value.inspect_err(|_| self.session.fail())?);
        }
        let mut results = Vec::new();
        for _ in 0..body.count()? {
            let format = body.i16()?;
            if !(wire::TEXT..=wire::BINARY).contains(&format) {
                return Err(Stop::Violation("unknown format code"));
            }
            results.push(format);
        }
        if self.portals.len() >= limits::PORTALS_MAX && !self.portals.contains_key(&portal) {
            self.session.fail();
            return Err(Error::TooLarge(format!("a connection can have {} portals", limits::PORTALS_MAX)).into());
        }
        self.portals.insert(portal, Portal { statement, parameters, formats: results, state: State::New });
        self.wire.empty(b'2');
        Ok(())
    }

    fn statement(&mut self, name: &str) -> Result<Arc<Statement>, Error> {
        let found = self.statements.get(name).cloned();
        found.ok_or_else(|| {
            self.session.fail();
            Error::UndefinedStatement(name.to_owned())
        })
    }

    /// Forgets a prepared statement, or all that have names.
    pub fn forget(&mut self, name: Option<String>) -> Step {
        match name {
            Some(name) => {
                self.statement(&name)?;
                self.statements.remove(&name);
            }
            None => self.statements.retain(|name, _| name.is_empty()),
        }
        Ok(())
    }

    pub fn describe(&mut self, mut body: Body) -> Step {
        let (kind, name) = (body.u8()?, body.text()?);
        let (statement, formats) = match kind {
            b'S' => {
                let statement = self.statement(&name)?;
                let parameters = &statement.prepared.parameters;
                self.wire.message(b't', |out| {
                    out.put_u16(u16::try_from(parameters.len()).unwrap_or(u16::MAX));
                    parameters.iter().for_each(|of| out.put_u32(wire::oid_of(*of)));
                });
                (statement, Vec::new())
            }
            b'P' => match self.portals.get(&name) {
                Some(portal) => (Arc::clone(&portal.statement), portal.formats.clone()),
                None => return Err(self.no_portal(&name)),
            },
            _ => return Err(Stop::Violation("invalid DESCRIBE message subtype")),
        };
        match &statement.prepared.columns {
            Some(columns) => self.wire.row_description(columns, &formats),
            None => self.wire.empty(b'n'),
        }
        Ok(())
    }

    fn no_portal(&mut self, name: &str) -> Stop {
        self.session.fail();
        Error::UndefinedObject(format!("portal \"{name}\" does not exist")).into()
    }

    pub fn close(&mut self, mut body: Body) -> Step {
        let (kind, name) = (body.u8()?, body.text()?);
        match kind {
            b'S' => drop(self.statements.remove(&name)),
            b'P' => drop(self.portals.remove(&name)),
            _ => return Err(Stop::Violation("invalid CLOSE message subtype")),
        }
        self.wire.empty(b'3');
        Ok(())
    }

    pub async fn execute(&mut self, mut body: Body) -> Step {
        let name = body.text()?;
        let rows_max = usize::try_from(body.i32()?).ok().filter(|rows| *rows > 0).unwrap_or(usize::MAX);
        let Some(mut portal) = self.portals.remove(&name) else { return Err(self.no_portal(&name)) };
        self.statement_begins();
        let run = self.run_portal(&mut portal, rows_max).await;
        self.statement_ends();
        self.portals.insert(name, portal);
        run
    }

    async fn run_portal(&mut self, portal: &mut Portal, rows_max: usize) -> Step {
        if let State::New = portal.state {
            // Nothing but a Sync behind it makes a statement a transaction of its own.
            let more = self.wire.peek() != Some(b'S');
            let cancel = self.cancel();
            let run = self.session.execute(&portal.statement.prepared, &portal.parameters, more);
            let answered = cancel.unless(&self.wire, run).await;
            portal.state = State::Done;
            match answered {
                Err(error) => return Err(self.cancelled(error).await.into()),
                Ok(Answer::Rows { columns, rows, tag }) => {
                    portal.state = State::Suspended { columns, rows: RowSource::new(rows), tag, sent: 0 };
                }
                Ok(answer) => return self.answer(answer, false).await,
            }
        }
        // One that fails on the way is done: its rows are computed no further.
        let State::Suspended { columns, mut rows, tag, sent } = std::mem::replace(&mut portal.state, State::Done)
        else {
            self.wire.complete("SELECT 0");
            return Ok(());
        };
        let (count, last) = self.send_rows(&mut rows, &columns, &portal.formats, rows_max).await?;
        let sent = sent + count;
        if last {
            self.tell();
            self.wire.complete(&tag_text(tag, sent));
        } else {
            portal.state = State::Suspended { columns, rows, tag, sent };
            self.wire.empty(b's');
        }
        Ok(())
    }
}
