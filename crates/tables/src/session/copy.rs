//! COPY: rows in and out as lines of text or CSV.
//!
//! COPY in is one statement: its rows are written together, as one transaction that takes as many rows as a
//! transaction can. Lines may arrive cut anywhere.

use super::dml::keyed;
use super::{Answer, Rows, Session};
use crate::changes::Changes;
use crate::sql::expression::{Context, Expression};
use crate::sql::plan::write::{defaults, insert_columns};
use crate::sql::plan::{OutputColumn, Plan};
use crate::table::View;
use crate::value::text;
use crate::{Error, Result, Row, Type, Value, limits};
use ballast_store::Position;
use ballast_tree::access::Access;
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::sql::sqlparser::ast;
use std::iter::Peekable;
use std::sync::Arc;

/// How lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    pub csv: bool,
    pub delimiter: u8,
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
}

impl CopyFormat {
    fn text() -> Self {
        Self { csv: false, delimiter: b'\t', null: "\\N".into(), header: false, quote: b'"', escape: b'"' }
    }

    fn csv() -> Self {
        Self { csv: true, delimiter: b',', null: String::new(), header: false, quote: b'"', escape: b'"' }
    }
}

/// A COPY … FROM STDIN under way: hand it to [`Session::copy_data`] with every portion.
pub struct CopyIn {
    view: View,
    positions: Vec<usize>,
    defaults: Vec<Expression>,
    format: CopyFormat,
    /// The start of a line whose end has not come yet.
    rest: BytesMut,
    header_left: bool,
    ended: bool,
    gathered: Vec<(Bytes, Row)>,
    /// Bytes of the lines that are gathered.
    gathered_bytes: usize,
    count: u64,
    /// True if COPY began the transaction that it writes in.
    own: bool,
}

impl CopyIn {
    pub fn columns(&self) -> usize {
        self.positions.len()
    }
}

/// A COPY … TO STDOUT: rows to write with [`CopyOut::line`].
pub struct CopyOut {
    pub rows: Rows,
    pub types: Vec<Type>,
    pub format: CopyFormat,
    pub names: Vec<String>,
}

impl CopyOut {
    /// Appends a row as a line.
    pub fn line(&self, row: &[Value], out: &mut BytesMut) {
        write_line(
            &self.format,
            row.iter().zip(&self.types).map(|(value, of)| (!value.is_null()).then(|| text::print(value, *of))),
            out,
        );
    }

    /// Appends the line of names, if the format has one.
    pub fn header(&self, out: &mut BytesMut) {
        if self.format.header {
            write_line(&self.format, self.names.iter().cloned().map(Some), out);
        }
    }
}

fn write_line(format: &CopyFormat, fields: impl Iterator<Item = Option<String>>, out: &mut BytesMut) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.put_u8(format.delimiter);
        }
        match field {
            None => out.put_slice(format.null.as_bytes()),
            Some(field) if format.csv => write_csv(format, &field, out),
            Some(field) => write_text(format, &field, out),
        }
    }
    out.put_u8(b'\n');
}

fn write_csv(format: &CopyFormat, field: &str, out: &mut BytesMut) {
    let special = |byte: u8| byte == format.delimiter || byte == format.quote || matches!(byte, b'\n' | b'\r');
    if field != format.null && field != "\\." && !field.bytes().any(special) {
        out.put_slice(field.as_bytes());
        return;
    }
    out.put_u8(format.quote);
    for byte in field.bytes() {
        if byte == format.quote || byte == format.escape {
            out.put_u8(format.escape);
        }
        out.put_u8(byte);
    }
    out.put_u8(format.quote);
}

fn write_text(format: &CopyFormat, field: &str, out: &mut BytesMut) {
    for byte in field.bytes() {
        match byte {
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            byte if byte == format.delimiter => out.put_slice(&[b'\\', byte]),
            byte => out.put_u8(byte),
        }
    }
}

impl Session {
    pub(super) async fn copy(
        &mut self,
        source: &ast::CopySource,
        to: bool,
        target: &ast::CopyTarget,
        options: &[ast::CopyOption],
        legacy: &[ast::CopyLegacyOption],
    ) -> Result<Answer> {
        let format = format_of(options, legacy)?;
        match (to, target) {
            (true, ast::CopyTarget::Stdout) => self.copy_out(source, format).await,
            (false, ast::CopyTarget::Stdin) => self.copy_in(source, format).await,
            _ => Err(Error::Unsupported("COPY reads from STDIN and writes to STDOUT only".into())),
        }
    }

