//! The space used below a path, through the API.
//!
//! The tree is walked depth first, a bounded part of it in each request. Between requests the server holds nothing: the
//! place where a walk stopped travels with the client as `after`. It says, for each inode on the way from the path
//! down, behind what the walk goes on: behind a name in a directory, a partition in a stream, a primary key in a table.
//! What is made, renamed or removed meanwhile may be counted or not.
//!
//! Cost: the row of each inode and each row of each table once; memory, some entries for each directory on the way.

use crate::Engines;
use crate::http::State as Server;
use crate::http::failure::Failure;
use crate::http::tree::{Answer, At, at};
use crate::limits;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use ballast_api::routes::{decode, decode_path, encode};
use ballast_api::{Usage, Used};
use ballast_streams::PartitionId;
use ballast_tree::{Entry, Inode};
use ballast_types::{Call, ErrorKind, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// A scan costs as much as so many rows before it answers the first.
const SCAN_ROWS: u64 = 20;

/// The size of a partition is a matter of some scans, more the longer it is.
const PARTITION_ROWS: u64 = 10 * SCAN_ROWS;

pub async fn usage(State(server): State<Arc<Server>>, query: Result<Query<At>, QueryRejection>) -> Answer<Usage> {
    let At { path, after } = at(query)?;
    let (path, call) = (decode_path(&path)?, server.call());
    let usage = measure(&server.engines, &call, &path, after.as_deref(), limits::USAGE_ROWS_MAX).await?;
    Ok(Json(usage))
}

/// Measures from `after` on, until about `rows_max` rows were read.
pub async fn measure(
    engines: &Engines,
    call: &Call,
    path: &TreePath,
    after: Option<&str>,
    rows_max: u64,
) -> Result<Usage, Failure> {
    let inode = engines.tree.resolve(call, path).await?;
    let mut walk = Walk { engines, call, rows_left: rows_max.max(1), usage: Usage::default(), way: Vec::new() };
    match after {
        None => walk.find(&inode)?,
        Some(after) => walk.find_back(inode, after).await?,
    }
    walk.run().await
}

/// The bytes of one stream or table, and whether that is all of it: what is left of `rows_left` bounds the reading.
pub async fn size(engines: &Engines, call: &Call, inode: &Inode, rows_left: &mut u64) -> Result<(u64, bool), Failure> {
    let mut walk = Walk { engines, call, rows_left: *rows_left, usage: Usage::default(), way: Vec::new() };
    walk.find(inode)?;
    let usage = walk.run().await?;
    *rows_left = walk.rows_left;
    Ok((usage.streams.bytes + usage.tables.bytes, usage.after.is_none()))
}

struct Walk<'a> {
    engines: &'a Engines,
    call: &'a Call,
    rows_left: u64,
    usage: Usage,
    /// The inodes that were entered and not yet left; the last is the deepest.
    way: Vec<Entered>,
}

struct Entered {
    ino: Ino,
    kind: Kind,
    /// The name, partition or primary key that was measured last; empty at the beginning.
    after: Bytes,
    /// Of a directory: entries that were read and come next.
    next: VecDeque<(Entry, Arc<Inode>)>,
}

impl Walk<'_> {
    async fn run(&mut self) -> Result<Usage, Failure> {
        while self.rows_left > 0 && !self.way.is_empty() {
            match self.step().await {
                Err(failure) if failure.kind == ErrorKind::NotFound => drop(self.way.pop()),
                other => other?,
            }
        }
        self.usage.after = (!self.way.is_empty()).then(|| self.place());
        Ok(std::mem::take(&mut self.usage))
    }

    /// Counts an inode; what needs further reads is entered.
    fn find(&mut self, inode: &Inode) -> Result<(), Failure> {
        let Usage { files, streams, tables, .. } = &mut self.usage;
        match inode.kind {
            Kind::File => {
                let bytes = self.engines.files.allocated(inode) / u64::from(inode.links.max(1));
                files.add(Used { count: 1, bytes });
            }
            Kind::Stream => streams.count += 1,
            Kind::Table => tables.count += 1,
            _ => {}
        }
        self.enter(inode, Bytes::new())
    }

    fn enter(&mut self, inode: &Inode, after: Bytes) -> Result<(), Failure> {
        if !inode.kind.looks_like_directory() {
            return Ok(());
        }
        // The place must find room in a request.
        if self.way.iter().map(|entered| entered.after.len() + 1).sum::<usize>() > TreePath::BYTES_MAX {
            return Err(Failure::invalid("the directories are too deep to measure: begin further down"));
        }
        self.way.push(Entered { ino: inode.ino, kind: inode.kind, after, next: VecDeque::new() });
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Failure> {
        let Some(Entered { ino, kind, after, next }) = self.way.last_mut() else { return Ok(()) };
        let ino = *ino;
        match kind {
            Kind::Stream => {
                let partition = match after.is_empty() {
                    true => 0,
                    false => u32::from_be_bytes(after[..].try_into().map_err(|_| no_place())?).saturating_add(1),
                };
                if partition >= self.engines.streams.stream(ino).await?.partitions() {
                    self.way.pop();
                    return Ok(());
                }
                *after = Bytes::copy_from_slice(&partition.to_be_bytes());
                self.rows_left = self.rows_left.saturating_sub(PARTITION_ROWS);
                self.usage.streams.bytes +=
                    self.engines.streams.partition_bytes(PartitionId { ino, partition }).await?;
            }
            Kind::Table => {
                let rows_max = usize::try_from(self.rows_left).unwrap_or(usize::MAX);
                let measured = self.engines.tables.measure(self.call, ino, after, rows_max).await?;
                self.rows_left = self.rows_left.saturating_sub(SCAN_ROWS + measured.rows as u64);
                self.usage.tables.bytes += measured.bytes;
                match measured.last {
                    Some(last) => *after = last,
                    None => drop(self.way.pop()),
                }
            }
            _ => {
                if next.is_empty() {
                    let name = (!after.is_empty()).then(|| Name::new(after.clone())).transpose();
                    let name = name.map_err(|_| no_place())?;
                    let page = self.engines.tree.list_inodes(self.call, ino, name.as_ref(), limits::USAGE_ENTRIES_MAX);
                    next.extend(page.await?);
                    self.rows_left = self.rows_left.saturating_sub(SCAN_ROWS);
                }
                let Some((entry, inode)) = next.pop_front() else {
                    self.way.pop();
                    return Ok(());
                };
                *after = Bytes::copy_from_slice(entry.name.as_bytes());
                self.rows_left = self.rows_left.saturating_sub(1);
                self.find(&inode)?;
            }
        }
        Ok(())
    }

    /// The place where the walk is, as text.
    fn place(&self) -> String {
        let mut text = String::new();
        for (depth, entered) in self.way.iter().enumerate() {
            if depth > 0 {
                text.push('/');
            }
            encode(&entered.after, &mut text);
        }
        text
    }

    /// Enters again what a walk had entered that stopped at this place, as far as it is still there.
    async fn find_back(&mut self, from: Inode, place: &str) -> Result<(), Failure> {
        let mut inode = from;
        let mut places = place.split('/').peekable();
        while let Some(place) = places.next() {
            let after = Bytes::from(decode(place).ok_or_else(no_place)?);
            self.enter(&inode, after.clone())?;
            if places.peek().is_none() {
                break;
            }
            let name = Name::new(after).map_err(|_| no_place())?;
            inode = match self.engines.tree.lookup(self.call, inode.ino, &name).await {
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                other => other?,
            };
        }
        Ok(())
    }
}

fn no_place() -> Failure {
    Failure::invalid("this is not a place where a measurement stopped")
}
