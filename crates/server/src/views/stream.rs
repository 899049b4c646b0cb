//! A stream as text: its newest records as JSON, and lines as records.

use crate::views::records;
use ballast_streams::{AppendPart, Error, FetchPart, FetchRequest, OffsetAt, PartitionId, Right, Stream, Streams};
use ballast_types::{Call, ErrorKind, Ino};
use bytes::Bytes;
use std::time::Duration;

/// The newest records, one JSON object a line.
pub const TAIL: &str = "tail.ndjson";
/// Takes lines.
pub const APPEND: &str = "append";

/// Bytes of a line that is written to `append`: one record. A record batch of the default size holds it.
pub const LINE_BYTES_MAX: usize = 1_000_000;

/// Records that `tail.ndjson` shows of each partition.
const TAIL_RECORDS: i64 = 100;

/// Partitions that `tail.ndjson` shows.
const TAIL_PARTITIONS: u32 = 64;

/// Bytes that `tail.ndjson` reads of each partition.
const TAIL_BYTES_MAX: usize = 256 << 10;

/// Bytes of record batches that one append carries.
const APPEND_BYTES_MAX: usize = 900_000;

/// The newest records of every partition.
pub async fn tail(streams: &Streams, call: &Call, ino: Ino) -> Result<Bytes, ErrorKind> {
    let stream = checked(streams, call, ino, Right::Read).await?;
    let mut text = String::new();
    for partition in 0..stream.partitions().min(TAIL_PARTITIONS) {
        let id = PartitionId { ino, partition };
        let (start, end) =
            (offset(streams, id, OffsetAt::Earliest).await?, offset(streams, id, OffsetAt::Latest).await?);
        let first = start.max(end - TAIL_RECORDS);
        let mut next = first;
        let mut left = TAIL_BYTES_MAX;
        while next < end && left > 0 {
            let part = FetchPart { id, offset: next, bytes_max: left };
            let request = FetchRequest { parts: vec![part], bytes_max: left, bytes_min: 0, wait: Duration::ZERO };
            let mut answer = streams.fetch(&request).await;
            let fetched = answer.parts.pop().ok_or(ErrorKind::Unavailable)?;
            let fetched = fetched.map_err(|error| error.kind())?;
            if fetched.bytes == 0 {
                break;
            }
            left = left.saturating_sub(fetched.bytes);
            next = records::describe(&fetched.records.concat(), partition, first, &mut text);
        }
    }
    Ok(text.into())
}

/// Appends each line as a record without a key, to the first partition, so that their order is that of the
/// lines. Durable on return.
pub async fn append(streams: &Streams, call: &Call, ino: Ino, lines: Vec<Bytes>) -> Result<(), ErrorKind> {
    if lines.is_empty() {
        return Ok(());
    }
    checked(streams, call, ino, Right::Append).await?;
    let id = PartitionId { ino, partition: 0 };
    for lines in bounded(lines) {
        let batch = records::batch(&lines, streams.now_ms());
        let pending = streams.append(vec![AppendPart { id, records: batch }]).await;
        let appended = pending.durable().await.into_iter().next().ok_or(ErrorKind::Unavailable)?;
        appended.map_err(|error| error.kind())?;
    }
    Ok(())
}

async fn checked(streams: &Streams, call: &Call, ino: Ino, right: Right) -> Result<Stream, ErrorKind> {
    let kind = |error: Error| error.kind();
    let stream = streams.stream(ino).await.map_err(kind)?;
    streams.check(call, &stream, right).map_err(kind)?;
    Ok(stream)
}

async fn offset(streams: &Streams, id: PartitionId, at: OffsetAt) -> Result<i64, ErrorKind> {
    let found = streams.find_offset(id, at).await.map_err(|error| error.kind())?;
    Ok(found.map_or(0, |found| found.offset))
}

/// The whole lines of a text, without their ends, and what is behind the last one.
pub fn whole_lines(mut text: Vec<u8>) -> (Vec<Bytes>, Vec<u8>) {
    let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { return (Vec::new(), text) };
    let rest = text.split_off(end + 1);
    text.pop();
    let text = Bytes::from(text);
    (text.split(|byte| *byte == b'\n').map(|line| text.slice_ref(line)).collect(), rest)
}

/// The lines in parts of bounded size.
fn bounded(lines: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut parts: Vec<Vec<Bytes>> = Vec::new();
    let mut room = 0;
    for line in lines {
        let size = line.len() + records::RECORD_OVERHEAD;
        match parts.last_mut() {
            Some(part) if size <= room => part.push(line),
            _ => {
                room = APPEND_BYTES_MAX.max(size);
                parts.push(vec![line]);
            }
        }
        room -= size;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_and_the_rest_waits() {
        let cut = |text: &[u8]| whole_lines(text.to_vec());
        assert_eq!(cut(b"ab"), (vec![], b"ab".to_vec()));
        assert_eq!(cut(b"a\n\nb\nc"), (vec!["a".into(), "".into(), "b".into()], b"c".to_vec()));
        assert_eq!(cut(b"a\n"), (vec!["a".into()], vec![]));
    }

    #[test]
    fn many_lines_go_in_several_appends_and_none_is_lost() {
        let lines: Vec<Bytes> = (0..50).map(|number| vec![number; 100_000].into()).collect();
        let parts = bounded(lines.clone());
        assert!(parts.len() > 5 && parts.iter().all(|part| part.len() <= 9));
        assert_eq!(parts.concat(), lines);
    }
}
