//! Tests of reads and listings: what was written is seen, and what was removed is not.

use super::conditions::remove;
use super::{Depth, Finding, Probe};
use crate::{Result, bucket, limits};
use futures::TryStreamExt;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use std::collections::BTreeSet;

const STALE_STATE: &str = "a server would go on with an old state and overwrite or lose newer data";

fn failed(seen: String, means: &'static str) -> Result<Finding> {
    Ok(Finding::Failed { seen, means })
}

pub(super) async fn read_if_changed(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("read-if-changed");
    let first = probe.put(&name, &probe.fresh("first")).await?;
    let unless = |tag: &Option<String>| GetOptions::new().with_if_none_match(tag.clone());
    match probe.store().get_opts(&name, unless(&first.e_tag)).await {
        Err(Error::NotModified { .. }) => {}
        Err(error) => return Err(bucket::failure("read an object if it changed", error)),
        Ok(_) => {
            let seen = "a read under the condition that the object changed gave one that had not".to_owned();
            return failed(seen, "nothing is lost, but idle servers would read their whole state again and again");
        }
    }
    let second = probe.fresh("second");
    probe.put(&name, &second).await?;
    match probe.store().get_opts(&name, unless(&first.e_tag)).await {
        Err(Error::NotModified { .. }) => failed("a changed object was said to be unchanged".into(), STALE_STATE),
        Err(error) => Err(bucket::failure("read an object if it changed", error)),
        Ok(got) => {
            let bytes = got.bytes().await.map_err(|error| bucket::failure("read an object if it changed", error))?;
            if bytes == second { Ok(Finding::Passed) } else { failed(format!("it gave {bytes:?}"), STALE_STATE) }
        }
    }
}

fn rounds(depth: Depth) -> usize {
    match depth {
        Depth::Quick => 2,
        Depth::Full => 6,
    }
}

/// Also of an object whose absence was just read: the index polls for the next name, and a cached absence would
/// hide it.
pub(super) async fn read_after_write(probe: &Probe<'_>) -> Result<Finding> {
    for round in 0..rounds(probe.depth) {
        let name = probe.name(&format!("read-after-write/{round}"));
        for endpoint in 0..probe.endpoints.len() {
            if let Some(text) = probe.text(&probe.endpoint(endpoint), &name).await? {
                return failed(format!("an object that was never written held {text:?}"), STALE_STATE);
            }
        }
        for version in ["first", "second"] {
            let text = probe.fresh(version);
            probe.put(&name, &text).await?;
            for endpoint in 0..probe.endpoints.len() {
                let read = probe.text(&probe.endpoint(endpoint), &name).await?;
                if read.as_ref() != Some(&text) {
                    let seen = format!("after writing {text:?}, endpoint {} gave {read:?}", endpoint + 1);
                    return failed(seen, STALE_STATE);
                }
            }
        }
    }
    Ok(Finding::Passed)
}

pub(super) async fn read_after_delete(probe: &Probe<'_>) -> Result<Finding> {
    for round in 0..rounds(probe.depth) {
        let name = probe.name(&format!("read-after-delete/{round}"));
        probe.put(&name, &probe.fresh("doomed")).await?;
        probe.text(probe.store(), &name).await?;
        remove(probe, &name).await?;
        for endpoint in 0..probe.endpoints.len() {
            if let Some(text) = probe.text(&probe.endpoint(endpoint), &name).await? {
                let seen = format!("after its delete, endpoint {} still gave {text:?}", endpoint + 1);
                return failed(seen, STALE_STATE);
            }
        }
        // Deleting again must do no harm: a delete is repeated after a lost answer.
        remove(probe, &name).await?;
    }
    Ok(Finding::Passed)
}

pub(super) async fn list_after_write_and_delete(probe: &Probe<'_>) -> Result<Finding> {
    let root = probe.name("list");
    let mut wanted = BTreeSet::new();
    for number in 0..(4 * rounds(probe.depth)) {
        let name = probe.name(&format!("list/{}/{number:03}", number % 2));
        probe.put(&name, "listed").await?;
        wanted.insert(name);
    }
    for round in 0..2 {
        for endpoint in 0..probe.endpoints.len() {
            let listing = probe.endpoint(endpoint).list(Some(&root)).map_ok(|object| object.location);
            let listed: Result<BTreeSet<_>, _> = listing.try_collect().await;
            let listed = listed.map_err(|error| bucket::failure("list objects", error))?;
            if listed != wanted {
                let missing = wanted.difference(&listed).count();
                let extra = listed.difference(&wanted).count();
                let after = if round == 0 { "after writing" } else { "after deleting" };
                return failed(
                    format!("{after}, a listing lacked {missing} objects and showed {extra} that are not there"),
                    "a restart would miss the newest part of the log or of the index",
                );
            }
        }
        let doomed: Vec<_> = wanted.iter().step_by(2).cloned().collect();
        for name in doomed.iter().filter(|_| round == 0) {
            remove(probe, name).await?;
            wanted.remove(name);
        }
    }
    Ok(Finding::Passed)
}

