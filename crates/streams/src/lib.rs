//! Streams: partitions, offsets, groups and retention, without Kafka's protocol.
//!
//! A stream is an inode. Its records arrive as Kafka's record batches and stay as they are: payload of the log,
//! never decoded; an index row tells where each append lies. What a producer was told is durable, what a reader
//! is shown is durable, and offsets never have a hole that a crash made.
//!
//! Reading order: [`stream`] (what one is), [`names`], [`streams`] (the engine), [`batch`], [`partition`] (append,
//! fetch), [`groups`], [`background`], [`limits`].

mod admin;
pub mod background;
pub mod batch;
pub mod error;
pub mod groups;
mod keys;
pub mod limits;
mod metrics;
pub mod names;
pub mod partition;
mod records;
pub mod stream;
pub mod streams;
#[doc(hidden)]
pub mod testing;

pub use admin::Right;
pub use error::{Error, Result};
pub use groups::{
    CommittedOffset, GroupView, JoinRequest, Joined, JoinedMember, MemberView, Membership, SyncRequest, Synced,
};
pub use names::Listed;
pub use partition::PartitionId;
pub use partition::append::{AppendPart, Appended, PendingAppend};
pub use partition::fetch::{Answer, FetchPart, FetchRequest, Fetched};
pub use partition::lookup::{FoundOffset, OffsetAt};
pub use stream::{Cleanup, Descriptor, Settings, Stream, TimestampType};
pub use streams::{Config, Streams};
