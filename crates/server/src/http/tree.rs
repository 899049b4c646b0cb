//! Names through the API: list, stat, create and remove, for every kind alike.

use crate::http::State as Server;
use crate::http::failure::Failure;
use crate::http::{table, usage};
use crate::limits;
use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use ballast_api::routes::{decode_path, encode_path};
use ballast_api::{Create, Entry, Listing, Remove, Removed, time};
use ballast_store::Position;
use ballast_tree::{Inode, NewInode};
use ballast_types::{Call, ErrorKind, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

pub type Answer<T> = Result<Json<T>, Failure>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub path: String,
    /// Of what comes in parts: where the part before ended.
    pub after: Option<String>,
}

pub fn at(query: Result<Query<At>, QueryRejection>) -> Result<At, Failure> {
    Ok(query.map_err(|rejection| Failure::invalid(rejection.body_text()))?.0)
}

pub async fn stat(State(server): State<Arc<Server>>, query: Result<Query<At>, QueryRejection>) -> Answer<Entry> {
    let path = decode_path(&at(query)?.path)?;
    let inode = server.tree().resolve(&server.call(), &path).await?;
    Ok(Json(server.entry(&path, &inode, &mut { limits::SIZE_ROWS_MAX }).await?))
}

/// One page of a directory. What is not a directory lists itself, as `ls` does.
pub async fn list(State(server): State<Arc<Server>>, query: Result<Query<At>, QueryRejection>) -> Answer<Listing> {
    let At { path, after } = at(query)?;
    let (path, call) = (decode_path(&path)?, server.call());
    let after = after.map(|after| decode_path(&format!("/{after}"))).transpose()?;
    let after = after.as_ref().and_then(|after| after.names().last());
    let directory = server.tree().resolve(&call, &path).await?;
    if directory.kind != Kind::Directory {
        return Ok(Json(Listing {
            entries: vec![server.entry(&path, &directory, &mut { limits::SIZE_ROWS_MAX }).await?],
            after: None,
        }));
    }
    // One more than a page tells whether there is another.
    let mut page = server.tree().list_page(&call, directory.ino, after, limits::LIST_ENTRIES_MAX + 1).await?;
    let more = page.len() > limits::LIST_ENTRIES_MAX;
    page.truncate(limits::LIST_ENTRIES_MAX);
    let last = page.last().filter(|_| more);
    let after = last.map(|entry| encode_path(&[entry.name.clone()].into_iter().collect())[1..].to_owned());
    let mut entries = Vec::with_capacity(page.len());
    let mut rows_left = limits::SIZE_ROWS_MAX;
    for entry in &page {
        match server.listed(&path.join(entry.name.clone()), entry.ino, &mut rows_left).await {
            Ok(shown) => entries.push(shown),
            // It was removed since the listing was made.
            Err(failure) if failure.kind == ErrorKind::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(Json(Listing { entries, after }))
}

pub async fn create(State(server): State<Arc<Server>>, body: Result<Json<Create>, JsonRejection>) -> Answer<Entry> {
    let Json(create) = body?;
    let (path, call) = (decode_path(&create.path)?, server.call());
    let Some((above, name)) = path.split_last() else {
        return Err(Failure::new(ErrorKind::AlreadyExists, "/ is there already"));
    };
    let only = |kind: &str, said: bool, what: &str| match said && create.kind != kind {
        true => Err(Failure::invalid(format!("only a {kind} has {what}"))),
        false => Ok(()),
    };
    only("stream", create.partitions.is_some(), "partitions")?;
    only("table", create.columns.is_some(), "columns")?;
    if create.parents {
        server.tree().create_directories(&call, &above).await?;
    }
    let parent = server.tree().resolve(&call, &above).await?;
    match create.kind.as_str() {
        "directory" => {
            let new = NewInode { kind: Kind::Directory, mode: 0o755, rdev: 0, descriptor: Bytes::new() };
            let (_, position) = server.tree().create(&call, parent.ino, name, new, &|_, _| {}).await?;
            server.durable(position).await?;
        }
        "stream" => {
            let (path, partitions) = (text_of(&path)?, create.partitions.unwrap_or(1));
            server.engines.streams.create(&call, &path, partitions, ballast_streams::Settings::default()).await?;
        }
        "table" => {
            let columns = create.columns.as_deref().unwrap_or_default();
            table::create(&server.engines.tables, &call, &text_of(&path)?, columns).await?;
        }
        other => return Err(Failure::invalid(format!("{other:?} is not a kind: directory, stream or table"))),
    }
    let inode = server.tree().resolve(&call, &path).await?;
    Ok(Json(server.entry(&path, &inode, &mut { limits::SIZE_ROWS_MAX }).await?))
}

pub async fn remove(State(server): State<Arc<Server>>, body: Result<Json<Remove>, JsonRejection>) -> Answer<Removed> {
    let Json(remove) = body?;
    let (path, call) = (decode_path(&remove.path)?, server.call());
    let Some((above, name)) = path.split_last() else {
        return Err(Failure::new(ErrorKind::Denied, "/ cannot be removed"));
    };
    let inode = server.tree().resolve(&call, &path).await?;
    let parent = server.tree().resolve(&call, &above).await?;
    let mut removal = Removal { server: &server, call: &call, drop: remove.drop, entries: 0, position: Position(0) };
    if inode.kind == Kind::Directory && remove.recursive {
        removal.refuse_state(&path, &inode).await?;
        removal.empty(&path, &inode).await?;
    }
    removal.position = match inode.kind.looks_like_directory() {
        true => server.tree().remove_directory(&call, parent.ino, name).await?,
        false => server.tree().unlink(&call, parent.ino, name).await?,
    };
    removal.entries += 1;
    server.durable(removal.position).await?;
    Ok(Json(Removed { entries: removal.entries }))
}

/// The path as text: streams and tables are named in protocols that speak text.
fn text_of(path: &TreePath) -> Result<String, Failure> {
    if path.names().iter().any(|name| std::str::from_utf8(name.as_bytes()).is_err()) {
        return Err(Failure::invalid("the path of a stream or a table must be text"));
    }
    Ok(path.to_string())
}

/// A recursive removal under way. It is not one commit: interrupted, it has removed a part.
struct Removal<'a> {
    server: &'a Server,
    call: &'a Call,
    drop: bool,
    entries: u64,
    position: Position,
}

impl Removal<'_> {
    /// Looks for streams and tables before anything is removed.
    async fn refuse_state(&self, path: &TreePath, directory: &Inode) -> Result<(), Failure> {
        if self.drop {
            return Ok(());
        }
        // Where each directory that is entered and not yet left goes on.
        let mut entered = vec![(path.clone(), directory.ino, None)];
        while let Some((path, ino, after)) = entered.last_mut() {
            let page = self.server.tree().list_page(self.call, *ino, after.as_ref(), limits::REMOVE_PAGE).await?;
            if page.is_empty() {
                entered.pop();
                continue;
            }
            let mut deeper = None;
            for entry in page {
                let below = path.join(entry.name.clone());
                self.check(&below, entry.kind)?;
                *after = Some(entry.name);
                if entry.kind == Kind::Directory {
                    deeper = Some((below, entry.ino, None));
                    break;
                }
            }
            entered.extend(deeper);
            check_depth(entered.len())?;
        }
        Ok(())
    }

    /// Whether what is here may go.
    fn check(&self, path: &TreePath, kind: Kind) -> Result<(), Failure> {
        if self.drop || !matches!(kind, Kind::Stream | Kind::Table) {
            return Ok(());
        }
        let message = format!("{path} is a {kind}: say --drop to drop it with what it holds");
        Err(Failure::new(ErrorKind::Denied, message))
    }

    /// Removes what is below a directory, the deepest first.
    async fn empty(&mut self, path: &TreePath, directory: &Inode) -> Result<(), Failure> {
        let tree = self.server.tree();
        // Directories that are entered and not yet left, the deepest last, and behind which name each goes on: before it
        // lies only what has been removed, and a scan would step over that again and again.
        let mut entered: Vec<(TreePath, Ino, Option<Name>)> = vec![(path.clone(), directory.ino, None)];
        while let Some((path, ino, after)) = entered.last_mut() {
            let page = tree.list_page(self.call, *ino, after.as_ref(), limits::REMOVE_PAGE).await?;
            if page.is_empty() {
                // Once more from the start, for what has come meanwhile.
                if after.take().is_some() {
                    continue;
                }
                let name = path.names().last().cloned();
                entered.pop();
                if let (Some((_, parent, after)), Some(name)) = (entered.last_mut(), name) {
                    self.position = tree.remove_directory(self.call, *parent, &name).await?;
                    *after = Some(name);
                    self.count()?;
                }
                continue;
            }
            let mut deeper = None;
            for entry in page {
                let below = path.join(entry.name.clone());
                if entry.kind == Kind::Directory {
                    deeper = Some((below, entry.ino, None));
                    break;
                }
                // It may have come since all was looked through.
                self.check(&below, entry.kind)?;
                self.position = match entry.kind.looks_like_directory() {
                    true => tree.remove_directory(self.call, *ino, &entry.name).await?,
                    false => tree.unlink(self.call, *ino, &entry.name).await?,
                };
                *after = Some(entry.name);
                self.count()?;
            }
            entered.extend(deeper);
            check_depth(entered.len())?;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Failure> {
        self.entries += 1;
        if self.entries >= limits::REMOVE_ENTRIES_MAX {
            let message = format!("{} entries are removed, and more are left: say it again", self.entries);
            return Err(Failure::new(ErrorKind::Exhausted, message));
        }
        Ok(())
    }
}

fn check_depth(depth: usize) -> Result<(), Failure> {
    match depth > limits::REMOVE_DEPTH_MAX {
        true => Err(Failure::invalid("the directories are too deep to remove in one request")),
        false => Ok(()),
    }
}

impl Server {
    /// A call of whoever connects from this machine.
    pub fn call(&self) -> Call {
        self.settings.identity.call()
    }

    async fn durable(&self, position: Position) -> Result<(), Failure> {
        Ok(self.tree().volume().durable(position).await?)
    }

    /// What a listing shows of an inode that it names.
    async fn listed(&self, path: &TreePath, ino: Ino, rows_left: &mut u64) -> Result<Entry, Failure> {
        let inode = self.tree().inode(ino).await?;
        if inode.links == 0 {
            return Err(Failure::new(ErrorKind::NotFound, format!("{path} has been removed")));
        }
        self.entry(path, &inode, rows_left).await
    }

    /// `rows_left` bounds what is read to tell the sizes of streams and tables.
    async fn entry(&self, path: &TreePath, inode: &Inode, rows_left: &mut u64) -> Result<Entry, Failure> {
        let mut details = BTreeMap::new();
        if inode.kind == Kind::Symlink {
            details.insert("target".to_owned(), String::from_utf8_lossy(&inode.descriptor).into_owned());
        }
        let inode = self.engines.files.current(inode.clone()).await?;
        if inode.kind == Kind::Stream {
            let stream = self.engines.streams.stream(inode.ino).await?;
            details.insert("partitions".to_owned(), stream.partitions().to_string());
        }
        let (size, whole) = match inode.kind {
            Kind::Stream | Kind::Table => usage::size(&self.engines, &self.call(), &inode, rows_left).await?,
            _ => (inode.size, true),
        };
        Ok(Entry {
            path: encode_path(path),
            name: path.names().last().map_or("/".to_owned(), ToString::to_string),
            kind: inode.kind.as_str().to_owned(),
            inode: inode.ino.0,
            mode: format!("{:04o}", inode.mode),
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links,
            size,
            size_is_partial: !whole,
            accessed: time::format(inode.atime),
            modified: time::format(inode.mtime),
            changed: time::format(inode.ctime),
            created: time::format(inode.btime),
            details,
        })
    }
}
