//! Finding the objects and the end of a log of objects.
//!
//! 1. The objects are listed: a listing tells numbers and sizes, and positions count bytes, so few need be read.
//! 2. The newest epoch is followed, object by object, to its end: the first number that is missing. What lies
//!    behind was under way when its writer died, and was never acknowledged, unless it says otherwise: then
//!    an object is lost, and that refuses the open.
//! 3. The fence of the new epoch is created under the next number. If an object of the earlier writer gets
//!    there first, it belongs to the log, and the search begins again.
//! 4. From the fence back, sizes give the start of every object: each has the number before the next one's, but
//!    where an epoch begins, whose fence names its own place and the object before it.
//! 5. Replay needs the objects back to its position. A number may be missing before that, because settled objects
//!    go; what lies behind such a gap was settled too, or never belonged to the log: *strangers*, which a dead
//!    writer had under way. They arrive late, in what a fence left free, or under the number of a settled object.
//!
//! So numbers and sizes prove nothing by themselves. The rule: the oldest object before a gap must say of itself
//! what was inferred, else it is taken for behind the gap; and whatever lies behind is asked itself. Going back, an
//! object is taken if it ends where the one after it starts, or before that.
//!
//! This finds every object of the log that is there, in its place. A writer puts an object behind the end of all
//! that has a lower number: of what it found or wrote itself, and of the one fence that may have come in between,
//! which is no longer than the group whose number it took. So a stranger overlaps only objects with higher numbers,
//! which are asked first. One that overlaps nothing is taken for a part of the log. It does no harm: no row points
//! into it, replay does not come to it, and it goes when it is settled.
//!
//! Cost: one listing, one PUT, and a GET per object near the end, per epoch and behind a gap; in parallel where that
//! is possible.

use super::format::{FileId, GROUP_HEADER_BYTES, GroupHeader, GroupKind};
use super::on_objects::{Created, FoundObject, ObjectWriter, Objects};
use super::recovery::{Cut, TailReport};
use crate::bucket::failure;
use crate::{Error, Position, Result, limits};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;

pub struct RecoveredObjects {
    pub writer: ObjectWriter,
    /// Oldest first, with the fence.
    pub objects: Vec<FoundObject>,
    pub tail: TailReport,
}

/// Sizes by number, and the headers that were read.
struct Listing {
    objects: Objects,
    sizes: BTreeMap<u64, u64>,
    headers: BTreeMap<u64, GroupHeader>,
}

pub async fn recover(
    objects: Objects,
    epoch: u64,
    nonce: [u8; 16],
    replay_after: Position,
) -> Result<RecoveredObjects> {
    for _ in 0..limits::LOG_FENCE_ATTEMPTS {
        let mut listing = Listing::read(objects.clone()).await?;
        let end = listing.find_end(epoch, replay_after)?;
        let number = end.as_ref().map_or(1, |last| last.next);
        let first = number + limits::LOG_FENCE_GAP;
        let writer = ObjectWriter { objects: objects.clone(), epoch, nonce, fence: number, first };
        let fence = fence(&writer, end.as_ref(), replay_after);
        match writer.create(number, Bytes::copy_from_slice(&fence.encode()).into()).await? {
            Created::Ours => {}
            // An object of the earlier writer got there first: it belongs to the log.
            Created::Taken(header) if header.id.epoch < epoch => continue,
            Created::Taken(header) => return Err(writer.taken(&header)),
        }
        let mut tail = TailReport {
            end: fence.end(),
            rows_end: fence.rows_end,
            rows_seq: fence.last_seq,
            closed: end.is_some_and(|last| last.kind == GroupKind::Close),
            ..TailReport::default()
        };
        let leftovers: Vec<u64> = listing.sizes.range(number..).map(|(number, _)| *number).collect();
        if let Some(leftover) = leftovers.iter().find(|leftover| **leftover > number) {
            let what = format!("{} objects behind the end, which were never acknowledged", leftovers.len());
            tail.cut = Some(Cut { file: objects.path(*leftover).to_string(), offset: 0, what });
        }
        listing.sizes.insert(number, GROUP_HEADER_BYTES);
        listing.headers.insert(number, fence);
        let chain = listing.chain(&fence, replay_after).await?;
        tail.files = chain.len();
        listing.remove_strangers(&chain).await;
        return Ok(RecoveredObjects { writer, objects: chain, tail });
    }
    Err(Error::Unavailable { what: "another writer of the log does not stop".to_owned(), source: None })
}

