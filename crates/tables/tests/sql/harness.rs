//! A database in memory, and statements as text in and text out.

use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{ManualClock, Random};
use ballast_store::{MemoryVolume, Volume};
use ballast_tables::value::text;
use ballast_tables::{Answer, Error, Prepared, Rows, Session, Settings, Tables, Tag, Value};
use ballast_tree::Tree;
use ballast_types::{Call, Caller, TreePath};
use futures::TryStreamExt;
use std::sync::Arc;

pub struct Database {
    pub volume: MemoryVolume,
    pub tree: Tree,
    pub tables: Tables,
}

impl Database {
    pub async fn new() -> Self {
        Self::open(MemoryVolume::new()).await
    }

    pub async fn open(volume: MemoryVolume) -> Self {
        let shared: Arc<dyn Volume> = Arc::new(volume.clone());
        // 2026-11-21 00:00:00 UTC.
        let clock = Arc::new(ManualClock::at(1_795_219_200_000_000_000));
        let tree = Tree::open(Arc::clone(&shared), clock.clone(), (0, 0)).await.expect("a tree opens");
        let tables = Tables::new(shared, tree.clone(), clock, Random::from_seed(7), Settings::default());
        Self { volume, tree, tables: tables.expect("tables open") }
    }

    /// What a crash and a restart leave.
    pub async fn crash(&self) -> Self {
        Self::open(self.volume.crash()).await
    }

    /// Waits until no query holds a thread any more.
    pub async fn queries_are_over(&self) {
        let metrics = Metrics::default();
        self.tables.register_metrics(&metrics);
        while !metrics.encode().contains("ballast_tables_queries_computing 0") {
            tokio::task::yield_now().await;
        }
    }

    pub fn session(&self) -> Client {
        self.session_at("/", Caller::root())
    }

    pub fn session_at(&self, directory: &str, caller: Caller) -> Client {
        let directory = TreePath::parse(directory).expect("a path");
        Client(Session::new(self.tables.clone(), Call::new(caller), directory))
    }

    pub async fn directory(&self, path: &str) {
        let path = TreePath::parse(path).expect("a path");
        self.tree.create_directories(&Call::internal(), &path).await.expect("directories are made");
    }
}

/// A session that speaks text.
pub struct Client(pub Session);

impl Client {
    /// Runs the statements of a text, as a simple query does. The last one's rows (`a|b`, null as `-`), or its tag.
    pub async fn try_run(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        let done = self.run_all(sql).await;
        if done.is_err() {
            self.0.fail();
        }
        self.0.sync().await?;
        done
    }

    async fn run_all(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        let statements = self.0.parse(sql)?;
        let more = statements.len() > 1;
        let mut shown = Vec::new();
        for statement in statements {
            let prepared = self.0.prepare_statement(Some(statement), &[]).await?;
            let answer = self.0.execute(&prepared, &[], more).await?;
            shown = show(answer).await?;
        }
        Ok(shown)
    }

    /// The same up to its last answer: what ends its implicit transaction is still to come.
    pub async fn run_open(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        self.run_all(sql).await
    }

    pub async fn run(&mut self, sql: &str) -> Vec<String> {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a prepared statement without parameters.
    pub async fn execute(&mut self, prepared: &Prepared) -> Result<Vec<String>, Error> {
        let answer = self.0.execute(prepared, &[], false).await?;
        show(answer).await
    }

    pub async fn fails(&mut self, sql: &str) -> Error {
        match self.try_run(sql).await {
            Ok(shown) => panic!("{sql} should fail, and gave {shown:?}"),
            Err(error) => error,
        }
    }

    /// Runs a statement with parameters given as text.
    pub async fn run_with(&mut self, sql: &str, parameters: &[&str]) -> Vec<String> {
        let prepared = self.0.prepare(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(prepared.parameters.len(), parameters.len(), "{sql}");
        let values = parameters.iter().zip(&prepared.parameters);
        let values: Vec<Value> = values.map(|(text, of)| text::parse(text, *of).expect("a value")).collect();
        let answer = self.0.execute(&prepared, &values, false).await;
        show(answer.unwrap_or_else(|error| panic!("{sql}: {error}"))).await.expect("rows")
    }
}

async fn show(answer: Answer) -> Result<Vec<String>, Error> {
    Ok(match answer {
        Answer::Empty => Vec::new(),
        Answer::Done(tag) => vec![tag_text(tag)],
        Answer::Rows { columns, rows, .. } => {
            let rows = match rows {
                Rows::Ready(rows) => rows,
                Rows::Stream(stream) => stream.try_collect::<Vec<_>>().await?.into_iter().flatten().collect(),
            };
            let line = |row: &Vec<Value>| {
                assert_eq!(row.len(), columns.len(), "a row has a value per column");
                let cells = row.iter().zip(columns.iter()).map(|(value, column)| match value {
                    Value::Null => "-".to_owned(),
                    value => text::print(value, column.column_type),
                });
                cells.collect::<Vec<_>>().join("|")
            };
            rows.iter().map(line).collect()
        }
        Answer::CopyIn(_) => vec!["COPY IN".into()],
        Answer::CopyOut(_) => vec!["COPY OUT".into()],
        Answer::Deallocate(name, tag) => vec![format!("{} {}", tag_text(tag), name.unwrap_or_default())],
    })
}

pub fn tag_text(tag: Tag) -> String {
    match tag {
        Tag::Select => "SELECT".into(),
        Tag::Insert(count) => format!("INSERT {count}"),
        Tag::Update(count) => format!("UPDATE {count}"),
        Tag::Delete(count) => format!("DELETE {count}"),
        Tag::Copy(count) => format!("COPY {count}"),
        Tag::Command(word) => word.into(),
    }
}
