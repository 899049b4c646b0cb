//! Threads that may wait in the kernel where no signal reaches them.
//!
//! Such a thread outlives `kill -9`, and what it has open stays open: the ports of a server, and the devices through
//! which alone the wait could end. So it shares no descriptors with the rest of the process. Then it must neither log nor
//! wake the runtime, whose threads are woken through a descriptor; nor may a signal be handled there, for the same reason.

use std::io;
use std::os::fd::RawFd;

/// Gives the calling thread descriptors of its own: a copy of this one, if any, and no other. An error on kernels
/// before 5.9: then it shares them as before.
pub(crate) fn stand_alone(kept: Option<RawFd>) -> io::Result<()> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` makes the set valid, and both calls do nothing else.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
    let Some(kept) = kept else { return close(0, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    let kept = u32::try_from(kept).map_err(io::Error::other)?;
    close(kept + 1, u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    kept.checked_sub(1).map_or(Ok(()), |last| close(0, last, 0))
}

fn close(first: u32, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: what is closed is the calling thread's alone, and it has used none of it.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
