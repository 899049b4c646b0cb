//! The space used below a path.

use crate::serving::serving;
use ballast_api::{Usage, Used};
use ballast_files::Open;
use ballast_runtime::telemetry::Metrics;
use ballast_runtime::{ManualClock, Random, Shutdown};
use ballast_server::http::usage::{measure, size};
use ballast_server::{Budget, Components, Engines, Listeners};
use ballast_store::MemoryVolume;
use ballast_streams::testing::BatchBuilder;
use ballast_streams::{AppendPart, PartitionId};
use ballast_tables::Session;
use ballast_tree::{NewInode, Tree};
use ballast_types::{Call, ErrorKind, Ino, Kind, Name, TreePath};
use bytes::Bytes;
use std::sync::Arc;
use tokio::net::TcpListener;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn used(count: u64, bytes: u64) -> Used {
    Used { count, bytes }
}

/// A tree with a file of 5 bytes, one of 7 with two names, one of holes alone, a stream and a table of 20 rows.
struct World {
    engines: Engines,
    call: Call,
    batch_bytes: u64,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_795_250_000_000_000_000));
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let components = Components {
            clock: clock.clone(),
            random: Random::from_seed(7),
            metrics: Metrics::default(),
            shutdown: Shutdown::new(),
            listeners: Listeners { http, kafka: None, postgres: None },
        };
        let tree = Tree::open(Arc::new(MemoryVolume::new()), clock, (0, 0)).await.unwrap();
        let engines = Engines::new(tree, &components, Budget::default()).unwrap();
        let mut world = Self { engines, call: Call::internal(), batch_bytes: 0 };
        world.fill().await;
        world
    }

    async fn fill(&mut self) {
        let (call, tree) = (&self.call, self.engines.tree.clone());
        tree.create_directories(call, &path("/a/empty")).await.unwrap();
        tree.create_directories(call, &path("/a/b/c")).await.unwrap();
        let at = async |path: &str| tree.resolve(call, &TreePath::parse(path).unwrap()).await.unwrap().ino;
        let b = at("/a/b").await;
        self.file(at("/a").await, "five", b"hello").await;
        let seven = self.file(at("/a/b").await, "seven", b"seventh").await;
        tree.link(call, seven, Ino::ROOT, &name("other name")).await.unwrap();
        let holes = self.file(b, "holes", b"").await;
        self.engines.files.truncate(call, holes, 1 << 30).await.unwrap();

        let settings = ballast_streams::Settings::default();
        let stream = self.engines.streams.create(call, "/a/s", 3, settings).await.unwrap();
        let records = BatchBuilder::new().build();
        let part = AppendPart { id: PartitionId { ino: stream.ino, partition: 1 }, records: records.clone() };
        self.engines.streams.append(vec![part]).await.durable().await.remove(0).unwrap();

        let mut session = Session::new(self.engines.tables.clone(), call.clone(), TreePath::root());
        self.run(&mut session, "create table \"/a/b/t\" (id bigint primary key, item text)").await;
        for id in 0..20 {
            self.run(&mut session, &format!("insert into \"/a/b/t\" values ({id}, 'shoes')")).await;
        }
        session.close().await;
        self.batch_bytes = records.len() as u64;
    }

    async fn file(&self, parent: Ino, text: &str, content: &'static [u8]) -> Ino {
        let new = NewInode { kind: Kind::File, mode: 0o644, rdev: 0, descriptor: Bytes::new() };
        let (inode, _) = self.engines.tree.create(&self.call, parent, &name(text), new, &|_, _| {}).await.unwrap();
        let files = &self.engines.files;
        let how = Open { read: true, write: true, ..Open::default() };
        let handle = files.open(&self.call, inode.ino, how).await.unwrap();
        files.write(&self.call, inode.ino, 0, Bytes::from_static(content)).await.unwrap();
        files.fsync(&handle).await.unwrap();
        files.release(handle).await.unwrap();
        inode.ino
    }

    async fn run(&self, session: &mut Session, sql: &str) {
        let prepared = session.prepare(sql, &[]).await.unwrap();
        session.execute(&prepared, &[], false).await.unwrap();
        session.sync().await.unwrap();
    }

    async fn part(&self, at: &str, after: Option<&str>, rows_max: u64) -> Usage {
        measure(&self.engines, &self.call, &path(at), after, rows_max).await.unwrap()
    }

    /// All parts together, and how many there were.
    async fn all(&self, at: &str, rows_max: u64) -> (Usage, usize) {
        let (mut all, mut after, mut parts) = (Usage::default(), None, 0);
        loop {
            let part = self.part(at, after.as_deref(), rows_max).await;
            all.files.add(part.files);
            all.streams.add(part.streams);
            all.tables.add(part.tables);
            parts += 1;
            after = part.after;
            if after.is_none() {
                return (all, parts);
            }
        }
    }
}

