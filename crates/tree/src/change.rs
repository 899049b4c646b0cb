//! News of changes, for those who keep copies: a mount tells the kernel to forget a name that changed through
//! another protocol.

use ballast_store::Position;
use ballast_types::{Ino, Kind, Name, RequestId};
use tokio::sync::broadcast;

/// One change. Visible to every reader when it is sent; durable when its position is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub what: What,
    /// Of the call that made it, so that a subscriber knows its own; the default for an engine's own changes.
    pub request: RequestId,
    pub position: Position,
}

/// What changed. A change of names changes the directories' times and sizes too, without further notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A name appeared: of a new inode, or a further one of an inode whose count of links changed.
    Created { parent: Ino, name: Name, ino: Ino, kind: Kind },
    /// A name went; the inode as well, if it was the last.
    Removed { parent: Ino, name: Name, ino: Ino, kind: Kind },
    /// A name became another. An exchange is two of these.
    Renamed { from: (Ino, Name), to: (Ino, Name), ino: Ino, kind: Kind },
    /// Attributes, extended attributes or the size and times of content changed.
    Attributes { ino: Ino },
}

/// A subscription; it starts with the changes after it was made.
pub struct Changes(broadcast::Receiver<Change>);

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Change(Change),
    /// The subscriber was too slow and missed so many changes: what it keeps may be old, all of it.
    Missed(u64),
}

impl Changes {
    pub(crate) fn new(sender: &broadcast::Sender<Change>) -> Self {
        Self(sender.subscribe())
    }

    /// The next news; `None` when the tree is closed.
    pub async fn next(&mut self) -> Option<News> {
        match self.0.recv().await {
            Ok(change) => Some(News::Change(change)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(News::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