fn fence(writer: &ObjectWriter, last: Option<&GroupHeader>, replay_after: Position) -> GroupHeader {
    let start = last.map_or(Position(0), GroupHeader::end);
    GroupHeader {
        kind: GroupKind::Fence,
        id: FileId { epoch: writer.epoch, number: writer.fence },
        start,
        acknowledged: start,
        last_seq: last.map_or(0, |last| last.last_seq),
        rows_end: last.map_or(Position(0), |last| last.rows_end).max(replay_after.min(start)),
        previous: last.map_or(0, |last| last.id.number),
        next: writer.first,
        nonce: writer.nonce,
        payload_bytes: 0,
        record_bytes: 0,
        records_crc: crc32c::crc32c(&[]),
    }
}

impl Listing {
    async fn read(objects: Objects) -> Result<Self> {
        let listed = objects.store.list(Some(&objects.prefix));
        let failed = |error| failure(&format!("list {}", objects.prefix), error);
        let listed: Vec<_> = listed.try_collect().await.map_err(failed)?;
        let numbered = listed.iter().filter_map(|meta| Some((Objects::parse(&meta.location)?, meta.size)));
        let mut listing = Self { sizes: numbered.collect(), headers: BTreeMap::new(), objects };
        // The last objects, and those beside a gap: where epochs begin and end.
        let newest = listing.sizes.keys().next_back().copied().unwrap_or(0);
        let has = |number: u64| listing.sizes.contains_key(&number);
        let near_gap = |number: u64| !has(number + 1) || !has(number + 2) || !has(number.wrapping_sub(1));
        let wanted = listing.sizes.keys().copied();
        let wanted = wanted.filter(|number| number + 2 * limits::LOG_FENCE_GAP > newest || near_gap(*number)).collect();
        listing.read_headers(wanted).await?;
        Ok(listing)
    }

    /// Reads the headers of these objects, but of those that went away since they were listed.
    async fn read_headers(&mut self, mut numbers: Vec<u64>) -> Result<()> {
        numbers.retain(|number| !self.headers.contains_key(number));
        let read = numbers.into_iter().map(|number| self.read_header(number));
        let read: Vec<_> = stream::iter(read).buffer_unordered(limits::LOG_GETS_IN_FLIGHT).try_collect().await?;
        self.headers.extend(read.into_iter().flatten());
        Ok(())
    }

