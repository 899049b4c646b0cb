//! Random statements against a map, with transactions, crashes and restarts.

use crate::harness::Database;
use ballast_runtime::Random;
use ballast_tables::Error;
use std::collections::BTreeMap;

type Model = BTreeMap<i64, i64>;

/// Applies one random statement to both; the SQL's tag must agree.
async fn step(client: &mut crate::harness::Client, model: &mut Model, random: &Random) -> bool {
    let (key, value) = (random.below(30) as i64, random.below(100) as i64);
    let (low, high) = (key.min(20), key.min(20) + 5);
    let count = |model: &Model, holds: &dyn Fn(i64, i64) -> bool| model.iter().filter(|(k, v)| holds(**k, **v)).count();
    match random.below(9) {
        0 | 1 => {
            let done = client.try_run(&format!("INSERT INTO t VALUES ({key}, {value})")).await;
            if model.contains_key(&key) {
                assert!(matches!(done, Err(Error::UniqueViolation { .. })), "{done:?}");
                return false;
            }
            assert_eq!(done.expect("a new key"), ["INSERT 1"]);
            model.insert(key, value);
        }
        2 => {
            let sql = format!("INSERT INTO t VALUES ({key}, {value}) ON CONFLICT (id) DO UPDATE SET v = excluded.v");
            assert_eq!(client.run(&sql).await, ["INSERT 1"]);
            model.insert(key, value);
        }
        3 => {
            let held = i64::from(model.contains_key(&key));
            assert_eq!(
                client.run(&format!("UPDATE t SET v = v + 1 WHERE id = {key}")).await,
                [format!("UPDATE {held}")]
            );
            model.entry(key).and_modify(|v| *v += 1);
        }
        4 => {
            let held = count(model, &|k, _| k >= low && k < high);
            let sql = format!("UPDATE t SET v = {value} WHERE id >= {low} AND id < {high}");
            assert_eq!(client.run(&sql).await, [format!("UPDATE {held}")]);
            model.range_mut(low..high).for_each(|(_, v)| *v = value);
        }
        5 => {
            let held = count(model, &|_, v| v == value);
            let sql = format!("DELETE FROM t WHERE id IN (SELECT id FROM t WHERE v = {value})");
            assert_eq!(client.run(&sql).await, [format!("DELETE {held}")]);
            model.retain(|_, v| *v != value);
        }
        6 => {
            let held = usize::from(model.remove(&key).is_some());
            assert_eq!(client.run(&format!("DELETE FROM t WHERE id = {key}")).await, [format!("DELETE {held}")]);
        }
        7 => {
            let sql = format!("SELECT id, v FROM t WHERE id BETWEEN {low} AND {high}");
            let expected: Vec<String> = model.range(low..=high).map(|(k, v)| format!("{k}|{v}")).collect();
            assert_eq!(client.run(&sql).await, expected);
        }
        _ => {
            let expected = format!("{}|{}", model.len(), model.values().sum::<i64>());
            assert_eq!(client.run("SELECT count(*), coalesce(sum(v), 0) FROM t").await, [expected]);
        }
    }
    true
}

async fn check(client: &mut crate::harness::Client, model: &Model) {
    let expected: Vec<String> = model.iter().map(|(k, v)| format!("{k}|{v}")).collect();
    assert_eq!(client.run("SELECT id, v FROM t").await, expected);
}

async fn play(seed: u64) {
    let random = Random::from_seed(seed);
    let mut database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE t (id bigint PRIMARY KEY, v bigint)").await;
    let mut model = Model::new();
    for _ in 0..12 {
        match random.below(4) {
            0 => {
                // A restart without any warning: what was acknowledged is there.
                database = database.crash().await;
                client = database.session();
            }
            1 => {
                step(&mut client, &mut model, &random).await;
            }
            _ => {
                client.run("BEGIN").await;
                let mut inside = model.clone();
                let mut whole = true;
                for _ in 0..random.below(5) {
                    whole &= step(&mut client, &mut inside, &random).await;
                    if !whole {
                        break;
                    }
                }
                match random.below(4) {
                    0 => {
                        client.run("ROLLBACK").await;
                    }
                    1 => {
                        database = database.crash().await;
                        client = database.session();
                    }
                    _ if whole => {
                        client.run("COMMIT").await;
                        model = inside;
                    }
                    _ => assert_eq!(client.run("COMMIT").await, ["ROLLBACK"]),
                }
            }
        }
        check(&mut client, &model).await;
    }
}

#[tokio::test]
async fn random_statements_agree_with_a_map() {
    for seed in 0..60 {
        // Printed where the test fails.
        println!("seed {seed}");
        play(seed).await;
    }
}
