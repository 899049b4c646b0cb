//! Extended attributes.

use super::{Done, Ops};
use crate::limits::ATTRIBUTE_BYTES_MAX;
use crate::virtuals::Numbers;
use crate::who::{Who, as_caller};
use ballast_types::{Call, Ino};
use bytes::{BufMut, Bytes, BytesMut};
use fuser::Errno;

/// What a program may do whoever runs it.
const CAPABILITIES: &[u8] = b"security.capability";

impl Ops {
    pub async fn getxattr(&self, who: &Who, ino: Ino, name: &[u8]) -> Done<Bytes> {
        if Numbers::is_virtual(ino.0) {
            return Err(Errno::NO_XATTR.into());
        }
        Ok(as_caller!(who, call => self.tree.attribute(&call, ino, name))?)
    }

    /// The names, each ended by a NUL.
    pub async fn listxattr(&self, who: &Who, ino: Ino) -> Done<Bytes> {
        if Numbers::is_virtual(ino.0) {
            return Ok(Bytes::new());
        }
        let names = as_caller!(who, call => self.tree.attributes(&call, ino))?;
        let mut list = BytesMut::new();
        for name in names {
            list.put_slice(&name);
            list.put_u8(0);
        }
        Ok(list.freeze())
    }

    pub async fn setxattr(&self, who: &Who, ino: Ino, name: &[u8], value: &[u8], flags: i32) -> Done<()> {
        if Numbers::is_virtual(ino.0) {
            return Err(Errno::EPERM.into());
        }
        if value.len() > ATTRIBUTE_BYTES_MAX {
            return Err(Errno::E2BIG.into());
        }
        let create = match flags {
            0 => None,
            libc::XATTR_CREATE => Some(true),
            libc::XATTR_REPLACE => Some(false),
            _ => return Err(Errno::EINVAL.into()),
        };
        as_caller!(who, call => self.tree.set_attribute(&call, ino, name, value, create))?;
        Ok(())
    }

    pub async fn removexattr(&self, who: &Who, ino: Ino, name: &[u8]) -> Done<()> {
        if Numbers::is_virtual(ino.0) {
            return Err(Errno::EPERM.into());
        }
        if name == CAPABILITIES {
            // The kernel takes it off itself when somebody changes the file, with that caller's rights; and it lets only
            // who has CAP_SETFCAP ask for it.
            self.tree.remove_attribute(&Call::internal(), ino, name).await?;
            return Ok(());
        }
        as_caller!(who, call => self.tree.remove_attribute(&call, ino, name))?;
        Ok(())
    }
}
