//! Answers that are PostgreSQL's where DataFusion or the parser would give others, and what is refused instead.

use crate::harness::Database;
use ballast_tables::Error;

#[tokio::test]
async fn a_date_is_not_stored_that_is_not_read_to_its_end() {
    let database = Database::new().await;
    let mut client = database.session();
    client.run("CREATE TABLE k1 (id int PRIMARY KEY, dt date)").await;
    assert_eq!(client.run("INSERT INTO k1 VALUES (1, '0044-03-15 BC') RETURNING dt").await, ["0044-03-15 BC"]);
    for wrong in ["2024-01-01T99:99:99 rubbish", "2024-01-01 x"] {
        let error = client.fails(&format!("INSERT INTO k1 VALUES (2, '{wrong}')")).await;
        assert!(matches!(error, Error::InvalidDatetime(_)), "{wrong}: {error}");
    }
}
