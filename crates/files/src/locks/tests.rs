//! Locks against an array of bytes, and waits that end.

use super::*;
use proptest::prelude::*;

const FILE: Ino = Ino(7);

fn lock(owner: u64, start: u64, last: u64, exclusive: bool) -> Lock {
    Lock { owner: Owner(owner), pid: 0, start, last, exclusive }
}

proptest! {
    /// What each owner holds of each of 24 bytes: 0 nothing, 1 shared, 2 exclusive.
    #[test]
    fn ranges_behave_like_an_array(steps in prop::collection::vec((0u64..3, 0u64..20, 0u64..5, 0u8..3), 1..40)) {
        let locks = Locks::default();
        let mut model = [[0u8; 3]; 24];
        for (owner, start, length, kind) in steps {
            let (bytes, last) = (start as usize..=(start + length) as usize, start + length);
            if kind == 0 {
                locks.release(FILE, Sort::Posix, Owner(owner), start, last);
                bytes.for_each(|at| model[at][owner as usize] = 0);
                continue;
            }
            let free = bytes.clone().all(|at| (0..3).all(|other| {
                other == owner as usize || model[at][other] == 0 || (kind == 1 && model[at][other] == 1)
            }));
            let taken = locks.take(FILE, Sort::Posix, &lock(owner, start, last, kind == 2));
            prop_assert_eq!(taken.is_ok(), free);
            if free {
                bytes.for_each(|at| model[at][owner as usize] = kind);
            }
        }
        for at in 0..24u64 {
            for exclusive in [false, true] {
                let wanted = model[at as usize].iter().any(|kind| *kind == 2 || (exclusive && *kind == 1));
                prop_assert_eq!(locks.test(FILE, Sort::Posix, &lock(9, at, at, exclusive)).is_some(), wanted);
            }
        }
    }
}

#[tokio::test]
async fn a_waiter_gets_the_lock_when_its_holder_lets_go() {
    let locks = Arc::new(Locks::default());
    locks.take(FILE, Sort::Flock, &lock(1, 0, u64::MAX, true)).expect("nobody holds it");
    let waiter = {
        let locks = Arc::clone(&locks);
        tokio::spawn(async move { locks.wait(FILE, Sort::Flock, &lock(2, 0, u64::MAX, true)).await })
    };
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    locks.release_owner(FILE, Sort::Flock, Owner(1));
    waiter.await.expect("it does not panic").expect("the lock is free");
    assert!(locks.test(FILE, Sort::Flock, &lock(1, 0, 0, false)).is_some_and(|held| held.owner == Owner(2)));
}

#[tokio::test]
async fn an_interrupted_wait_leaves_no_trace() {
    let locks = Locks::default();
    locks.take(FILE, Sort::Posix, &lock(1, 0, 9, true)).expect("nobody holds it");
    let wanted = lock(2, 5, 6, false);
    let mut wait = Box::pin(locks.wait(FILE, Sort::Posix, &wanted));
    assert!(futures::poll!(wait.as_mut()).is_pending());
    drop(wait);
    locks.release_owner(FILE, Sort::Posix, Owner(1));
    assert!(locks.table.lock().waiting.is_empty() && locks.table.lock().inodes.is_empty());
}

#[tokio::test]
async fn a_circle_of_posix_waits_is_refused() {
    let locks = Locks::default();
    locks.take(FILE, Sort::Posix, &lock(1, 0, 0, true)).expect("nobody holds it");
    locks.take(FILE, Sort::Posix, &lock(2, 1, 1, true)).expect("nobody holds it");
    let wanted = lock(1, 1, 1, true);
    let mut first = Box::pin(locks.wait(FILE, Sort::Posix, &wanted));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let second = locks.wait(FILE, Sort::Posix, &lock(2, 0, 0, true)).await;
    assert!(matches!(second, Err(Error::Deadlock)));
}

#[test]
fn the_two_sorts_of_locks_know_nothing_of_each_other() {
    let locks = Locks::default();
    locks.take(FILE, Sort::Posix, &lock(1, 0, u64::MAX, true)).expect("nobody holds it");
    locks.take(FILE, Sort::Flock, &lock(2, 0, u64::MAX, true)).expect("flock is another matter");
}
