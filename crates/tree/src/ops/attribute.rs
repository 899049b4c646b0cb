//! Extended attributes, under the rules of xattr(7).
//!
//! | namespace | read | write |
//! |---|---|---|
//! | `user.` | who may read the inode | who may write it; files, directories, streams and tables only; in a sticky directory its owner only |
//! | `trusted.` | the superuser; to others it is not there | the superuser |
//! | `security.` | everybody | the superuser |
//! | `user.ballast.` | everybody; computed, not listed | nobody |
//!
//! `system.` (access control lists) and everything else is not supported: to keep a list that nobody enforces
//! would be a lie.

use crate::access::{self, Access};
use crate::change::What;
use crate::edit::Edit;
use crate::tree::Inner;
use crate::{Error, Inode, Result, keys, limits, rows};
use ballast_store::{Position, Read};
use ballast_types::{Call, Ino, Kind};
use bytes::Bytes;
use std::sync::Arc;

/// What programs ask to learn whether a directory is really a stream or a table.
pub const KIND: &[u8] = b"user.ballast.kind";
const COMPUTED: &[u8] = b"user.ballast.";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespace {
    User,
    Trusted,
    Security,
    Computed,
}

impl Namespace {
    fn of(name: &[u8]) -> Result<Self> {
        if name.is_empty() || name.len() > limits::ATTRIBUTE_NAME_BYTES_MAX {
            return Err(Error::AttributeName);
        }
        if name.contains(&0) {
            return Err(Error::Invalid("an attribute's name holds a NUL byte".into()));
        }
        let known = [
            (COMPUTED, Self::Computed),
            (b"user.", Self::User),
            (b"trusted.", Self::Trusted),
            (b"security.", Self::Security),
        ];
        let found = known.into_iter().find_map(|(prefix, space)| Some((name.strip_prefix(prefix)?, space)));
        match found {
            Some(([], _)) => Err(Error::Invalid("an attribute needs a name behind its namespace".into())),
            Some((_, space)) => Ok(space),
            None => Err(Error::Unsupported(format!("the attribute {}", show(name)))),
        }
    }
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn missing(name: &[u8]) -> Error {
    Error::NoAttribute(show(name))
}

/// `user.` attributes make sense where the mode bits say who may read and write content.
fn carries_user(inode: &Inode) -> bool {
    inode.kind == Kind::File || inode.kind.looks_like_directory()
}

pub async fn get(tree: &Arc<Inner>, call: &Call, ino: Ino, name: &[u8]) -> Result<Bytes> {
    let inode = tree.inode(ino).await?;
    if let Some(answer) = answer_without_rows(&inode, call, name)? {
        return Ok(answer);
    }
    let _unchanged = tree.locks.read(ino).await;
    rows::attribute(tree.reader(), ino, name).await?.ok_or_else(|| missing(name))
}

/// Checks the right to read, and answers what needs no rows.
fn answer_without_rows(inode: &Inode, call: &Call, name: &[u8]) -> Result<Option<Bytes>> {
    match Namespace::of(name)? {
        Namespace::Computed if name == KIND => return Ok(Some(Bytes::from_static(inode.kind.as_str().as_bytes()))),
        Namespace::Computed => return Err(missing(name)),
        Namespace::User if !carries_user(inode) => return Err(missing(name)),
        Namespace::User => access::require(inode, &call.caller, Access::READ)?,
        Namespace::Trusted if !call.caller.is_root() => return Err(missing(name)),
        Namespace::Trusted | Namespace::Security => {}
    }
    if inode.attributes == 0 { Err(missing(name)) } else { Ok(None) }
}

pub async fn list(tree: &Arc<Inner>, call: &Call, ino: Ino) -> Result<Vec<Bytes>> {
    let inode = tree.inode(ino).await?;
    if inode.attributes == 0 {
        return Ok(Vec::new());
    }
    let _unchanged = tree.locks.read(ino).await;
    list_rows(tree.reader(), call, ino).await
}

pub async fn list_rows(reader: &dyn Read, call: &Call, ino: Ino) -> Result<Vec<Bytes>> {
    let mut names = rows::attribute_names(reader, ino).await?;
    names.retain(|name| call.caller.is_root() || !name.starts_with(b"trusted."));
    Ok(names)
}

/// As [`get`], of any cut.
pub async fn get_rows(reader: &dyn Read, call: &Call, inode: &Inode, name: &[u8]) -> Result<Bytes> {
    match answer_without_rows(inode, call, name)? {
        Some(answer) => Ok(answer),
        None => rows::attribute(reader, inode.ino, name).await?.ok_or_else(|| missing(name)),
    }
}

pub async fn set(
    tree: &Arc<Inner>,
    call: &Call,
    ino: Ino,
    name: &[u8],
    value: &[u8],
    create: Option<bool>,
) -> Result<Position> {
    if value.len() > limits::ATTRIBUTE_VALUE_BYTES_MAX {
        return Err(Error::AttributeTooLarge(value.len()));
    }
    tree.volume.check_space()?;
    let mut edit = Edit::begin(tree, call.request, &[ino]).await;
    let inode = edit.load(ino).await?;
    require_write(inode, call, name)?;
    let count = inode.attributes;
    let exists = count > 0 && rows::attribute(tree.reader(), ino, name).await?.is_some();
    match (create, exists) {
        (Some(true), true) => return Err(Error::AlreadyExists(format!("the attribute {}", show(name)))),
        (Some(false), false) => return Err(missing(name)),
        (_, false) if count >= limits::ATTRIBUTES_MAX => {
            return Err(Error::NoSpace(format!("an inode has at most {} attributes", limits::ATTRIBUTES_MAX)));
        }
        _ => {}
    }
    edit.batch.put(keys::attribute::key(ino, name), keys::attribute::encode(value));
    let now = tree.now();
    let inode = edit.change(ino);
    inode.attributes += u32::from(!exists);
    inode.ctime = now;
    edit.tell(What::Attributes { ino });
    edit.commit().await
}

pub async fn remove(tree: &Arc<Inner>, call: &Call, ino: Ino, name: &[u8]) -> Result<Position> {
    let mut edit = Edit::begin(tree, call.request, &[ino]).await;
    let inode = edit.load(ino).await?;
    require_write(inode, call, name)?;
    if inode.attributes == 0 || rows::attribute(tree.reader(), ino, name).await?.is_none() {
        return Err(missing(name));
    }
    edit.batch.delete(keys::attribute::key(ino, name));
    let now = tree.now();
    let inode = edit.change(ino);
    inode.attributes = inode.attributes.saturating_sub(1);
    inode.ctime = now;
    edit.tell(What::Attributes { ino });
    edit.commit().await
}

fn require_write(inode: &Inode, call: &Call, name: &[u8]) -> Result<()> {
    let caller = &call.caller;
    match Namespace::of(name)? {
        Namespace::Computed => Err(Error::NotPermitted(format!("the attribute {} is read-only", show(name)))),
        Namespace::Trusted | Namespace::Security if !caller.is_root() => {
            Err(Error::NotPermitted(format!("only the superuser sets {}", show(name))))
        }
        Namespace::Trusted | Namespace::Security => Ok(()),
        Namespace::User if !carries_user(inode) => {
            Err(Error::NotPermitted(format!("a {} has no user attributes", inode.kind)))
        }
        Namespace::User => {
            let sticky = inode.kind == Kind::Directory && inode.mode & access::STICKY != 0;
            if sticky && !access::owns(inode, caller) {
                return Err(Error::NotPermitted("only the owner sets attributes of a sticky directory".into()));
            }
            access::require(inode, caller, Access::WRITE)
        }
    }
}
