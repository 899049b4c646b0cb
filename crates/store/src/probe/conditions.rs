//! Tests of conditional writes: everything that decides who owns what rests on them.

use super::{Depth, Finding, Probe};
use crate::{Result, bucket};
use object_store::path::Path;
use object_store::{Attribute, Attributes, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

const TWO_OWNERS: &str = "two servers could own the same data and overwrite each other's acknowledged writes";
const NO_UPDATES: &str = "old files of the index could never be collected safely";

pub(super) async fn create_once(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("create-once");
    let (first, second) = (probe.fresh("first"), probe.fresh("second"));
    let created = probe.store().put_opts(&name, first.clone().into(), PutMode::Create.into()).await;
    created.map_err(|error| bucket::failure("create an object", error))?;
    let again = probe.store().put_opts(&name, second.into(), PutMode::Create.into()).await;
    let seen = match again {
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => None,
        Err(error) => return Err(bucket::failure("create an object a second time", error)),
        Ok(_) => Some("an object that existed was created a second time".to_owned()),
    };
    let text = probe.text(probe.store(), &name).await?;
    let changed = (text != Some(first)).then(|| format!("after a refused create the object held {text:?}"));
    Ok(finding(seen.or(changed), TWO_OWNERS))
}

fn finding(seen: Option<String>, means: &'static str) -> Finding {
    seen.map_or(Finding::Passed, |seen| Finding::Failed { seen, means })
}

/// Rounds and racers. The known broken pairs of servers fail more than half of their rounds.
fn race_size(depth: Depth) -> (usize, usize) {
    match depth {
        Depth::Quick => (6, 4),
        Depth::Full => (16, 8),
    }
}

pub(super) async fn racing_creates(probe: &Probe<'_>) -> Result<Finding> {
    let (rounds, racers) = race_size(probe.depth);
    for round in 0..rounds {
        let name = probe.name(&format!("racing-creates/{round}"));
        if let Some(seen) = race(probe, &name, racers, &PutMode::Create).await? {
            return Ok(finding(Some(seen), TWO_OWNERS));
        }
    }
    Ok(Finding::Passed)
}

pub(super) async fn racing_updates(probe: &Probe<'_>) -> Result<Finding> {
    let (rounds, racers) = race_size(probe.depth);
    for round in 0..rounds {
        let name = probe.name(&format!("racing-updates/{round}"));
        let begun = probe.put(&name, &probe.fresh("before")).await?;
        if let Some(seen) = race(probe, &name, racers, &PutMode::Update(begun.into())).await? {
            return Ok(finding(Some(seen), TWO_OWNERS));
        }
    }
    Ok(Finding::Passed)
}

/// Several write the same object under the same condition at the same time, through all endpoints. What is wrong,
/// if anything is: two that were acknowledged, or one whose bytes are not there. An error is no acknowledgement:
/// losers get all sorts of them, and one that got an error may have won.
async fn race(probe: &Probe<'_>, name: &Path, racers: usize, mode: &PutMode) -> Result<Option<String>> {
    let bodies: Vec<_> = (0..racers).map(|racer| probe.fresh(&format!("racer {racer}"))).collect();
    let attempts = bodies.iter().enumerate().map(|(racer, body)| {
        let (store, name, body, mode) = (probe.endpoint(racer), name.clone(), body.clone(), mode.clone());
        // Tasks of their own, so that they run on several threads.
        tokio::spawn(async move { store.put_opts(&name, body.into(), mode.into()).await })
    });
    let results = futures::future::join_all(attempts).await;
    let won: Vec<_> = (0..racers).filter(|racer| matches!(results[*racer], Ok(Ok(_)))).collect();
    if won.len() > 1 {
        let ways = probe.endpoints.len();
        return Ok(Some(format!(
            "{} of {racers} racing writers were told that they won ({ways} endpoints)",
            won.len()
        )));
    }
    let text = probe.text(probe.store(), name).await?;
    Ok(match won.first() {
        Some(winner) if text.as_ref() != Some(&bodies[*winner]) => {
            Some(format!("racer {winner} was told that it won, and the object holds {text:?}"))
        }
        _ => None,
    })
}

fn update(tag: Option<String>, version: Option<String>) -> PutOptions {
    PutMode::Update(UpdateVersion { e_tag: tag, version }).into()
}

pub(super) async fn update_with_fresh_tag(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("update-with-fresh-tag");
    let first = probe.put(&name, &probe.fresh("first")).await?;
    let next = probe.fresh("second");
    let updated = probe.store().put_opts(&name, next.clone().into(), update(first.e_tag.clone(), first.version)).await;
    let seen = match updated {
        Ok(_) => {
            let text = probe.text(probe.store(), &name).await?;
            (text != Some(next)).then(|| format!("after an update the object held {text:?}"))
        }
        Err(Error::Precondition { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. }) => {
            let tag = first.e_tag;
            Some(format!("an update with the object's own tag ({tag:?}) was refused"))
        }
        Err(error) => return Err(bucket::failure("update an object", error)),
    };
    Ok(finding(seen, NO_UPDATES))
}

pub(super) async fn update_with_stale_tag(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("update-with-stale-tag");
    let first = probe.put(&name, &probe.fresh("first")).await?;
    let second = probe.fresh("second");
    probe.put(&name, &second).await?;
    let stale = update(first.e_tag, first.version);
    let updated = probe.store().put_opts(&name, probe.fresh("third").into(), stale).await;
    let seen = match updated {
        Ok(_) => Some("an update with the tag of an older version was taken".to_owned()),
        Err(_) => {
            let text = probe.text(probe.store(), &name).await?;
            (text != Some(second)).then(|| format!("after a refused update the object held {text:?}"))
        }
    };
    Ok(finding(seen, TWO_OWNERS))
}

pub(super) async fn update_of_missing(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("update-of-missing");
    let first = probe.put(&name, &probe.fresh("first")).await?;
    remove(probe, &name).await?;
    let put = probe.store().put_opts(&name, probe.fresh("second").into(), update(first.e_tag, first.version)).await;
    let there = probe.text(probe.store(), &name).await?;
    let seen = match (put, there) {
        (Ok(_), _) => Some("an update of an object that had been deleted was taken".to_owned()),
        (Err(_), Some(text)) => Some(format!("after a refused update a deleted object held {text:?}")),
        (Err(_), None) => None,
    };
    Ok(finding(seen, TWO_OWNERS))
}

pub(super) async fn remove(probe: &Probe<'_>, name: &Path) -> Result<()> {
    match probe.store().delete(name).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(bucket::failure(&format!("delete {name}"), error)),
    }
}

/// The index marks its conditional writes, to recognise one of its own whose answer was lost.
pub(super) async fn metadata_kept(probe: &Probe<'_>) -> Result<Finding> {
    let name = probe.name("metadata-kept");
    let attributes = Attributes::from_iter([(Attribute::Metadata("ballastprobe".into()), "01hzzz")]);
    let options = PutOptions { mode: PutMode::Create, attributes: attributes.clone(), ..Default::default() };
    match probe.store().put_opts(&name, "".into(), options).await {
        Ok(_) => {}
        Err(Error::NotSupported { .. } | Error::NotImplemented { .. }) => {
            return Ok(Finding::Skipped("the bucket keeps no metadata with objects".into()));
        }
        Err(error) => return Err(bucket::failure("create an object with metadata", error)),
    }
    let got = probe.store().get(&name).await.map_err(|error| bucket::failure("read it back", error))?;
    let kept = attributes.iter().all(|(attribute, value)| got.attributes.get(attribute) == Some(value));
    let seen = (!kept).then(|| format!("metadata that was taken came back as {:?}", got.attributes));
    Ok(finding(seen, "a server could not recognise its own write after a lost answer and would give up its volume"))
}
