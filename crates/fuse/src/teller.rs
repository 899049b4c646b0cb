//! The thread that tells the kernel what to forget.
//!
//! The kernel takes the lock of a directory to forget a name in it. A request of the mount may hold that lock until this
//! server answers it; and a thread that waits for a lock in the kernel outlives `kill -9`, with all that its process has
//! open. Had it the session's devices, nobody would ever answer, nor would the kernel give the request up.
//!
//! So this thread stands [`alone`](crate::alone), with one device of its own for the same mount. When the server is killed,
//! everything else closes at once, the kernel ends the requests that were being answered, and the lock comes free.

use crate::alone;
use ballast_types::{Ino, Name};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

// From linux/fuse.h: the request to a device to serve another's mount too, and what the kernel can be told.
const FUSE_DEV_IOC_CLONE: libc::Ioctl = 0x8004_e500;
const FUSE_NOTIFY_INVAL_INODE: i32 = 2;
const FUSE_NOTIFY_INVAL_ENTRY: i32 = 3;
const HEADER_BYTES: usize = 16;

/// Tells one thing at a time. Dropped, it ends its thread.
pub(crate) struct Teller {
    notes: SyncSender<Vec<u8>>,
    told: Receiver<io::Result<()>>,
}

impl Teller {
    /// For the mount whose requests come from `device`.
    pub fn start(device: BorrowedFd<'_>) -> io::Result<Self> {
        let own = another(device)?;
        let (notes, to_tell) = sync_channel(1);
        let (tells, told) = sync_channel(1);
        let number = own.as_raw_fd();
        let thread = move || {
            let _ = tells.send(alone::stand_alone(Some(number)));
            // SAFETY: alone, the thread has a descriptor of this number; else it was given the only one.
            let device = unsafe { File::from_raw_fd(number) };
            tell(&device, &to_tell, &tells);
        };
        std::thread::Builder::new().name("ballast-teller".to_owned()).spawn(thread)?;
        match told.recv().map_err(io::Error::other)? {
            Ok(()) => drop(own),
            Err(error) => {
                tracing::warn!(%error, "telling the kernel of changed names shares its descriptors: a server that is \
                    killed meanwhile may not end");
                let _ = own.into_raw_fd();
            }
        }
        Ok(Self { notes, told })
    }

    /// The kernel forgets the name, and that it is not there.
    pub fn forget_name(&self, parent: Ino, name: &Name) -> io::Result<()> {
        let name = name.as_bytes();
        let length = u32::try_from(name.len()).map_err(io::Error::other)?.to_ne_bytes();
        let flags = 0u32.to_ne_bytes();
        self.tell(FUSE_NOTIFY_INVAL_ENTRY, &[&parent.0.to_ne_bytes(), &length, &flags, name, &[0]])
    }

    /// The kernel forgets attributes, and not the cached content: it is still right.
    pub fn forget_attributes(&self, ino: Ino) -> io::Result<()> {
        let (no_content, length) = ((-1i64).to_ne_bytes(), 0i64.to_ne_bytes());
        self.tell(FUSE_NOTIFY_INVAL_INODE, &[&ino.0.to_ne_bytes(), &no_content, &length])
    }

    /// A `fuse_out_header` that answers no request, and the parts behind it.
    fn tell(&self, code: i32, parts: &[&[u8]]) -> io::Result<()> {
        let body = parts.concat();
        let bytes = u32::try_from(HEADER_BYTES + body.len()).map_err(io::Error::other)?;
        let header = [&bytes.to_ne_bytes()[..], &code.to_ne_bytes(), &0u64.to_ne_bytes()].concat();
        self.notes.send([header, body].concat()).map_err(io::Error::other)?;
        match self.told.recv().map_err(io::Error::other)? {
            // The kernel does not know it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            told => told,
        }
    }
}

fn tell(mut device: &File, notes: &Receiver<Vec<u8>>, told: &SyncSender<io::Result<()>>) {
    while let Ok(note) = notes.recv() {
        if told.send(device.write_all(&note)).is_err() {
            return;
        }
    }
}

/// One more device for the mount of this one.
fn another(device: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let own = File::options().read(true).write(true).open("/dev/fuse")?;
    let number = u32::try_from(device.as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: both descriptors are open, and `number` outlives the call.
    match unsafe { libc::ioctl(own.as_raw_fd(), FUSE_DEV_IOC_CLONE, &raw const number) } {
        0 => Ok(own.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
