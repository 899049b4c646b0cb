//! The server: engines wired to listeners
