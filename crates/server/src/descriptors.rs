//! File descriptors: a connection is one, and most systems begin a process with 1,024.

/// Raises the process's limit as far as it may; what it is then, if that is known.
pub fn raise_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes to `limit` only, which outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return None;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the call reads `raised` only, which outlives it.
    let refused = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } != 0;
    Some(if refused { limit.rlim_cur } else { raised.rlim_cur })
}
