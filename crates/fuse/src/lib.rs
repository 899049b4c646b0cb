//! The mount: FUSE to files
