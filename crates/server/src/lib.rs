//! The server: a volume, the tree on it, the engines above, and the listeners that lead to them.
//!
//! Reading order: [`settings`] (what a server is told and what it is given), [`server`] (the start, in the
//! order of the layers, and the end, in the reverse order), [`volume`] (how a bucket's address becomes a
//! volume), [`identity`] (who a connection acts as), [`background`] (every periodic job),
//! [`activity`] (what each kind does), [`http`] (the API).
//!
//! Nothing here keeps state of its own: what outlives a request is in the volume.

pub mod activity;
pub mod background;
pub mod http;
pub mod identity;
pub mod limits;
pub mod postgres;
pub mod server;
pub mod settings;
pub mod volume;

pub use identity::Identity;
pub use server::Server;
pub use settings::{Components, Listeners, Settings};
