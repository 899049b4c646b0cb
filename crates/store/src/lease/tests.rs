//! Taking, keeping, losing and giving back, in simulated time.

use super::entry::{KIND, list, number_of};
use super::*;
use crate::bucket::simulated::{Faults, SimulatedStore};
use crate::bucket::{Environment, record};
use ballast_types::ErrorKind;
use object_store::memory::InMemory;

const LIFE: Duration = limits::LEASE_TIME_TO_LIVE;

/// The wall clock goes with tokio's, which these tests pause.
#[derive(Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now_nanos(&self) -> i64 {
        1_790_000_000_000_000_000 + nanos(self.0.elapsed())
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(TokioClock(Instant::now()))
}

fn holder(host: &str) -> Holder {
    Holder {
        host: host.into(),
        boot: format!("boot of {host}"),
        namespace: "pid:[1]".into(),
        pid: 42,
        started: 7,
        url: format!("http://{host}:8765"),
    }
}

fn claim(host: &str) -> Claim {
    Claim::new(holder(host))
}

fn memory() -> Bucket {
    Bucket::over(Arc::new(InMemory::new()), "memory")
}

async fn acquire(bucket: &Bucket, claim: &Claim, clock: &Arc<dyn Clock>) -> Result<Lease> {
    Lease::acquire(
        bucket,
        claim,
        clock.clone(),
        &Random::from_seed(nanos(LIFE) as u64 ^ claim.holder.host.len() as u64),
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn a_second_server_is_told_who_serves_and_since_when_and_how_to_take_over() {
    let (bucket, clock) = (memory(), clock());
    let first = acquire(&bucket, &claim("alpha"), &clock).await.unwrap();
    tokio::time::sleep(LIFE * 20).await;
    assert!(first.valid(), "it is renewed");
    let error = acquire(&bucket, &claim("beta"), &clock).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let text = error.to_string();
    for part in ["process 42 on alpha", "http://alpha:8765", "since 2026-09-21 14:13:20 UTC", "--take-over"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        describe(&bucket).await.unwrap().unwrap(),
        "process 42 on alpha (http://alpha:8765) since 2026-09-21 14:13:20 UTC"
    );
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_free_at_once_and_the_epoch_grows() {
    let (bucket, clock) = (memory(), clock());
    let first = acquire(&bucket, &claim("alpha"), &clock).await.unwrap();
    let guard = first.guard();
    tokio::time::sleep(LIFE).await;
    first.release().await.unwrap();
    assert!(!guard.valid());
    assert_eq!(describe(&bucket).await.unwrap(), None);
    let before = Instant::now();
    let second = acquire(&bucket, &claim("beta"), &clock).await.unwrap();
    assert_eq!((second.epoch(), before.elapsed()), (2, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_is_watched_for_one_life_and_then_taken() {
    let (bucket, clock) = (memory(), clock());
    drop(acquire(&bucket, &claim("alpha"), &clock).await.unwrap());
    tokio::time::sleep(LIFE / 2).await;
    assert_eq!(acquire(&bucket, &claim("beta"), &clock).await.unwrap_err().kind(), ErrorKind::Fenced);
    tokio::time::sleep(LIFE).await;
    let before = Instant::now();
    let second = acquire(&bucket, &claim("beta"), &clock).await.unwrap();
    assert!(second.valid() && before.elapsed() >= LIFE && before.elapsed() < LIFE * 2);
    // Long ago: no clock is that far off, so that nobody waits.
    drop(second);
    tokio::time::sleep(limits::CLOCKS_DIFFER_MAX + LIFE * 2).await;
    let before = Instant::now();
    acquire(&bucket, &claim("gamma"), &clock).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_clock_is_behind_is_not_robbed() {
    /// An hour fast, but not more: within what clocks may differ by.
    #[derive(Debug)]
    struct Fast(Arc<dyn Clock>);
    impl Clock for Fast {
        fn now_nanos(&self) -> i64 {
            self.0.now_nanos() + nanos(limits::CLOCKS_DIFFER_MAX)
        }
    }
    let (bucket, clock) = (memory(), clock());
    let first = acquire(&bucket, &claim("alpha"), &clock).await.unwrap();
    let fast: Arc<dyn Clock> = Arc::new(Fast(clock.clone()));
    tokio::time::sleep(LIFE / 2).await;
    assert_eq!(acquire(&bucket, &claim("beta"), &fast).await.unwrap_err().kind(), ErrorKind::Fenced);
    assert!(first.valid());
}

#[tokio::test(start_paused = true)]
async fn taking_over_fences_the_old_server_before_the_new_one_serves() {
    let (bucket, clock) = (memory(), clock());
    let old = acquire(&bucket, &claim("alpha"), &clock).await.unwrap();
    tokio::time::sleep(LIFE).await;
    let before = Instant::now();
    let mut told = old.state();
    let guard = old.guard();
    let new = acquire(&bucket, &Claim { take_over: true, ..claim("beta") }, &clock).await.unwrap();
    assert!(new.valid() && !guard.valid(), "never both");
    assert!(before.elapsed() < LIFE, "the old one says that it has stopped");
    told.changed().await.unwrap();
    assert!(matches!(&*told.borrow(), LeaseState::Fenced(by) if by.contains("beta")));
    let error = guard.check().unwrap_err();
    assert!(error.kind() == ErrorKind::Fenced && error.to_string().contains("on beta"), "{error}");
    old.release().await.unwrap();
    tokio::time::sleep(LIFE * 3).await;
    assert!(new.valid(), "an old holder's release gives nothing back");
}

#[tokio::test(start_paused = true)]
async fn taking_over_from_a_silent_server_waits_until_that_one_has_stopped_by_its_own_clock() {
    let (simulated, clock) = (SimulatedStore::new(Random::from_seed(1), Faults::default()), clock());
    let old = acquire(&Bucket::over(Arc::new(simulated.clone()), "old"), &claim("alpha"), &clock).await.unwrap();
    simulated.set_faults(Faults { lost_requests: 1000, ..Faults::default() });
    let other = Bucket::over(Arc::new(simulated.another_client(Faults::default())), "new");
    let new = acquire(&other, &Claim { take_over: true, ..claim("beta") }, &clock).await.unwrap();
    assert!(new.valid() && !old.valid(), "never both");
    assert_eq!(old.check().unwrap_err().kind(), ErrorKind::Unavailable, "it does not know yet");
    simulated.set_faults(Faults::default());
    tokio::time::sleep(LIFE).await;
    assert_eq!(old.check().unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_dies_while_it_waits_leaves_the_wait_to_its_successor() {
    let (simulated, clock) = (SimulatedStore::new(Random::from_seed(1), Faults::default()), clock());
    let old = acquire(&Bucket::over(Arc::new(simulated.clone()), "old"), &claim("alpha"), &clock).await.unwrap();
    simulated.set_faults(Faults { lost_requests: 1000, ..Faults::default() });
    let other = Bucket::over(Arc::new(simulated.another_client(Faults::default())), "new");
    // A holder that is seen to be gone: this boot, and a process that never was.
    let this = Holder::this_process("");
    let gone = Claim { take_over: true, ..Claim::new(Holder { started: this.started + 1, ..this.clone() }) };
    tokio::time::timeout(LIFE / 10, acquire(&other, &gone, &clock)).await.unwrap_err();
    let next = acquire(&other, &Claim::new(this), &clock).await.unwrap();
    assert!(next.valid() && !old.valid(), "never both");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_does_not_answer_stops_reads_and_its_return_resumes_them() {
    let (simulated, clock) = (SimulatedStore::new(Random::from_seed(1), Faults::default()), clock());
    let bucket = Bucket::over(Arc::new(simulated.clone()), "simulated");
    let lease = acquire(&bucket, &claim("alpha"), &clock).await.unwrap();
    simulated.set_faults(Faults { lost_requests: 1000, ..Faults::default() });
    tokio::time::sleep(LIFE).await;
    assert_eq!(lease.check().unwrap_err().kind(), ErrorKind::Unavailable);
    simulated.set_faults(Faults::default());
    tokio::time::sleep(LIFE / 3).await;
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn lost_answers_do_not_lose_the_lease_and_never_do_two_hold_it() {
    for seed in 0..50 {
        let random = Random::from_seed(seed);
        let faults = Faults { delay_max: LIFE / 15, lost_requests: 100, lost_answers: 300 };
        let (simulated, clock) = (SimulatedStore::new(random.clone(), Faults::default()), clock());
        let bucket = |client: SimulatedStore| Bucket::over(Arc::new(client), "simulated");
        let first = Lease::acquire(&bucket(simulated.clone()), &claim("alpha"), clock.clone(), &random).await.unwrap();
        simulated.set_faults(faults);
        let guard = first.guard();
        let rival = tokio::spawn({
            let (bucket, clock, random) = (bucket(simulated.another_client(faults)), clock.clone(), random.clone());
            async move {
                for round in 0..100 {
                    let claim = Claim { take_over: round >= 50, ..claim("beta") };
                    if let Ok(lease) = Lease::acquire(&bucket, &claim, clock.clone(), &random).await {
                        assert!(!guard.valid(), "two hold it with seed {seed}");
                        return Some((round, lease));
                    }
                    tokio::time::sleep(Duration::from_millis(random.below(2000))).await;
                }
                None
            }
        });
        let (round, second) = rival.await.unwrap().unwrap_or_else(|| panic!("nobody takes over with seed {seed}"));
        assert!(round >= 50, "seed {seed}: the lease was lost in round {round}, though answers alone were lost");
        simulated.set_faults(Faults::default());
        tokio::time::sleep(LIFE * 2).await;
        assert_eq!(first.check().unwrap_err().kind(), ErrorKind::Fenced, "seed {seed}");
        assert!(second.epoch() > first.epoch());
    }
}

#[tokio::test(start_paused = true)]
async fn old_entries_are_removed_and_the_newest_never() {
    let (bucket, clock) = (memory(), clock());
    let lease = acquire(&bucket, &claim("alpha"), &clock).await.unwrap();
    tokio::time::sleep(LIFE * 100).await;
    let listed = list(bucket.store().as_ref()).await.unwrap();
    let kept = (limits::LEASE_KEPT_LIVES * limits::LEASE_RENEWALS_PER_LIFE + 2) as usize;
    assert!(listed.len() <= kept, "{} entries", listed.len());
    assert!(listed.iter().filter_map(number_of).max() > Some(290));
    assert!(lease.valid());
}

#[tokio::test]
async fn on_a_local_bucket_the_kernel_tells_that_the_holder_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let open = |seed| {
        let url = directory.path().to_str().unwrap().to_owned();
        Bucket::open(&url, &Environment::default(), &Random::from_seed(seed)).unwrap()
    };
    let (one, two, clock) = (open(1), open(2), clock());
    let first = acquire(&one, &claim("alpha"), &clock).await.unwrap();
    let error = acquire(&two, &claim("beta"), &clock).await.unwrap_err();
    assert!(error.to_string().contains("on alpha"), "{error}");
    // As after kill -9: neither released nor renewed, and the file descriptor closed.
    drop(first);
    tokio::task::yield_now().await;
    let second = loop {
        match acquire(&two, &claim("beta"), &clock).await {
            Ok(lease) => break lease,
            // The aborted task is dropped on its own.
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(second.epoch(), 2);
}

#[test]
fn the_format_does_not_change() {
    let entry = Entry {
        number: 124,
        epoch: 3,
        nonce: [0x5a; 16],
        holder: holder("alpha"),
        taken: 1_790_000_000_000_000_000,
        written: 1_790_000_005_000_000_000,
        expires: 1_790_000_020_000_000_000,
        locked: true,
        settled: true,
        released: false,
    };
    let golden = include_str!("golden.txt");
    assert_eq!(entry.encode(), golden);
    let record = record::decode(KIND, "lease/000124", golden.as_bytes()).unwrap();
    assert_eq!(Entry::understand(&record).unwrap(), entry);
}
