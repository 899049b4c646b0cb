//! The superblock: the one object at the bucket's root that says what lies below it.
//!
//! It is created once, before anything else, and never changed: the format's version, the cluster's identity, the
//! exact SlateDB that writes the indexes, and which probe the bucket has passed. Who opens a bucket reads it first
//! (one GET) and refuses by name what it does not know. A new bucket is probed before it gets one, so that its
//! existence says that the bucket keeps its promises, and reopening costs no probe.

use crate::bucket::record::{self, hexadecimal};
use crate::{Bucket, Error, Result, bucket, probe};
use ballast_runtime::{Clock, Random};
use bytes::Bytes;
use object_store::PutMode;
use object_store::path::Path;
use serde_json::json;

const NAME: &str = "superblock";

/// The format of everything in a bucket. Raised by every change that an older Ballast would misread.
pub const FORMAT_VERSION: u32 = 2;

/// The SlateDB that this Ballast writes with. Its files are compatible between neighbouring minor versions only.
pub const SLATEDB_VERSION: &str = "0.18.0";

/// What a bucket says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Random; tells two clusters apart that have the same name.
    pub cluster: [u8; 16],
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// The SlateDB version that the bucket was made with.
    pub slatedb: String,
    /// Version of the probe that the bucket passed when it was made.
    pub probe: u64,
}

impl Superblock {
    /// Its object.
    pub const NAME: &str = NAME;

    /// The superblock; `None` in a new bucket. `Unsupported` says which Ballast can open it. One GET.
    pub async fn read(bucket: &Bucket) -> Result<Option<Self>> {
        let name = Path::from(NAME);
        let record = record::read(bucket.store().as_ref(), NAME, &name).await?;
        record.map(|record| Self::understand(&record)).transpose()
    }

    /// Reads the superblock or, in a new bucket, probes the bucket and makes one. Durable on return. Of several
    /// servers that do this at the same time, all get the same one.
    pub async fn open(bucket: &Bucket, clock: &dyn Clock, random: &Random) -> Result<Self> {
        if let Some(found) = Self::read(bucket).await? {
            return Ok(found);
        }
        probe::quick(bucket, clock, random).await?;
        let new = Self {
            cluster: random.bytes16(),
            created: clock.now_nanos(),
            slatedb: SLATEDB_VERSION.to_owned(),
            probe: probe::VERSION,
        };
        let put = bucket.store().put_opts(&Path::from(NAME), new.encode().into(), PutMode::Create.into()).await;
        // Whatever the answer was, what can be read now is what everybody will read.
        match (Self::read(bucket).await, put) {
            (Ok(Some(found)), _) => Ok(found),
            (_, Err(error)) => Err(bucket::failure("create the superblock", error)),
            (Ok(None), Ok(_)) => Err(Error::Corrupt("the bucket took the superblock and does not have it".into())),
            (Err(error), Ok(_)) => Err(error),
        }
    }

    fn encode(&self) -> Bytes {
        let fields = json!({
            "cluster": hexadecimal(self.cluster),
            "created": self.created,
            "probe": self.probe,
            "slatedb": self.slatedb,
        });
        record::encode(NAME, FORMAT_VERSION, &fields)
    }

    fn understand(record: &record::Record) -> Result<Self> {
        let found = record.version;
        if found > FORMAT_VERSION {
            return Err(Error::Unsupported(format!(
                "the bucket has format {found} and this Ballast knows formats up to {FORMAT_VERSION}: use a newer Ballast"
            )));
        }
        if found < FORMAT_VERSION {
            return Err(Error::Unsupported(format!(
                "the bucket has format {found} and this Ballast knows format {FORMAT_VERSION} only: \
                 open it with the Ballast that wrote it and copy its tree into a new bucket"
            )));
        }
        let slatedb = record.text("slatedb")?;
        if minor_version(&slatedb) != minor_version(SLATEDB_VERSION) {
            return Err(Error::Unsupported(format!(
                "the bucket's indexes are of SlateDB {slatedb} and this Ballast has {SLATEDB_VERSION}: \
                 use a Ballast with SlateDB {}",
                minor_version(&slatedb)
            )));
        }
        Ok(Self {
            cluster: record.bytes16("cluster")?,
            created: record.signed("created")?,
            slatedb,
            probe: record.unsigned("probe")?,
        })
    }
}

/// `0.18` of `0.18.3`.
fn minor_version(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ballast_runtime::{ManualClock, SystemClock};
    use ballast_types::ErrorKind;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    const GOLDEN: &str = include_str!("superblock/golden.txt");

    fn example() -> Superblock {
        Superblock { cluster: [0xc1; 16], created: 1_790_000_000_000_000_000, slatedb: "0.18.0".into(), probe: 1 }
    }

    fn bucket() -> Bucket {
        Bucket::over(Arc::new(InMemory::new()), "memory")
    }

    async fn put(bucket: &Bucket, text: Bytes) {
        bucket.store().put(&Path::from(NAME), text.into()).await.unwrap();
    }

    #[test]
    fn the_format_does_not_change() {
        assert_eq!(example().encode(), GOLDEN);
        let record = record::decode(NAME, NAME, GOLDEN.as_bytes()).unwrap();
        assert_eq!(Superblock::understand(&record).unwrap(), example());
    }

    #[test]
    fn the_version_of_slatedb_is_the_one_that_is_compiled_in() {
        let manifest = include_str!("../../../Cargo.toml");
        assert!(manifest.contains(&format!("slatedb = {{ version = \"={SLATEDB_VERSION}\"")));
    }

    #[tokio::test]
    async fn all_who_open_a_new_bucket_at_once_get_the_same_superblock() {
        let bucket = bucket();
        let clock = SystemClock;
        let random = Random::from_seed(1);
        let (one, two) =
            tokio::join!(Superblock::open(&bucket, &clock, &random), Superblock::open(&bucket, &clock, &random));
        assert_eq!(one.unwrap(), two.unwrap());
    }

    #[tokio::test]
    async fn other_formats_are_refused_by_name_and_say_what_to_do() {
        let bucket = bucket();
        for (version, wanted) in [(FORMAT_VERSION - 1, "into a new bucket"), (FORMAT_VERSION + 1, "newer Ballast")] {
            put(&bucket, record::encode(NAME, version, &json!({}))).await;
            let error = Superblock::read(&bucket).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(wanted), "{error}");
        }
        put(&bucket, Superblock { slatedb: "0.19.2".into(), ..example() }.encode()).await;
        let error = Superblock::read(&bucket).await.unwrap_err();
        assert!(error.to_string().contains("SlateDB 0.19"), "{error}");
    }

    #[tokio::test]
    async fn something_else_in_its_place_is_corruption_and_is_not_replaced() {
        let bucket = bucket();
        put(&bucket, "my holiday pictures".into()).await;
        let opened = Superblock::open(&bucket, &ManualClock::at(0), &Random::from_seed(1)).await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
