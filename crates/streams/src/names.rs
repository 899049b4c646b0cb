//! Names of streams: paths, and the flat names that Kafka's clients use.
//!
//! * The stream at `/a/b` is called `a.b`. A path that holds a character that Kafka does not allow, or that is
//!   longer than 249, has no such name.
//! * A name that starts with `/` is the path itself and reaches every stream.
//! * Otherwise the name is looked up in the root, whole; if there is no such stream, it is cut at its first dot
//!   and the rest looked up in the directory before it, by the same rule; then at the second dot, and so on. So
//!   where `/a.b` and `/a/b` both exist, `a.b` is the first of them, and the other is reached by its path.
//! * A plain name is created in the root, dots and all, unless it names a stream already.

use crate::stream::{Descriptor, Settings, Stream};
use crate::streams::{Streams, stream_of};
use crate::{Error, Result, keys, limits};
use ballast_store::{Batch, Space};
use ballast_tree::{Inode, NewInode};
use ballast_types::{Call, ErrorKind, Ino, Kind, Name, TreePath};

/// The owner may append, everybody who reaches the stream may read it; the x bits let a mount list it.
const MODE: u32 = 0o755;

/// A stream in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    pub stream: Stream,
    pub path: TreePath,
    /// Its flat name, if it has one and the name leads to it.
    pub name: Option<String>,
}

/// The flat name of a path.
pub fn kafka_name(path: &TreePath) -> Option<String> {
    let names: Option<Vec<&str>> = path.names().iter().map(|name| std::str::from_utf8(name.as_bytes()).ok()).collect();
    Some(names?.join(".")).filter(|name| is_legal(name))
}

