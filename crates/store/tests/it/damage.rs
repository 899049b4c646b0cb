//! A small volume in a local bucket, with one bit flipped or one file cut, at every byte of every file.
//!
//! What must come of it: an error that names the file, from opening, from reading or from fsck; or, where the log may
//! have been torn, the volume as it was a commit earlier; or the volume as it was, where the byte means nothing
//! ([`bucket::Sample::meaning`] says which these are, and why). Never another answer, a panic or a hang. And where
//! the volume opens, also with a file that is gone as a whole, it goes on: what could be read stays, and the log is
//! emptied.
//!
//! A push tries every byte of small files and a sample of larger ones; `cargo xtask damage` tries every byte.
//! `BALLAST_DAMAGE=all` does too, `BALLAST_DAMAGE=3/8` the third of eight shares of it, and `BALLAST_SEED` names the
//! sample and the bits.

mod bucket;

use anyhow::Result;
use ballast_runtime::Random;
use bucket::{Damage, Found, Meaning, Sample};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of a file with more bytes than this, the sample has so many; its first and last ones are always in it.
const SAMPLE: usize = 12;
const EDGE: usize = 3;

/// Which share of all the bytes is to be tried, counted from 1, and of how many; `None` is a sample.
fn share() -> Option<(usize, usize)> {
    let share = std::env::var("BALLAST_DAMAGE").ok()?;
    if share == "all" {
        return Some((1, 1));
    }
    let (share, of) = share.split_once('/').expect("BALLAST_DAMAGE is `all` or a share, as in `3/8`");
    Some((share.parse().expect("a number"), of.parse().expect("a number")))
}

/// What is to be tried of all damages to a sample.
fn shared(damages: Vec<(String, Damage)>) -> Vec<(String, Damage)> {
    let (share, of) = share().unwrap_or((1, 1));
    damages.into_iter().skip(share - 1).step_by(of).collect()
}

/// Bytes of a file to be tried: all of them, or a sample.
fn places(bytes: usize, random: &Random) -> Vec<usize> {
    if share().is_some() || bytes <= SAMPLE {
        return (0..bytes).collect();
    }
    let mut places: Vec<usize> = (0..EDGE).chain(bytes - EDGE..bytes).collect();
    places.extend((2 * EDGE..SAMPLE).map(|_| random.below(bytes as u64) as usize));
    places.sort_unstable();
    places.dedup();
    places
}

fn seed() -> u64 {
    let seed = std::env::var("BALLAST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| Random::from_system().next_u64());
    println!("the sample is of BALLAST_SEED={seed}");
    seed
}

/// How often something came of damage to a kind of file.
type Counts = BTreeMap<(String, &'static str), usize>;

/// Tries each damage on as many threads as there are cores; what came of it, by file and outcome. Fails after all of
/// them were tried, with what may not be so.
fn try_all(
    damages: &[(String, Damage)],
    attempt: impl Fn(&str, Damage) -> Result<&'static str, String> + Sync,
) -> Counts {
    let (next, counts) = (AtomicUsize::new(0), parking_lot::Mutex::new(BTreeMap::new()));
    let complaints = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(|| {
                while let Some((file, damage)) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match attempt(file, *damage) {
                        Ok(outcome) => *counts.lock().entry((bucket::kind(file).to_owned(), outcome)).or_default() += 1,
                        Err(complaint) => complaints.lock().push(complaint),
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    counts.into_inner()
}

/// What a look at it shows, in a word; or what it came to where it may not be so.
fn judge(sample: &Sample, file: &str, damage: Damage) -> Result<&'static str, String> {
    let found = &sample.look(file, damage).expect("a copy can be made");
    let complaint = |meaning| format!("{} volume, {file}, {damage:?}: {found}, and should be {meaning:?}", sample.what);
    match (found, sample.meaning(file, damage)) {
        (Found::Named, Meaning::Needed) => Ok("named"),
        (Found::Commit(commit), Meaning::Torn) => {
            let flipped = matches!(damage, Damage::Flip { .. });
            let least = if flipped { sample.commits - 1 } else { sample.commits_sure };
            let is_a_tear = (least..=sample.commits - usize::from(flipped)).contains(commit);
            if is_a_tear { Ok("torn") } else { Err(complaint(Meaning::Torn)) }
        }
        // What was cut may reach back to what the index knows.
        (Found::Named, Meaning::Torn) if matches!(damage, Damage::Cut(_)) => Ok("named"),
        (Found::Commit(commit), Meaning::Nothing(why)) if *commit == sample.commits => Ok(why),
        (_, meaning) => Err(complaint(meaning)),
    }
}

fn print(what: &str, counts: &Counts) -> usize {
    for ((kind, outcome), count) in counts {
        println!("{what}, {kind}: {count} times: {outcome}");
    }
    counts.iter().filter(|((_, outcome), _)| *outcome == "named").map(|(_, count)| count).sum()
}

#[test]
fn a_flip_at_any_byte_of_any_file_is_named_or_means_nothing() -> Result<()> {
    let random = Random::from_seed(seed());
    for sample in Sample::all()? {
        let mut damages = Vec::new();
        for (file, bytes) in &sample.files {
            let flips = places(*bytes, &random).into_iter().map(|at| Damage::Flip { at, bit: random.below(8) as u8 });
            damages.extend(flips.map(|flip| (file.clone(), flip)));
        }
        let damages = shared(damages);
        let needed = damages.iter().filter(|(file, damage)| matches!(sample.meaning(file, *damage), Meaning::Needed));
        let needed = needed.count();
        let named = print(sample.what, &try_all(&damages, |file, damage| judge(&sample, file, damage)));
        assert_eq!(named, needed);
        assert!(needed > 100, "{needed}");
    }
    Ok(())
}

#[test]
fn a_cut_of_any_file_is_named_or_recovers_a_prefix_of_the_commits() -> Result<()> {
    let random = Random::from_seed(seed());
    for sample in Sample::all()? {
        let mut damages = Vec::new();
        for (file, bytes) in &sample.files {
            damages.extend(places(*bytes, &random).into_iter().map(|at| (file.clone(), Damage::Cut(at))));
        }
        let named = print(sample.what, &try_all(&shared(damages), |file, damage| judge(&sample, file, damage)));
        assert!(named > 50, "{named}");
    }
    Ok(())
}

#[test]
fn a_volume_that_opens_goes_on_whatever_is_damaged_or_gone() -> Result<()> {
    let random = Random::from_seed(seed());
    for sample in Sample::all()? {
        let mut damages = Vec::new();
        for (file, bytes) in &sample.files {
            damages.push((file.clone(), Damage::Gone));
            let at = || random.below((*bytes).max(1) as u64) as usize;
            damages.push((file.clone(), Damage::Cut(at())));
            damages.extend((*bytes > 0).then(|| (file.clone(), Damage::Flip { at: at(), bit: 0 })));
        }
        let go_on = |file: &str, damage| {
            let done = sample.go_on(file, damage);
            done.map_err(|error| format!("{} volume, {file}, {damage:?}: {error:#}", sample.what))
        };
        let counts = try_all(&shared(damages), go_on);
        print(sample.what, &counts);
        let refused = |kind: &str| counts.contains_key(&(kind.to_owned(), "does not open"));
        assert!(!refused("segments") && !refused("settled"), "payload is not needed to open");
    }
    Ok(())
}
