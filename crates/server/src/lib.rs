//! The server: a volume, the tree on it, the engines above, and the listeners that lead to them.
//!
//! Reading order: [`settings`] (what a server is told and what it is given), [`server`] (the start, in the
//! order of the layers, and the end, in the reverse order), [`volume`] (how a bucket's address becomes a
//! volume), [`engines`] (all of them, under one budget), `mount` and
//! `views` (what streams and tables show there), [`identity`] (who a connection acts as), [`background`] (every periodic job),
//! [`activity`] (what each kind does), [`http`] (the API).
//!
//! Nothing here keeps state of its own: what outlives a request is in the volume.

pub mod activity;
mod advised;
pub mod background;
pub mod descriptors;
pub mod engines;
pub mod http;
pub mod identity;
pub mod limits;
pub mod metrics;
mod mount;
pub mod postgres;
pub mod server;
pub mod settings;
mod views;
pub mod volume;

pub use advised::{Advised, advised};
pub use engines::{Budget, Engines};
pub use identity::Identity;
pub use server::Server;
pub use settings::{Components, Listeners, Settings};
