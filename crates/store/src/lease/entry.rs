//! The entries of a lease as they lie in the bucket, and how they are read and created.

use super::Holder;
use crate::bucket::record::{self, Record, hexadecimal, human_time};
use crate::{Error, Result, bucket, limits};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, PutMode};
use serde_json::json;

pub(super) const KIND: &str = "lease";
const VERSION: u32 = 1;

/// One number of the lease, as it lies in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) nonce: [u8; 16],
    pub(super) holder: Holder,
    /// When this holder took it, by its clock; nanoseconds since the epoch, as the next two.
    pub(super) taken: i64,
    pub(super) written: i64,
    pub(super) expires: i64,
    /// The holder also holds the `flock` of a local bucket.
    pub(super) locked: bool,
    /// No earlier holder can be serving any more. A takeover says so only after it has waited.
    pub(super) settled: bool,
    pub(super) released: bool,
}

impl Entry {
    pub(super) fn encode(&self) -> Bytes {
        let mut fields = self.holder.fields();
        let rest = json!({
            "number": self.number, "epoch": self.epoch, "nonce": hexadecimal(self.nonce), "taken": self.taken,
            "written": self.written, "expires": self.expires, "locked": self.locked, "settled": self.settled,
            "released": self.released,
        });
        if let (Some(fields), Some(rest)) = (fields.as_object_mut(), rest.as_object()) {
            fields.extend(rest.clone());
        }
        record::encode(KIND, VERSION, &fields)
    }

    pub(super) fn understand(record: &Record) -> Result<Self> {
        if record.version != VERSION {
            return Err(Error::Unsupported(format!(
                "the bucket's lease has format {}, this Ballast knows {VERSION}: use the same Ballast on all servers",
                record.version
            )));
        }
        Ok(Self {
            number: record.unsigned("number")?,
            epoch: record.unsigned("epoch")?,
            nonce: record.bytes16("nonce")?,
            holder: Holder::of(record)?,
            taken: record.signed("taken")?,
            written: record.signed("written")?,
            expires: record.signed("expires")?,
            locked: record.truth("locked")?,
            settled: record.truth("settled")?,
            released: record.truth("released")?,
        })
    }

    pub(super) fn refusal(&self) -> Error {
        Error::Fenced(format!(
            "{} has it since {}, its lease runs until {} and is renewed; stop that server, or take over with --take-over",
            self.holder,
            human_time(self.taken),
            human_time(self.expires)
        ))
    }
}

pub(super) fn name(number: u64) -> Path {
    Path::from(format!("lease/{number:06}"))
}

/// Exists once the holder before this epoch has stopped.
pub(super) fn yielded_name(epoch: u64) -> Path {
    Path::from(format!("lease/yielded-{epoch:06}"))
}

/// The number in `lease/000123`; `None` for anything else.
pub(super) fn number_of(object: &ObjectMeta) -> Option<u64> {
    object.location.filename()?.parse().ok()
}

pub(super) async fn list(store: &dyn ObjectStore) -> Result<Vec<ObjectMeta>> {
    let listed: Result<Vec<_>, _> = store.list(Some(&Path::from("lease"))).try_collect().await;
    let mut listed = listed.map_err(|error| bucket::failure("list lease/", error))?;
    listed.sort_by_key(|object| number_of(object).unwrap_or(0));
    Ok(listed)
}

pub(super) async fn read(store: &dyn ObjectStore, number: u64) -> Result<Option<Entry>> {
    let record = record::read(store, KIND, &name(number)).await?;
    record.map(|record| Entry::understand(&record)).transpose()
}

/// The newest entry. It may be superseded a moment later.
pub(super) async fn newest(store: &dyn ObjectStore) -> Result<(Option<Entry>, Vec<ObjectMeta>)> {
    for _ in 0..limits::LEASE_RACES_MAX {
        let listed = list(store).await?;
        let Some(number) = listed.iter().filter_map(number_of).max() else { return Ok((None, listed)) };
        if let Some(entry) = read(store, number).await? {
            return Ok((Some(entry), listed));
        }
    }
    Err(Error::Corrupt("the newest object below lease/ is listed again and again but cannot be read".into()))
}

/// What came of creating an entry.
pub(super) enum Created {
    Ours,
    Theirs(Entry),
}

/// Creates the entry's number. An ambiguous answer is settled by reading the key.
pub(super) async fn create(store: &dyn ObjectStore, entry: &Entry) -> Result<Created> {
    let name = name(entry.number);
    let put = store.put_opts(&name, entry.encode().into(), PutMode::Create.into()).await;
    let Err(refused) = put else { return Ok(Created::Ours) };
    match read(store, entry.number).await {
        Ok(Some(found)) if found.nonce == entry.nonce => Ok(Created::Ours),
        Ok(Some(found)) => Ok(Created::Theirs(found)),
        _ => Err(bucket::failure(&format!("create {name}"), refused)),
    }
}
