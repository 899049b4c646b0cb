//! What changes through other protocols, the kernel is told to forget at once.
//!
//! A thread of its own follows the tree's changes, and waits for the one that tells them ([`teller`](crate::teller)). The
//! kernel takes the lock of a directory when it forgets a name in it, and a request of the mount that is being answered
//! may hold it: so this never runs on a session thread or a worker of the runtime, and holds no lock of ours. Whoever
//! made the change waits for it, without locks and no longer than the kernel trusts its copies anyway.
//!
//! The kernel knows of changes that came through the mount itself, and content changes in no other way.

use crate::teller::Teller;
use ballast_tree::{Change, Changes, News, Tree, What};
use ballast_types::{Ino, Name, RequestId};
use tokio_util::sync::CancellationToken;

/// The changes that the kernel does not know of by itself.
pub(crate) fn follow(tree: &Tree) -> Changes {
    tree.follow(|what, request: RequestId| !request.is_of_mount() && !matches!(what, What::Content { .. }))
}

/// Tells the kernel until `stop`.
pub(crate) fn tell(teller: Teller, mut changes: Changes, stop: CancellationToken) -> std::io::Result<()> {
    let runtime = tokio::runtime::Handle::current();
    let tell = move || {
        while let Some(news) = runtime.block_on(stop.run_until_cancelled(changes.next())).flatten() {
            match news {
                News::Change(change) => forget(&teller, &change),
                News::Missed(missed) => {
                    tracing::warn!(missed, "too many changes at once: the mount may show old names for a moment");
                }
            }
        }
    };
    std::thread::Builder::new().name("ballast-news".into()).spawn(tell).map(drop)
}

fn forget(teller: &Teller, change: &Change) {
    let told = match &change.what {
        What::Created { parent, name, ino, .. } | What::Removed { parent, name, ino, .. } => {
            forget_name(teller, *parent, name).and_then(|()| teller.forget_attributes(*ino))
        }
        What::Renamed { from, to, ino, .. } => [from, to]
            .into_iter()
            .try_for_each(|(parent, name)| forget_name(teller, *parent, name))
            .and_then(|()| teller.forget_attributes(*ino)),
        What::Attributes { ino } | What::Content { ino } => teller.forget_attributes(*ino),
    };
    if let Err(error) = told {
        // The kernel asks again by itself when its trust ends.
        tracing::debug!(%error, what = ?change.what, "the kernel could not be told of a change");
    }
}

fn forget_name(teller: &Teller, parent: Ino, name: &Name) -> std::io::Result<()> {
    teller.forget_name(parent, name)?;
    // The directory's times and size; a name that the kernel did not know does not take them along.
    teller.forget_attributes(parent)
}