/// Kafka's rule for names of topics.
pub fn is_legal(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

impl Streams {
    /// The stream of a name or a path.
    pub async fn find(&self, call: &Call, name: &str) -> Result<Stream> {
        let not_found = || Error::NotFound(name.to_owned());
        if name.starts_with('/') {
            let path = TreePath::parse(name).map_err(|_| Error::InvalidName(name.to_owned()))?;
            let inode = self.inner.tree.resolve(call, &path).await.map_err(|error| missing(error, not_found()))?;
            return if inode.kind == Kind::Stream { stream_of(&inode) } else { Err(not_found()) };
        }
        if !is_legal(name) {
            return Err(Error::InvalidName(name.to_owned()));
        }
        // Directories still to be looked into, the next one last, each with the rest of the name.
        let mut open = vec![(Ino::ROOT, name)];
        let mut lookups = 0;
        while let Some((directory, rest)) = open.pop() {
            if let Some(inode) = self.entry(call, directory, rest).await?
                && inode.kind == Kind::Stream
            {
                return stream_of(&inode);
            }
            let mut below = Vec::new();
            for (at, _) in rest.match_indices('.') {
                let (head, tail) = (&rest[..at], &rest[at + 1..]);
                if head.is_empty() || tail.is_empty() || lookups >= limits::NAME_LOOKUPS_MAX {
                    continue;
                }
                lookups += 1;
                match self.entry(call, directory, head).await? {
                    Some(inode) if inode.kind == Kind::Directory => below.push((inode.ino, tail)),
                    _ => {}
                }
            }
            open.extend(below.into_iter().rev());
        }
        Err(not_found())
    }

    /// The inode of a name; `None` if there is none.
    async fn entry(&self, call: &Call, directory: Ino, name: &str) -> Result<Option<Inode>> {
        let Ok(name) = name.parse::<Name>() else { return Ok(None) };
        match self.inner.tree.lookup(call, directory, &name).await {
            Ok(inode) => Ok(Some(inode)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The stream with this identity.
    pub async fn find_by_id(&self, topic_id: [u8; 16]) -> Result<Stream> {
        let unknown = || Error::NotFound("the stream of this topic id".to_owned());
        let ino = Ino::from_key(&topic_id[8..]).ok_or_else(unknown)?;
        let stream = self.stream(ino).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => unknown(),
            _ => error,
        })?;
        if stream.topic_id() == topic_id { Ok(stream) } else { Err(unknown()) }
    }

    /// Refuses a stream that cannot be made, without making it.
    pub async fn check_create(
        &self,
        call: &Call,
        name: &str,
        partitions: u32,
        settings: &Settings,
    ) -> Result<(Ino, Name)> {
        if !(1..=limits::PARTITIONS_MAX).contains(&partitions) {
            let text = format!("a stream has 1 to {} partitions, not {partitions}", limits::PARTITIONS_MAX);
            return Err(Error::InvalidPartitions(text));
        }
        settings.check()?;
        match self.find(call, name).await {
            Ok(_) => return Err(ballast_tree::Error::AlreadyExists(name.to_owned()).into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.place_of(call, name).await
    }

    /// Makes a stream: one commit, durable on return. `partitions` are made with it and cost nothing until used.
    pub async fn create(&self, call: &Call, name: &str, partitions: u32, settings: Settings) -> Result<Stream> {
        let (directory, entry) = self.check_create(call, name, partitions, &settings).await?;
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&self.inner.random.bytes16()[..8]);
        // The id's text must not start with a dash, which programs take for an option, nor may it be all zero.
        nonce[0] = nonce[0] & 0x7f | 0x01;
        let descriptor = Descriptor { nonce, partitions, settings };
        let new =
            NewInode { kind: Kind::Stream, mode: MODE, rdev: 0, descriptor: keys::descriptor::encode(&descriptor) };
        let list = |inode: &Inode, batch: &mut Batch| batch.put(list_key(inode.ino), &b"\x01"[..]);
        let (inode, position) = self.inner.tree.create(call, directory, &entry, new, &list).await?;
        self.inner.volume.durable(position).await?;
        stream_of(&inode)
    }

    /// The directory and name of a stream that may not exist yet.
    async fn place_of(&self, call: &Call, name: &str) -> Result<(Ino, Name)> {
        let invalid = || Error::InvalidName(name.to_owned());
        if !name.starts_with('/') {
            return Ok((Ino::ROOT, name.parse().map_err(|_| invalid())?));
        }
        let path = TreePath::parse(name).map_err(|_| invalid())?;
        let (directory, entry) = path.split_last().ok_or_else(invalid)?;
        let none = || Error::NoDirectory(directory.to_string());
        let found = self.inner.tree.resolve(call, &directory).await.map_err(|error| missing(error, none()))?;
        if found.kind == Kind::Directory { Ok((found.ino, entry.clone())) } else { Err(none()) }
    }

    /// Drops a stream with all it holds. Its name is gone on return, durably; its records go in the background.
    pub async fn remove(&self, call: &Call, stream: &Stream) -> Result<()> {
        let inode = self.inner.tree.inode(stream.ino).await?;
        let (parent, name) = inode.parent.ok_or_else(|| Error::NotFound(format!("inode {}", stream.ino)))?;
        let position = self.inner.tree.remove_directory(call, parent, &name).await?;
        Ok(self.inner.volume.durable(position).await?)
    }

    /// All streams that the caller can reach, in the order of their making.
    pub async fn list(&self, call: &Call) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut scan = self.inner.volume.scan(Space::StreamList.range(&[])).await?;
        loop {
            let rows = scan.next(limits::DELETE_ROWS).await?;
            let last_page = rows.len() < limits::DELETE_ROWS;
            for row in rows {
                let Some(ino) = Ino::from_key(&row.key[1..]) else { continue };
                if let Some(found) = self.listed(call, ino).await? {
                    listed.push(found);
                }
            }
            if last_page || listed.len() >= limits::LIST_MAX {
                return Ok(listed);
            }
        }
    }

    async fn listed(&self, call: &Call, ino: Ino) -> Result<Option<Listed>> {
        let quiet = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::Denied);
        let found = async {
            let stream = self.stream(ino).await?;
            let path = self.inner.tree.path_of(ino).await?;
            if !call.caller.is_root() {
                self.inner.tree.resolve(call, &path).await?;
            }
            let name = match kafka_name(&path) {
                Some(name) if self.find(call, &name).await.is_ok_and(|found| found.ino == ino) => Some(name),
                _ => None,
            };
            Ok(Listed { stream, path, name })
        };
        match found.await {
            Ok(found) => Ok(Some(found)),
            Err(error) => {
                let error: Error = error;
                if quiet(error.kind()) { Ok(None) } else { Err(error) }
            }
        }
    }

    /// The flat name of a stream, or its path where it has none.
    pub async fn name_of(&self, ino: Ino) -> Result<String> {
        let path = self.inner.tree.path_of(ino).await?;
        Ok(kafka_name(&path).unwrap_or_else(|| path.to_string()))
    }
}

fn list_key(ino: Ino) -> bytes::Bytes {
    Space::StreamList.key(&[&ino.to_key()])
}

/// What to say of a path that leads nowhere, whether a name is missing or something on the way is not a directory.
fn missing(error: ballast_tree::Error, instead: Error) -> Error {
    match error {
        ballast_tree::Error::NotFound(_) | ballast_tree::Error::NotADirectory(_) => instead,
        error => Error::Tree(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_path_has_dots_for_slashes() {
        let name = |path: &str| kafka_name(&TreePath::parse(path).unwrap());
        assert_eq!(name("/orders").as_deref(), Some("orders"));
        assert_eq!(name("/a/b-1/c_2").as_deref(), Some("a.b-1.c_2"));
        assert_eq!(name("/a b"), None);
        assert_eq!(name("/ä"), None);
        assert_eq!(name(&format!("/{}", "x".repeat(250))), None);
        assert_eq!(name("/"), None);
    }
}
