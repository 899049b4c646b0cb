//! A mount in the place of a dead one.
//!
//! A killed server leaves a mount at which every call fails. Were it taken away before the new one is there, the
//! directory below would show for a moment, and what a program writes into that, nobody sees again. So the new mount
//! goes beneath the dead one (`MOVE_MOUNT_BENEATH`, since Linux 6.5) and shows when that is detached; or, where the
//! kernel refuses, on top of it, and the dead ones go with the unmount.
//!
//! fuser resolves the path first, which a dead mount refuses, and fusermount3 knows neither way: so this makes the
//! mount itself, and works for who may mount (`CAP_SYS_ADMIN`). docs/decisions/dead-mounts.md has the whole reason.

use crate::Settings;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// From linux/mount.h.
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const MOUNT_ATTR_RDONLY: u32 = 0x1;
const MOUNT_ATTR_NOSUID: u32 = 0x2;
const MOUNT_ATTR_NODEV: u32 = 0x4;
const MOUNT_ATTR_NOATIME: u32 = 0x10;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_BENEATH: u32 = 0x200;

/// A mount that nobody serves yet.
pub(crate) struct Placed {
    /// Where its requests come from.
    pub device: OwnedFd,
    /// The dead mount still hides it, and is to be detached once it is served.
    pub beneath: bool,
}

/// Mounts at a path where a dead mount is.
pub(crate) fn mount(settings: &Settings) -> io::Result<Placed> {
    let device = OwnedFd::from(File::options().read(true).write(true).open("/dev/fuse")?);
    let mount = detached(settings, &device)?;
    let beneath = attach(&mount, &settings.path, MOVE_MOUNT_BENEATH);
    let Err(refused) = beneath else { return Ok(Placed { device, beneath: true }) };
    tracing::debug!(error = %refused, "no mount beneath the dead one: mounting on top of it");
    attach(&mount, &settings.path, 0)?;
    Ok(Placed { device, beneath: false })
}

/// A mount that is nowhere yet, as `mount::config` has it.
fn detached(settings: &Settings, device: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated.
    let context = opened(unsafe { libc::syscall(libc::SYS_fsopen, c"fuse".as_ptr(), FSOPEN_CLOEXEC) })?;
    // SAFETY: these have no preconditions and cannot fail.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    set(&context, c"source", "ballast")?;
    set(&context, c"fd", &device.as_raw_fd().to_string())?;
    set(&context, c"rootmode", &format!("{:o}", libc::S_IFDIR))?;
    set(&context, c"user_id", &user.to_string())?;
    set(&context, c"group_id", &group.to_string())?;
    configure(&context, FSCONFIG_SET_FLAG, Some(c"default_permissions"), None)?;
    if settings.allow_other {
        configure(&context, FSCONFIG_SET_FLAG, Some(c"allow_other"), None)?;
    }
    configure(&context, FSCONFIG_CMD_CREATE, None, None)?;
    let read_only = if settings.read_only { MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME | read_only;
    // SAFETY: the descriptor is open.
    opened(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

fn set(context: &OwnedFd, key: &CStr, value: &str) -> io::Result<()> {
    configure(context, FSCONFIG_SET_STRING, Some(key), Some(&CString::new(value)?))
}

fn configure(context: &OwnedFd, command: u32, key: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
    let (key, value) = (pointer(key), pointer(value));
    // SAFETY: the descriptor is open; the pointers are null or to NUL-terminated strings, as the command wants them.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) })
}

fn attach(mount: &OwnedFd, path: &Path, how: u32) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | how;
    let (from, to) = (c"".as_ptr(), path.as_ptr());
    // SAFETY: the descriptor is open, and both paths are NUL-terminated and outlive the call.
    done(unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), from, libc::AT_FDCWD, to, flags) })
}

fn pointer(text: Option<&CStr>) -> *const libc::c_char {
    text.map_or(std::ptr::null(), CStr::as_ptr)
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The descriptor that a system call returned.
fn opened(result: libc::c_long) -> io::Result<OwnedFd> {
    done(result)?;
    let number = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the call has just opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
