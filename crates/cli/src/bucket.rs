//! Looking at a bucket without a server: `ballast probe`, `fsck` and `inspect`.

pub mod fsck;
pub mod inspect;
pub mod probe;

use crate::up::defaults;
use ballast_runtime::{Random, SystemClock};
use ballast_server::volume::{Opened, Opener};
use std::sync::Arc;

/// Which bucket to look at.
#[derive(Debug, clap::Args)]
pub struct Bucket {
    /// A directory, file://, s3://, gs:// or az:// [default: ballast/bucket in the data directory]
    #[arg(value_name = "BUCKET")]
    bucket: Option<String>,
}

impl Bucket {
    fn address(&self) -> anyhow::Result<String> {
        match &self.bucket {
            Some(bucket) => defaults::bucket_from(bucket),
            None => defaults::bucket(),
        }
    }

    /// Opens the volume, which no server may hold meanwhile.
    async fn open(&self) -> anyhow::Result<Opened> {
        let (clock, random) = (Arc::new(SystemClock), Random::from_system());
        let server = "none: ballast fsck or inspect".to_owned();
        let opener = Opener { clock, random, server, take_over: false, make: false };
        ballast_server::volume::open(&self.address()?, &opener).await
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