#[tokio::test]
async fn files_streams_and_tables_count_with_what_they_hold() {
    let world = World::new().await;
    let (all, parts) = world.all("/", 10_000).await;
    assert_eq!(parts, 1);
    // A share of 3 bytes for each name of the file of 7.
    assert_eq!(all.files, used(4, 5 + 3 + 3));
    assert_eq!(all.streams, used(1, world.batch_bytes));
    let row = 1 + 8 + 4 + "shoes".len() as u64;
    assert!(all.tables.count == 1 && all.tables.bytes > 20 * row, "{all:?}");
    assert_eq!(world.all("/a/b", 10_000).await.0, Usage { files: used(2, 3), tables: all.tables, ..Usage::default() });
    assert_eq!(world.all("/a/s", 10_000).await.0, Usage { streams: all.streams, ..Usage::default() });
    assert_eq!(world.all("/a/b/t", 10_000).await.0, Usage { tables: all.tables, ..Usage::default() });
    assert_eq!(world.all("/a/five", 10_000).await.0, Usage { files: used(1, 5), ..Usage::default() });
    assert_eq!(world.all("/a/empty", 10_000).await.0, Usage::default());
}

#[tokio::test]
async fn a_stream_and_a_table_have_a_size_that_is_marked_where_it_is_a_part() {
    let world = World::new().await;
    for at in ["/a/s", "/a/b/t"] {
        let usage = world.part(at, None, 10_000).await;
        let whole = usage.streams.bytes + usage.tables.bytes;
        let inode = world.engines.tree.resolve(&world.call, &path(at)).await.unwrap();
        let mut rows_left = 10_000;
        assert_eq!(size(&world.engines, &world.call, &inode, &mut rows_left).await.unwrap(), (whole, true), "{at}");
        assert!(rows_left < 10_000, "{at}");
        let (part, all) = size(&world.engines, &world.call, &inode, &mut 10).await.unwrap();
        assert!(part < whole && !all, "{at}: {part} of {whole}");
        assert_eq!(size(&world.engines, &world.call, &inode, &mut 0).await.unwrap(), (0, false), "{at}");
    }
}

#[tokio::test]
async fn the_space_is_the_same_however_small_the_parts_are() {
    let world = World::new().await;
    let (whole, _) = world.all("/", 10_000).await;
    for rows_max in [1, 7, 30, 250] {
        let (all, parts) = world.all("/", rows_max).await;
        assert_eq!(all, whole, "in {parts} parts of {rows_max} rows");
        assert!(parts > 1, "{rows_max}");
    }
}

#[tokio::test]
async fn what_is_gone_when_a_measurement_goes_on_is_left_out() {
    let world = World::new().await;
    let mut after = None;
    // Until it is in the table, with some rows of it to go.
    while !after.as_deref().is_some_and(|after: &str| after.starts_with("a/b/t/")) {
        after = world.part("/", after.as_deref(), 5).await.after;
    }
    let tree = &world.engines.tree;
    let b = tree.resolve(&world.call, &path("/a/b")).await.unwrap().ino;
    tree.remove_directory(&world.call, b, &name("t")).await.unwrap();
    let rest = world.part("/", after.as_deref(), 10_000).await;
    assert_eq!(rest, Usage { files: used(2, 5 + 3), streams: used(1, world.batch_bytes), ..Usage::default() });
}

#[tokio::test]
async fn a_place_that_no_measurement_gave_is_refused() {
    let serving = serving().await;
    assert_eq!(serving.client.usage(&path("/"), None).await.unwrap(), Usage::default());
    for place in ["%zz", "%00", "a%2Fb/c", "../x"] {
        let refused = serving.client.usage(&path("/"), Some(place)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{place}");
    }
    let missing = serving.client.usage(&path("/missing"), None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    serving.server.stop().await.unwrap();
}
