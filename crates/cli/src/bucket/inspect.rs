//! `ballast inspect`: what lies in a bucket.

use crate::bucket::{Bucket, runtime};
use crate::failure::advised;
use crate::output;
use ballast_store::index::hex;
use ballast_store::{IndexedVolume, KeyRange, Pointer, Row, Volume};
use bytes::Bytes;

/// Print the log, the rows and the segments of a bucket
///
/// Without options, an overview. Stop the server first: the bucket must hold still.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ballast inspect
  ballast inspect ./data --log
  ballast inspect ./data --rows 20 --from 10
  ballast inspect ./data --segments")]
pub struct Arguments {
    #[command(flatten)]
    bucket: Bucket,
    /// Every row of every record of the log, in the order of the commits
    #[arg(long)]
    log: bool,
    /// This many rows of the index, in the order of their keys
    #[arg(long, value_name = "COUNT")]
    rows: Option<usize>,
    /// Begin the rows at this key: hexadecimal digits; the first two are the key's space
    #[arg(long, value_name = "KEY", requires = "rows", default_value = "")]
    from: String,
    /// The payloads of every segment
    #[arg(long)]
    segments: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let opened = arguments.bucket.open().await?;
        let Some(volume) = &opened.indexed else {
            return Err(advised("memory: keeps nothing to look at", "ballast inspect DIR"));
        };
        let shown = show(arguments, volume).await;
        opened.close().await?;
        shown
    })
}

async fn show(arguments: &Arguments, volume: &IndexedVolume) -> anyhow::Result<()> {
    if !arguments.log && arguments.rows.is_none() && !arguments.segments {
        return overview(volume).await;
    }
    if arguments.log {
        for file in volume.log_files() {
            output::line(&format!("{} from {} to {}", file.place, file.start.0, file.end.0))?;
            for row in volume.logged_rows(file).await? {
                let value = row.value_bytes.map_or("deleted".to_owned(), |bytes| format!("{bytes} bytes"));
                let (key, pointers) = (hex(&row.key), pointed(&row.pointers));
                output::line(&format!("  {} until {}: {key} {value}{pointers}", row.seq, row.group_end.0))?;
            }
        }
    }
    if let Some(count) = arguments.rows {
        let from = Bytes::from(unhex(&arguments.from)?);
        for row in volume.rows(KeyRange { start: from, end: None }, count).await? {
            output::line(&described(&row))?;
        }
    }
    if arguments.segments {
        for (place, bytes) in volume.segments() {
            output::line(&format!("{place}: {bytes} bytes"))?;
            for payload in volume.segment_payloads(place, bytes).await? {
                output::line(&format!("  {} bytes at {}, crc {:08x}", payload.length, payload.offset, payload.crc))?;
            }
        }
    }
    Ok(())
}

async fn overview(volume: &IndexedVolume) -> anyhow::Result<()> {
    let stats = volume.stats();
    output::line(&format!("position {}, durable up to {}", stats.position.0, stats.durable.0))?;
    for file in volume.log_files() {
        output::line(&format!("{} from {} to {}", file.place, file.start.0, file.end.0))?;
    }
    for (place, bytes) in volume.segments() {
        output::line(&format!("{place}: {}", output::bytes(bytes)))?;
    }
    for snapshot in volume.snapshots().await? {
        output::line(&format!("snapshot {} at {}", snapshot.name, snapshot.position.0))?;
    }
    output::line(&format!("index {}", output::bytes(stats.index_bytes)))
}

fn described(row: &Row) -> String {
    format!("{} {}{}", hex(&row.key), hex(&row.value.bytes), pointed(&row.value.pointers))
}

fn pointed(pointers: &[Pointer]) -> String {
    let show = |pointer: &Pointer| format!(" -> {} at {}, {} bytes", pointer.place, pointer.offset, pointer.length);
    pointers.iter().map(show).collect()
}

/// The bytes behind hexadecimal digits; colons are for the eye.
fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|letter| *letter != ':').map(|letter| letter.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0);
    let digits =
        digits.ok_or_else(|| advised(format!("{text:?} is no key"), "an even number of hexadecimal digits"))?;
    Ok(digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect())
}