    async fn read_header(&self, number: u64) -> Result<Option<(u64, GroupHeader)>> {
        let header = match self.objects.header(number).await {
            Ok(header) => header,
            Err(Error::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.sizes.get(&number) {
            Some(size) if *size != header.byte_len() => {
                let what = format!("it has {size} bytes, and its header says {}", header.byte_len());
                Err(self.objects.corrupt(number, &what))
            }
            _ => Ok(Some((number, header))),
        }
    }

    /// The last object of the log; `None` if there is none.
    fn find_end(&self, epoch: u64, replay_after: Position) -> Result<Option<GroupHeader>> {
        let Some(newest) = self.headers.values().map(|header| header.id.epoch).max() else { return Ok(None) };
        if newest >= epoch {
            return Err(Error::Fenced(format!("epoch {newest} has taken the log over from epoch {epoch}")));
        }
        // Only near the end: there every header was read. A gap lies less than one fence's width from the end.
        let last_number = self.sizes.keys().next_back().copied().unwrap_or(0);
        let near_end = |number: u64| number + 2 * limits::LOG_FENCE_GAP > last_number;
        let members = self.headers.values().filter(|header| header.id.epoch == newest && near_end(header.id.number));
        let members: Vec<&GroupHeader> = members.collect();
        // Before what replay needs, any object may be gone.
        let needed = members.iter().rfind(|header| header.start <= replay_after).or(members.first());
        let Some(mut last) = needed.map(|first| **first) else {
            return Err(self.objects.corrupt(last_number, &"it was written behind the end of a later epoch"));
        };
        while let Some(next) = self.headers.get(&last.next).filter(|next| next.id.epoch == newest) {
            if next.start != last.end() || next.previous != last.id.number {
                return Err(self.objects.corrupt(next.id.number, &"it does not follow the object before it"));
            }
            last = *next;
        }
        let later = members.iter().find(|header| header.id.number > last.id.number && header.acknowledged > last.end());
        match later {
            Some(header) => {
                let what = format!("it is missing, but {} was acknowledged after it", header.id.number);
                Err(self.objects.corrupt(last.next, &what))
            }
            None => Ok(Some(last)),
        }
    }

    /// The objects of the log up to the fence, oldest first.
    async fn chain(&mut self, fence: &GroupHeader, replay_after: Position) -> Result<Vec<FoundObject>> {
        if fence.start < replay_after {
            let what = format!("the log ends before it, at {}, and the index at {}", fence.start.0, replay_after.0);
            return Err(self.objects.corrupt(fence.id.number, &what));
        }
        let (mut chain, mut oldest) = (Vec::new(), FoundObject::from(fence));
        loop {
            chain.push(oldest);
            let Some(before) = self.before(oldest).await? else { break };
            oldest = before;
        }
        // The fence, which is read already, ends this.
        while self.header(oldest.id.number).await?.as_ref().map(FoundObject::from) != Some(oldest) {
            chain.pop();
            oldest = *chain.last().expect("the fence is what it says of itself");
        }
        if oldest.start > replay_after {
            let what = format!("the log before it is gone, from position {}", replay_after.0);
            return Err(self.objects.corrupt(oldest.id.number, &what));
        }
        self.read_headers(self.sizes.range(..oldest.id.number).map(|(number, _)| *number).collect()).await?;
        for (_, header) in self.headers.range(..oldest.id.number).rev() {
            if header.end() <= oldest.start {
                oldest = FoundObject::from(header);
                chain.push(oldest);
            }
        }
        chain.reverse();
        Ok(chain)
    }

    /// What seems to be the object before another one; `None` behind a gap.
    async fn before(&mut self, object: FoundObject) -> Result<Option<FoundObject>> {
        let header = self.headers.get(&object.id.number);
        let (number, is_fence) = match header {
            Some(header) => (header.previous, header.kind == GroupKind::Fence),
            // In the middle of an epoch, each number follows the one before.
            None => (object.id.number.saturating_sub(1), false),
        };
        let Some(size) = self.sizes.get(&number).copied() else { return Ok(None) };
        // The object before a fence is of an older epoch, and behind a fence numbers are left out: it must tell.
        if is_fence || number + 1 != object.id.number || self.headers.contains_key(&number) {
            let before = self.header(number).await?.filter(|header| header.end() == object.start);
            let epoch = object.id.epoch;
            let follows = |header: &GroupHeader| (header.id.epoch < epoch) == is_fence && header.id.epoch <= epoch;
            return Ok(before.filter(follows).map(|header| FoundObject::from(&header)));
        }
        let start = object.start.0.checked_sub(size).map(Position);
        let id = FileId { epoch: object.id.epoch, number };
        Ok(start.map(|start| FoundObject { id, start, end: object.start }))
    }

    /// `None` if the object went away since it was listed.
    async fn header(&mut self, number: u64) -> Result<Option<GroupHeader>> {
        self.read_headers(vec![number]).await?;
        Ok(self.headers.get(&number).copied())
    }

    /// Removes what fenced writers left behind the end of their epochs.
    async fn remove_strangers(&self, chain: &[FoundObject]) {
        let known: std::collections::BTreeSet<u64> = chain.iter().map(|object| object.id.number).collect();
        for number in self.sizes.keys().filter(|number| !known.contains(number)) {
            if let Err(error) = self.objects.remove(*number).await {
                tracing::warn!(%error, "an object that belongs to no log was not removed");
            }
        }
    }
}
