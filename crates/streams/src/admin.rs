//! Changes to a stream, the rights on it, and producer ids.

use crate::stream::{Settings, Stream};
use crate::streams::{Streams, stream_of};
use crate::{Error, Result, keys, limits};
use ballast_store::Batch;
use ballast_tree::Inode;
use ballast_tree::access::{self, Access};
use ballast_types::Call;

/// What a caller wants to do with a stream's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Read,
    Append,
    /// Change settings and partitions, delete records.
    Modify,
}

impl Streams {
    /// Refuses a caller without the right.
    pub fn check(&self, call: &Call, stream: &Stream, right: Right) -> Result<()> {
        let (inode, caller) = (&stream.inode, &call.caller);
        match right {
            Right::Read => access::require(inode, caller, Access::READ),
            Right::Append => access::require(inode, caller, Access::WRITE),
            Right::Modify => access::require_owner(inode, caller, "change a stream"),
        }
        .map_err(Error::from)
    }

    /// Gives the stream more partitions. Durable on return.
    pub async fn add_partitions(&self, call: &Call, stream: &Stream, total: u32) -> Result<()> {
        self.check(call, stream, Right::Modify)?;
        if total > limits::PARTITIONS_MAX {
            let text = format!("a stream has 1 to {} partitions, not {total}", limits::PARTITIONS_MAX);
            return Err(Error::InvalidPartitions(text));
        }
        self.change(stream, &mut |stream| {
            if total <= stream.partitions() {
                let text = format!("the stream has {} partitions already, {total} is no increase", stream.partitions());
                return Err(Error::InvalidPartitions(text));
            }
            stream.descriptor.partitions = total;
            Ok(())
        })
        .await
    }

    /// Changes settings: `change` gets those of now. Durable on return.
    pub async fn change_settings(
        &self,
        call: &Call,
        stream: &Stream,
        change: &mut (dyn FnMut(&mut Settings) -> Result<()> + Send),
    ) -> Result<()> {
        self.check(call, stream, Right::Modify)?;
        self.change(stream, &mut |stream| {
            change(&mut stream.descriptor.settings)?;
            stream.descriptor.settings.check()
        })
        .await
    }

    async fn change(&self, stream: &Stream, change: &mut (dyn FnMut(&mut Stream) -> Result<()> + Send)) -> Result<()> {
        let mut refused = None;
        let mut apply = |inode: &mut Inode, _: &mut Batch| {
            let changed = stream_of(inode).and_then(|mut stream| change(&mut stream).map(|()| stream));
            match changed {
                Ok(stream) => {
                    inode.descriptor = keys::descriptor::encode(&stream.descriptor);
                    Ok(())
                }
                Err(error) => {
                    refused = Some(error);
                    Err(ballast_tree::Error::Invalid("the stream cannot be changed like this".to_owned()))
                }
            }
        };
        let changed = self.inner.tree.update(stream.ino, &mut apply).await;
        match (changed, refused) {
            (Err(_), Some(refused)) => Err(refused),
            (Err(error), None) => Err(error.into()),
            (Ok((_, position)), _) => Ok(self.inner.volume.durable(position).await?),
        }
    }

    /// Bytes that a partition holds.
    pub async fn partition_bytes(&self, id: crate::PartitionId) -> Result<u64> {
        self.inner.size(id).await
    }

    /// A producer id that was never given out before, not even before a crash. Cost: a commit for every thousand.
    pub async fn new_producer_id(&self) -> Result<i64> {
        let inner = &self.inner;
        let mut block = inner.producer_ids.lock().await;
        if block.is_empty() {
            let key = keys::counter::producer_id_key();
            let stored = inner.volume.get(&key).await?;
            let next = stored.map(|value| keys::counter::decode(&value.bytes)).transpose()?.unwrap_or(1);
            let end = next.saturating_add(limits::PRODUCER_ID_BLOCK);
            let mut batch = Batch::new();
            batch.put(key, keys::counter::encode(end));
            let position = inner.volume.commit(batch).await?;
            inner.volume.durable(position).await?;
            *block = next..end;
        }
        let id = block.next().and_then(|id| i64::try_from(id).ok());
        id.ok_or(Error::Exhausted("there are no producer ids left"))
    }
}