    async fn copy_out(&mut self, source: &ast::CopySource, format: CopyFormat) -> Result<Answer> {
        let sql = match source {
            ast::CopySource::Query(query) => query.to_string(),
            ast::CopySource::Table { table_name, columns } => {
                let list = match columns.is_empty() {
                    true => "*".to_owned(),
                    false => columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                };
                format!("SELECT {list} FROM {table_name}")
            }
        };
        let mut parsed = crate::sql::parse(&sql)?;
        let statement = Arc::new(parsed.pop().ok_or_else(|| Error::Syntax("COPY of nothing".into()))?);
        let (plan, _) = self.plan(&statement, &[]).await?;
        if !matches!(plan, Plan::Select(_) | Plan::Query(_)) {
            return Err(Error::Unsupported("COPY TO takes a table or a SELECT".into()));
        }
        let answer = match &plan {
            Plan::Select(select) => self.select(select, &[]).await?,
            Plan::Query(query) => self.query(query, &[], &[]).await?,
            _ => return Err(Error::Unsupported("COPY TO takes a table or a SELECT".into())),
        };
        let Answer::Rows { columns, rows, .. } = answer else {
            return Err(Error::Unsupported("COPY TO takes a table or a SELECT".into()));
        };
        let types = columns.iter().map(|column: &OutputColumn| column.column_type).collect();
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Ok(Answer::CopyOut(CopyOut { rows, types, format, names }))
    }

    async fn copy_in(&mut self, source: &ast::CopySource, format: CopyFormat) -> Result<Answer> {
        let ast::CopySource::Table { table_name, columns } = source else {
            return Err(Error::Syntax("COPY FROM needs a table".into()));
        };
        let view = self.view(table_name, Access::WRITE).await?;
        let listed: Vec<ast::ObjectName> = columns.iter().map(|column| vec![column.clone()].into()).collect();
        let positions = insert_columns(&view, &listed)?;
        let defaults = defaults(&view)?;
        self.refuse_if_read_only("COPY FROM")?;
        let own = self.transaction.is_none();
        if own {
            self.begin_implicit().await?;
        }
        self.enter(&view, Access::WRITE).await?;
        let header_left = format.header;
        let (rest, gathered) = (BytesMut::new(), Vec::new());
        Ok(Answer::CopyIn(CopyIn {
            view,
            positions,
            defaults,
            format,
            rest,
            header_left,
            ended: false,
            gathered,
            gathered_bytes: 0,
            count: 0,
            own,
        }))
    }

    /// Takes a portion of the client's data.
    pub async fn copy_data(&mut self, copy: &mut CopyIn, data: &[u8]) -> Result<()> {
        let taken = self.take_copy_data(copy, data).await;
        if taken.is_err() {
            self.end_copy(copy).await;
        }
        taken
    }

    async fn take_copy_data(&mut self, copy: &mut CopyIn, data: &[u8]) -> Result<()> {
        copy.rest.extend_from_slice(data);
        while let Some(end) = line_end(&copy.rest, &copy.format) {
            let line = copy.rest.split_to(end + 1);
            self.copy_line(copy, &line[..end]).await?;
        }
        if copy.rest.len() > limits::COPY_LINE_BYTES_MAX {
            return Err(Error::TooLarge(format!("a line of COPY has more than {} bytes", limits::COPY_LINE_BYTES_MAX)));
        }
        Ok(())
    }

    /// The client has sent everything; how many rows were written.
    pub async fn copy_done(&mut self, mut copy: CopyIn) -> Result<u64> {
        let last = copy.rest.split();
        let finish = async {
            if !last.is_empty() {
                self.copy_line(&mut copy, &last).await?;
            }
            self.flush_copy(&mut copy).await
        };
        if let Err(error) = finish.await {
            self.end_copy(&copy).await;
            return Err(error);
        }
        if copy.own {
            self.commit().await?;
        }
        Ok(copy.count)
    }

    /// The client gave up.
    pub async fn copy_fail(&mut self, copy: CopyIn) {
        self.end_copy(&copy).await;
    }

