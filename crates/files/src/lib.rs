//! Files: POSIX semantics over a volume, without a kernel
