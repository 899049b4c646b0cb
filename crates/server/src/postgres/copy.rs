//! COPY, as messages.

use super::connection::{Connection, RowSource, Step, Stop, tag_text};
use super::limits;
use super::message::Body;
use ballast_tables::session::{CopyIn, CopyOut};
use ballast_tables::{Error, Tag};
use bytes::{BufMut, BytesMut};
use std::io;

impl Connection {
    fn copy_response(&mut self, tag: u8, columns: usize) {
        self.wire.message(tag, |out| {
            out.put_u8(0);
            out.put_u16(u16::try_from(columns).unwrap_or(u16::MAX));
            (0..columns).for_each(|_| out.put_i16(0));
        });
    }

    pub async fn copy_in(&mut self, mut copy: CopyIn) -> Step {
        self.copy_response(b'G', copy.columns());
        let cancel = self.cancel();
        loop {
            let message = tokio::select! {
                message = self.next() => message?,
                why = cancel.stopped() => {
                    self.session.copy_fail(copy).await;
                    return Err(why.into());
                }
            };
            let Some(message) = message else {
                self.session.copy_fail(copy).await;
                return Err(Stop::Io(io::ErrorKind::UnexpectedEof.into()));
            };
            match message.tag {
                b'd' => {
                    if let Err(error) =
                        cancel.unless(&self.wire, self.session.copy_data(&mut copy, &message.body)).await
                    {
                        if error.is_cancelled() {
                            self.session.copy_fail(copy).await;
                        }
                        return Err(error.into());
                    }
                }
                b'c' => {
                    let done = cancel.unless(&self.wire, self.session.copy_done(copy)).await;
                    let count = match done {
                        Ok(count) => count,
                        Err(error) => return Err(self.cancelled(error).await.into()),
                    };
                    self.wire.complete(&tag_text(Tag::Copy(count), 0));
                    return Ok(());
                }
                b'f' => {
                    let reason = Body(message.body).text().unwrap_or_default();
                    self.session.copy_fail(copy).await;
                    tracing::debug!(%reason, "the client gave up a COPY");
                    // As PostgreSQL answers it: a driver tells its own giving up from our failing by this code.
                    return Err(Error::Cancelled.into());
                }
                // Allowed, and without meaning here.
                b'H' | b'S' => {}
                _ => {
                    self.session.copy_fail(copy).await;
                    return Err(Stop::Violation("unexpected message during COPY from stdin"));
                }
            }
        }
    }

    pub async fn copy_out(&mut self, mut copy: CopyOut) -> Step {
        self.copy_response(b'H', copy.types.len());
        let rows = std::mem::replace(&mut copy.rows, ballast_tables::Rows::Ready(Vec::new()));
        let mut rows = RowSource::new(rows);
        let cancel = self.cancel();
        let mut line = BytesMut::with_capacity(limits::WRITE_BUFFER_BYTES / 16);
        copy.header(&mut line);
        let mut count = 0;
        loop {
            if !line.is_empty() {
                self.wire.message(b'd', |out| out.put_slice(&line));
                line.clear();
                self.relieve().await?;
            }
            match cancel.unless(&self.wire, rows.next()).await {
                Ok(Some(row)) => copy.line(&row, &mut line),
                Ok(None) => break,
                Err(error) => {
                    self.session.fail();
                    return Err(error.into());
                }
            }
            count += 1;
        }
        self.wire.empty(b'c');
        self.wire.complete(&tag_text(Tag::Copy(count), 0));
        Ok(())
    }
}