    async fn end_copy(&mut self, copy: &CopyIn) {
        // The rows that it found in its way may not be durable yet.
        if let Err(error) = self.settled(Position::default()).await {
            tracing::debug!(%error, "what a failed COPY has read is not durable");
        }
        match copy.own {
            true => self.rollback().await,
            false => self.fail(),
        }
    }

    async fn copy_line(&mut self, copy: &mut CopyIn, line: &[u8]) -> Result<()> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if std::mem::take(&mut copy.header_left) || copy.ended {
            return Ok(());
        }
        if line == b"\\." {
            copy.ended = true;
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| Error::InvalidEncoding)?;
        let fields = if copy.format.csv { read_csv(line, &copy.format)? } else { read_text(line, &copy.format)? };
        if fields.len() != copy.positions.len() {
            let what = if fields.len() < copy.positions.len() {
                "missing data for column"
            } else {
                "extra data after last expected column"
            };
            return Err(Error::BadCopy(format!("{what} in line {}", copy.count as usize + copy.gathered.len() + 1)));
        }
        let tables = Arc::clone(&self.tables.0);
        let context = Context { parameters: &[], now_micros: self.now_micros(), random: &tables.random };
        let mut row = Row::with_capacity(copy.defaults.len());
        for (at, default) in copy.defaults.iter().enumerate() {
            row.push(if copy.positions.contains(&at) { Value::Null } else { default.evaluate(&[], &context)? });
        }
        for (at, field) in copy.positions.iter().zip(fields) {
            if let Some(field) = field {
                row[*at] = text::parse(&field, copy.view.schema.columns[*at].column_type)?;
            }
        }
        copy.gathered.push(keyed(&copy.view, row, &tables)?);
        copy.gathered_bytes += line.len();
        let much = copy.gathered.len() >= limits::COPY_ROWS || copy.gathered_bytes >= limits::COPY_BYTES;
        if much { self.flush_copy(copy).await } else { Ok(()) }
    }

    async fn flush_copy(&mut self, copy: &mut CopyIn) -> Result<()> {
        self.tables.0.volume.check_space()?;
        let reading = self.present();
        let mut changes = Changes::default();
        copy.gathered_bytes = 0;
        for (key, row) in std::mem::take(&mut copy.gathered) {
            let own = matches!(changes.get(&key), Some(Some(_)));
            if own || reading.get(&key).await?.is_some() {
                return Err(copy.view.unique_violation(&row));
            }
            changes.put(key, copy.view.encode(&row)?)?;
            copy.count += 1;
        }
        self.tables.0.metrics.written_rows.inc_by(changes.len() as u64);
        match &mut self.transaction {
            Some(open) => open.apply(&self.tables.0, changes).await,
            None => Err(Error::TransactionFailed),
        }
    }
}

fn format_of(options: &[ast::CopyOption], legacy: &[ast::CopyLegacyOption]) -> Result<CopyFormat> {
    let mut csv = legacy.iter().any(|option| matches!(option, ast::CopyLegacyOption::Csv(_)));
    if legacy.iter().any(|option| matches!(option, ast::CopyLegacyOption::Binary)) {
        return Err(Error::Unsupported("COPY in binary format is not supported".into()));
    }
    for option in options {
        if let ast::CopyOption::Format(name) = option {
            csv = match name.value.to_lowercase().as_str() {
                "csv" => true,
                "text" => false,
                other => return Err(Error::Unsupported(format!("COPY format {other} is not supported"))),
            };
        }
    }
    let mut format = if csv { CopyFormat::csv() } else { CopyFormat::text() };
    let byte = |what: &str, c: char| {
        u8::try_from(c).map_err(|_| Error::InvalidParameter(format!("COPY {what} must be one byte")))
    };
    for option in options {
        match option {
            ast::CopyOption::Delimiter(c) => format.delimiter = byte("delimiter", *c)?,
            ast::CopyOption::Null(text) => format.null.clone_from(text),
            ast::CopyOption::Header(header) => format.header = *header,
            ast::CopyOption::Quote(c) => format.quote = byte("quote", *c)?,
            ast::CopyOption::Escape(c) => format.escape = byte("escape", *c)?,
            ast::CopyOption::Format(_) | ast::CopyOption::Freeze(_) | ast::CopyOption::Encoding(_) => {}
            other => return Err(Error::Unsupported(format!("COPY option {other} is not supported"))),
        }
    }
    for option in legacy {
        match option {
            ast::CopyLegacyOption::Csv(options) => {
                for option in options {
                    match option {
                        ast::CopyLegacyCsvOption::Header => format.header = true,
                        ast::CopyLegacyCsvOption::Quote(c) => format.quote = byte("quote", *c)?,
                        ast::CopyLegacyCsvOption::Escape(c) => format.escape = byte("escape", *c)?,
                        other => return Err(Error::Unsupported(format!("COPY option {other} is not supported"))),
                    }
                }
            }
            ast::CopyLegacyOption::Delimiter(c) => format.delimiter = byte("delimiter", *c)?,
            ast::CopyLegacyOption::Null(text) => format.null.clone_from(text),
            ast::CopyLegacyOption::Header => format.header = true,
            other => return Err(Error::Unsupported(format!("COPY option {other} is not supported"))),
        }
    }
    Ok(format)
}

