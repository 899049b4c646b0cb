//! The one place that decides who may do what.
//!
//! Pure functions over an inode's attributes and a caller; every operation of every protocol asks here, so
//! that the answer cannot differ. The rules are those of POSIX: the owner's bits for the owner, else the
//! group's bits for members of the group, else the others' bits. The superuser may everything, except execute
//! a file that nobody may execute.

use crate::{Error, Inode, Result, SetAttributes, SetTime};
use ballast_types::{Caller, Kind};

/// What a caller wants of an inode; several at once are all wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u32);

impl Access {
    /// To know that it is there.
    pub const EXISTS: Self = Self(0);
    /// To execute a file; to search a directory, a stream or a table.
    pub const EXECUTE: Self = Self(1);
    pub const SEARCH: Self = Self::EXECUTE;
    pub const WRITE: Self = Self(2);
    pub const READ: Self = Self(4);

    /// The bits of access(2): 4 read, 2 write, 1 execute.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits <= 7).then_some(Self(bits))
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn verb(self) -> &'static str {
        match self.0 {
            1 => "search",
            2 | 3 => "write",
            4 | 5 => "read",
            _ => "read and write",
        }
    }
}

pub const SET_UID: u32 = 0o4000;
pub const SET_GID: u32 = 0o2000;
pub const STICKY: u32 = 0o1000;
pub const GROUP_EXECUTE: u32 = 0o010;
/// All bits that a mode may have.
pub const MODE: u32 = 0o7777;

/// True if `caller` may have `wanted` of `inode`.
pub fn allows(inode: &Inode, caller: &Caller, wanted: Access) -> bool {
    if caller.is_root() {
        let executes = wanted.0 & Access::EXECUTE.0 != 0 && inode.kind == Kind::File;
        return !executes || inode.mode & 0o111 != 0;
    }
    let granted = if inode.uid == caller.uid {
        inode.mode >> 6
    } else if caller.in_group(inode.gid) {
        inode.mode >> 3
    } else {
        inode.mode
    };
    granted & wanted.0 == wanted.0
}

/// As [`allows`]; the refusal names the inode.
pub fn require(inode: &Inode, caller: &Caller, wanted: Access) -> Result<()> {
    if allows(inode, caller, wanted) {
        return Ok(());
    }
    let what = match &inode.parent {
        Some((_, name)) => format!("{} {} {name}", wanted.verb(), inode.kind),
        None => format!("{} {} {}", wanted.verb(), inode.kind, inode.ino),
    };
    Err(Error::Denied(what))
}

/// True if the inode is the caller's own, or the caller is the superuser.
pub fn owns(inode: &Inode, caller: &Caller) -> bool {
    caller.is_root() || caller.uid == inode.uid
}

pub fn require_owner(inode: &Inode, caller: &Caller, what: &str) -> Result<()> {
    if owns(inode, caller) { Ok(()) } else { Err(Error::NotOwner(what.to_owned())) }
}

/// The right to take the name of `child` out of `directory`: to write the directory, and if it is sticky, to own
/// one of the two.
pub fn require_removal(directory: &Inode, child: &Inode, caller: &Caller) -> Result<()> {
    require(directory, caller, Access::WRITE.and(Access::SEARCH))?;
    let sticky = directory.mode & STICKY != 0;
    if sticky && !owns(directory, caller) && !owns(child, caller) {
        return Err(Error::NotOwner("take a name out of a sticky directory".into()));
    }
    Ok(())
}

/// The right to drop a stream or a table with all it holds: only its owner may, whatever the directory allows.
pub fn require_drop(child: &Inode, caller: &Caller) -> Result<()> {
    require_owner(child, caller, "drop a stream or a table")
}

/// Group and mode of an inode that `caller` makes in `directory`.
pub fn inherited(directory: &Inode, caller: &Caller, kind: Kind, mode: u32) -> (u32, u32) {
    let mode = mode & MODE;
    if directory.mode & SET_GID == 0 {
        return (caller.gid, mode);
    }
    let gid = directory.gid;
    let executable_for_group = mode & (SET_GID | GROUP_EXECUTE) == SET_GID | GROUP_EXECUTE;
    let mode = match kind {
        Kind::Directory => mode | SET_GID,
        // Nobody gets a program that runs as a group that the maker is not in.
        _ if executable_for_group && !caller.is_root() && !caller.in_group(gid) => mode & !SET_GID,
        _ => mode,
    };
    (gid, mode)
}

/// Checks that the caller may make this change, and makes it. The times are `now` where the change says so.
pub fn apply(inode: &mut Inode, caller: &Caller, set: &SetAttributes, now: ballast_types::Timestamp) -> Result<()> {
    check(inode, caller, set)?;
    if set.uid.is_some() || set.gid.is_some() {
        if !inode.kind.looks_like_directory() {
            inode.mode = without_privileges(inode, caller);
        }
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
    }
    if let Some(mode) = set.mode {
        inode.mode = mode & if may_set_gid(inode, caller) { MODE } else { MODE & !SET_GID };
    }
    let at = |time: SetTime| match time {
        SetTime::Now => now,
        SetTime::At(time) => time,
    };
    inode.atime = set.atime.map_or(inode.atime, at);
    inode.mtime = set.mtime.map_or(inode.mtime, at);
    inode.ctime = now;
    Ok(())
}

/// The mode after a change of owner or content by `caller`: a program loses the rights it ran with. A set-group-id bit
/// that nobody executes by stays for those who could set it.
pub fn without_privileges(inode: &Inode, caller: &Caller) -> u32 {
    let stays = groups_keep_set_gid(inode) && may_set_gid(inode, caller);
    inode.mode & !if stays { SET_UID } else { SET_UID | SET_GID }
}

/// True if it depends on the caller's groups what [`without_privileges`] leaves.
pub fn groups_keep_set_gid(inode: &Inode) -> bool {
    inode.mode & (SET_GID | GROUP_EXECUTE) == SET_GID
}

fn may_set_gid(inode: &Inode, caller: &Caller) -> bool {
    caller.is_root() || caller.in_group(inode.gid)
}

fn check(inode: &Inode, caller: &Caller, set: &SetAttributes) -> Result<()> {
    if caller.is_root() {
        return Ok(());
    }
    let owner = inode.uid == caller.uid;
    if set.mode.is_some() && !owner {
        return Err(Error::NotOwner("change the mode".into()));
    }
    if set.uid.is_some_and(|uid| !owner || uid != inode.uid) {
        return Err(Error::NotPermitted("only the superuser gives an inode to another user".into()));
    }
    if set.gid.is_some_and(|gid| !owner || (gid != inode.gid && !caller.in_group(gid))) {
        return Err(Error::NotPermitted("only the owner changes the group, to one of the own groups".into()));
    }
    let times = [set.atime, set.mtime];
    if times.iter().flatten().any(|time| matches!(time, SetTime::At(_))) && !owner {
        return Err(Error::NotOwner("set times".into()));
    }
    if times.contains(&Some(SetTime::Now)) && !owner {
        require(inode, caller, Access::WRITE)?;
    }
    Ok(())
}