pub(super) async fn ranged_reads(probe: &Probe<'_>) -> Result<Finding> {
    const MEANS: &str = "indexes and file content would be read from the wrong place";
    let name = probe.name("ranged-reads");
    let body: String = (0..1000).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    probe.put(&name, &body).await?;
    let mut without_suffix = false;
    for (range, wanted) in [
        (GetRange::Bounded(0..1), 0..1),
        (GetRange::Bounded(123..457), 123..457),
        (GetRange::Bounded(990..2000), 990..1000),
        (GetRange::Offset(999), 999..1000),
        (GetRange::Suffix(10), 990..1000),
    ] {
        let suffix = matches!(range, GetRange::Suffix(_));
        let options = GetOptions::new().with_range(Some(range.clone()));
        let got = match probe.store().get_opts(&name, options).await {
            Err(Error::NotSupported { .. }) if suffix => {
                without_suffix = true;
                continue;
            }
            got => got.map_err(|error| bucket::failure(&format!("read the range {range:?}"), error))?,
        };
        let size = got.meta.size;
        let bytes = got.bytes().await.map_err(|error| bucket::failure(&format!("read the range {range:?}"), error))?;
        let expected = &body.as_bytes()[wanted];
        if bytes != expected || size != body.len() as u64 {
            let seen = format!("a read of {range:?} of {} bytes gave {} bytes, of {size}", body.len(), bytes.len());
            return failed(seen, MEANS);
        }
    }
    if without_suffix {
        return Ok(Finding::Skipped("ranges count from the start only; that does for us".into()));
    }
    Ok(Finding::Passed)
}

pub(super) async fn upload_hidden_until_complete(probe: &Probe<'_>) -> Result<Finding> {
    const MEANS: &str = "a crash in the middle of an upload would leave a part of a segment that looks whole";
    let doing = |error| bucket::failure("upload an object in parts", error);
    for complete in [true, false] {
        let name = probe.name(if complete { "upload/complete" } else { "upload/aborted" });
        let body = probe.fresh("part");
        let mut upload = probe.store().put_multipart(&name).await.map_err(doing)?;
        upload.put_part(body.clone().into()).await.map_err(doing)?;
        probe.count(2);
        if probe.text(probe.store(), &name).await?.is_some() {
            return failed("an upload was visible before it was complete".into(), MEANS);
        }
        if complete {
            upload.complete().await.map_err(doing)?;
        } else {
            upload.abort().await.map_err(doing)?;
        }
        let text = probe.text(probe.store(), &name).await?;
        if text != Some(body).filter(|_| complete) {
            let how = if complete { "complete" } else { "aborted" };
            return failed(format!("after its upload was {how}, the object held {text:?}"), MEANS);
        }
    }
    Ok(Finding::Passed)
}

pub(super) async fn clock(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("clock");
    let before = probe.clock.now_nanos();
    probe.put(&name, &probe.fresh("now")).await?;
    let after = probe.clock.now_nanos();
    let head = probe.store().head(&name).await.map_err(|error| bucket::failure("read an object's time", error))?;
    let Some(stored) = head.last_modified.timestamp_nanos_opt() else {
        return failed(format!("an object written now is of {}", head.last_modified), "nothing could be told by age");
    };
    // The bucket's time is that of some moment in between, in whole seconds on most stores.
    let off = (before.saturating_sub(stored)).max(stored.saturating_sub(after)).max(0);
    let seconds = off / 1_000_000_000;
    if seconds <= i64::try_from(limits::CLOCK_SKEW_MAX.as_secs()).unwrap_or(i64::MAX) {
        return Ok(Finding::Passed);
    }
    let direction = if stored > after { "behind" } else { "ahead of" };
    failed(
        format!("this machine's clock is {seconds} s {direction} the bucket's"),
        "files that are still needed could be collected as old ones, and a server that takes over could not write \
         until its clock catches up; set the clock (NTP)",
    )
}