/// Where the first line ends; in CSV a quoted field may hold line ends.
fn line_end(bytes: &[u8], format: &CopyFormat) -> Option<usize> {
    if !format.csv {
        return bytes.iter().position(|byte| *byte == b'\n');
    }
    let (mut quoted, mut escaped) = (false, false);
    // A quote that escapes a quote turns twice.
    let escape = (format.escape != format.quote).then_some(format.escape);
    bytes.iter().position(|byte| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        if quoted && Some(*byte) == escape {
            escaped = true;
        } else if *byte == format.quote {
            quoted = !quoted;
        }
        *byte == b'\n' && !quoted
    })
}

fn read_text(line: &str, format: &CopyFormat) -> Result<Vec<Option<String>>> {
    let mut fields = Vec::new();
    let mut raw = Vec::new();
    let mut bytes = line.bytes();
    loop {
        match bytes.next() {
            Some(b'\\') => {
                raw.push(b'\\');
                raw.extend(bytes.next());
            }
            Some(byte) if byte != format.delimiter => raw.push(byte),
            end => {
                fields.push(unescape(&std::mem::take(&mut raw), format)?);
                if end.is_none() {
                    return Ok(fields);
                }
            }
        }
    }
}

fn unescape(raw: &[u8], format: &CopyFormat) -> Result<Option<String>> {
    if raw == format.null.as_bytes() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next() {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(digit @ b'0'..=b'7') => code(u32::from(digit - b'0'), 8, &mut rest),
            Some(b'x') if rest.peek().is_some_and(u8::is_ascii_hexdigit) => code(0, 16, &mut rest),
            Some(other) => other,
            None => b'\\',
        });
    }
    String::from_utf8(out).map(Some).map_err(|_| Error::InvalidEncoding)
}

/// Reads at most two digits more of a byte's number.
fn code(begun: u32, base: u32, rest: &mut Peekable<impl Iterator<Item = u8>>) -> u8 {
    let mut code = begun;
    for _ in 0..2 {
        let Some(digit) = rest.peek().and_then(|next| char::from(*next).to_digit(base)) else { break };
        code = code * base + digit;
        rest.next();
    }
    u8::try_from(code & 0xff).unwrap_or(0)
}

fn read_csv(line: &str, format: &CopyFormat) -> Result<Vec<Option<String>>> {
    let mut fields = Vec::new();
    let (mut field, mut was_quoted, mut quoted) = (Vec::new(), false, false);
    let mut bytes = line.bytes().peekable();
    loop {
        match bytes.next() {
            Some(byte) if quoted => {
                let escapes = byte == format.escape
                    && bytes.peek().is_some_and(|next| *next == format.quote || *next == format.escape);
                if escapes {
                    field.extend(bytes.next());
                } else if byte == format.quote {
                    quoted = false;
                } else {
                    field.push(byte);
                }
            }
            Some(byte) if byte == format.quote => {
                quoted = true;
                was_quoted = true;
            }
            Some(byte) if byte != format.delimiter => field.push(byte),
            end => {
                if quoted {
                    return Err(Error::BadCopy("unterminated CSV quoted field".into()));
                }
                let text = String::from_utf8(std::mem::take(&mut field)).map_err(|_| Error::InvalidEncoding)?;
                let is_null = !std::mem::take(&mut was_quoted) && text == format.null;
                fields.push((!is_null).then_some(text));
                if end.is_none() {
                    return Ok(fields);
                }
            }
        }
    }
}
