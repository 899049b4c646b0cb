//! Random operations of several callers, with crashes, against a naive tree.
//!
//! The real tree and the model answer every operation alike, errors included; after a crash the tree is in one
//! of the states that the model went through since the last position that was waited for; and at the end every
//! row fits together. The cache is as large as all, a few inodes, or nothing.

mod naive;

use crate::promises::promise;
use crate::support::{Purged, errno, member, new, root, user};
use ballast_runtime::ManualClock;
use ballast_store::{MemoryVolume, Volume};
use ballast_tree::{Config, Error, Inode, Rename, SetAttributes, SetTime, Tree, check};
use ballast_types::{Call, Ino, Kind, Name, Timestamp};
use naive::{Node, State};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Op {
    Create { at: Index, name: usize, kind: Kind, mode: u32 },
    Link { of: Index, at: Index, name: usize },
    Unlink { at: Index, name: usize },
    RemoveDirectory { at: Index, name: usize },
    Rename { from: Index, from_name: usize, to: Index, to_name: usize, how: Rename },
    SetAttributes { of: Index, set: SetAttributes },
    SetAttribute { of: Index, attribute: usize, create: Option<bool> },
    RemoveAttribute { of: Index, attribute: usize },
    Update { of: Index, size: u64 },
    Look { at: Index, name: usize },
    List { at: Index },
    Sync,
    Crash,
    Reap,
}

const NAMES: [&str; 4] = ["a", "b", "c", "a-longer-name-that-takes-some-room"];
const ATTRIBUTES: [&[u8]; 4] = [b"user.a", b"trusted.a", b"security.a", b"system.posix_acl_access"];

fn callers() -> [Call; 4] {
    [root(), user(1), member(2, 2, &[1]), user(3)]
}

fn any_how() -> impl Strategy<Value = Rename> {
    prop_oneof![
        5 => Just(Rename::Replace),
        1 => Just(Rename::NoReplace),
        2 => Just(Rename::Exchange),
        1 => Just(Rename::Whiteout),
        1 => Just(Rename::WhiteoutNoReplace),
    ]
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Directory),
        5 => Just(Kind::File),
        1 => Just(Kind::Symlink),
        2 => Just(Kind::Stream),
        2 => Just(Kind::Table),
        1 => Just(Kind::BlockDevice),
    ]
}

fn any_mode() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0o777), 2 => Just(0o1777), 2 => Just(0o2775), 1 => Just(0o6755), 2 => 0u32..=0o7777]
}

fn any_time() -> impl Strategy<Value = Option<SetTime>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(SetTime::Now)),
        1 => any::<i64>().prop_map(|nanos| Some(SetTime::At(Timestamp(nanos)))),
    ]
}

fn any_set() -> impl Strategy<Value = SetAttributes> {
    let id = || prop_oneof![3 => Just(None), 1 => (0u32..4).prop_map(Some)];
    (proptest::option::of(any_mode()), id(), id(), any_time(), any_time())
        .prop_map(|(mode, uid, gid, atime, mtime)| SetAttributes { mode, uid, gid, atime, mtime })
}

fn any_op() -> impl Strategy<Value = Op> {
    let name = || 0..NAMES.len();
    let attribute = || 0..ATTRIBUTES.len();
    let index = any::<Index>;
    prop_oneof![
        12 => (index(), name(), any_kind(), any_mode())
            .prop_map(|(at, name, kind, mode)| Op::Create { at, name, kind, mode }),
        4 => (index(), index(), name()).prop_map(|(of, at, name)| Op::Link { of, at, name }),
        4 => (index(), name()).prop_map(|(at, name)| Op::Unlink { at, name }),
        4 => (index(), name()).prop_map(|(at, name)| Op::RemoveDirectory { at, name }),
        12 => (index(), name(), index(), name(), any_how())
            .prop_map(|(from, from_name, to, to_name, how)| Op::Rename { from, from_name, to, to_name, how }),
        6 => (index(), any_set()).prop_map(|(of, set)| Op::SetAttributes { of, set }),
        4 => (index(), attribute(), any::<Option<bool>>())
            .prop_map(|(of, attribute, create)| Op::SetAttribute { of, attribute, create }),
        2 => (index(), attribute()).prop_map(|(of, attribute)| Op::RemoveAttribute { of, attribute }),
        2 => (index(), any::<u64>()).prop_map(|(of, size)| Op::Update { of, size }),
        4 => (index(), name()).prop_map(|(at, name)| Op::Look { at, name }),
        2 => index().prop_map(|at| Op::List { at }),
        2 => Just(Op::Sync),
        1 => Just(Op::Crash),
        1 => Just(Op::Reap),
    ]
}

/// The tree and the model side by side.
struct Pair {
    volume: MemoryVolume,
    clock: ManualClock,
    tree: Tree,
    config: Config,
    model: State,
    /// What the model was since the last sync: a crash leaves one of these.
    since_sync: Vec<State>,
}

impl Pair {
    async fn new(cache_bytes: usize) -> Self {
        let (volume, clock) = (MemoryVolume::new(), ManualClock::at(1_000_000_000));
        let config = Config { cache_bytes };
        let tree = open(&volume, &clock, config).await;
        let mut model = State::new(Timestamp(1_000_000_000));
        // So that everybody can do something.
        let set = SetAttributes { mode: Some(0o777), ..SetAttributes::default() };
        tree.set_attributes(&root(), Ino::ROOT, set.clone()).await.unwrap();
        model.set_attributes(&root().caller, Ino::ROOT, &set, Timestamp(1_000_000_000)).unwrap();
        volume.durable(volume.position()).await.unwrap();
        Self { volume, clock, tree, config, since_sync: vec![model.clone()], model }
    }

    /// An inode to work on: one that is there, and sometimes one that is not.
    fn pick(&self, index: &Index) -> Ino {
        let directories = self.model.nodes.iter().filter(|(_, node)| node.kind == Kind::Directory);
        let mut inos: Vec<Ino> = directories.map(|(ino, _)| *ino).collect();
        // Directories are worth three times as much.
        inos.extend(inos.clone());
        inos.extend(self.model.nodes.keys());
        if index.index(32) == 0 { Ino(7) } else { *index.get(&inos) }
    }

    /// A name to work on: mostly one that is there.
    fn place(&self, index: &Index, name: usize) -> (Ino, &'static str) {
        let places: Vec<(Ino, &'static str)> = self.model.places();
        if name == 0 || places.is_empty() { (self.pick(index), NAMES[name]) } else { *index.get(&places) }
    }

    async fn apply(&mut self, call: &Call, op: &Op) {
        self.clock.advance(Duration::from_secs(1));
        let now = self.tree.now();
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let tree = self.tree.clone();
        match op {
            Op::Create { at, name: index, kind, mode } => {
                let parent = self.pick(at);
                let made = tree.create(call, parent, &name(NAMES[*index]), new(*kind, *mode), &|_, _| {}).await;
                let ino = made.as_ref().map_or(Ino(0), |(inode, _)| inode.ino);
                let expected = self.model.create(&call.caller, parent, NAMES[*index], (*kind, *mode), ino, now);
                self.same(op, made.map(|(inode, _)| inode), expected);
            }
            Op::Link { of, at, name: index } => {
                let others: Vec<Ino> = self.model.nodes.keys().copied().filter(|ino| *ino != Ino::ROOT).collect();
                let ino = if others.is_empty() { Ino::ROOT } else { *of.get(&others) };
                let parent = self.pick(at);
                let linked = tree.link(call, ino, parent, &name(NAMES[*index])).await;
                let expected = self.model.link(&call.caller, ino, parent, NAMES[*index], now);
                self.same(op, linked.map(|(inode, _)| inode), expected.map(|()| ino));
            }
            Op::Unlink { at, name: index } => {
                let (parent, text) = self.place(at, *index);
                let done = tree.unlink(call, parent, &name(text)).await;
                let expected = self.model.remove(&call.caller, parent, text, false, now);
                assert_eq!(outcome(&done), expected, "{op:?} by {}", call.caller.uid);
            }
            Op::RemoveDirectory { at, name: index } => {
                let (parent, text) = self.place(at, *index);
                let done = tree.remove_directory(call, parent, &name(text)).await;
                let expected = self.model.remove(&call.caller, parent, text, true, now);
                assert_eq!(outcome(&done), expected, "{op:?} by {}", call.caller.uid);
            }
            Op::Rename { from, from_name, to, to_name, how } => {
                let (from, source) = self.place(from, *from_name);
                let (to, target) = match to_name {
                    0 | 1 => self.place(to, *to_name),
                    _ => (self.pick(to), NAMES[*to_name]),
                };
                let done = tree.rename(call, (from, &name(source)), (to, &name(target)), *how).await;
                let whiteout = match (&done, how) {
                    (Ok(_), Rename::Whiteout | Rename::WhiteoutNoReplace) => {
                        tree.lookup(&root(), from, &name(source)).await.ok().map(|inode| inode.ino)
                    }
                    _ => None,
                };
                let (from, to) = ((from, source), (to, target));
                let expected = self.model.rename(&call.caller, from, to, *how, whiteout, now);
                assert_eq!(outcome(&done), expected, "{op:?} by {}: {from:?} to {to:?}", call.caller.uid);
            }
            Op::SetAttributes { of, set } => {
                let ino = self.pick(of);
                let done = tree.set_attributes(call, ino, set.clone()).await;
                let expected = self.model.set_attributes(&call.caller, ino, set, now);
                self.same(op, done.map(|(inode, _)| inode), expected.map(|()| ino));
            }
            Op::SetAttribute { of, attribute, create } => {
                let (ino, attribute) = (self.pick(of), ATTRIBUTES[*attribute]);
                let done = tree.set_attribute(call, ino, attribute, b"value", *create).await;
                let expected = self.model.set_attribute(&call.caller, ino, attribute, *create, now);
                assert_eq!(outcome(&done), expected, "{op:?} by {}", call.caller.uid);
            }
            Op::RemoveAttribute { of, attribute } => {
                let (ino, attribute) = (self.pick(of), ATTRIBUTES[*attribute]);
                let done = tree.remove_attribute(call, ino, attribute).await;
                let expected = self.model.remove_attribute(&call.caller, ino, attribute, now);
                assert_eq!(outcome(&done), expected, "{op:?} by {}", call.caller.uid);
            }
            Op::Update { of, size } => {
                let ino = self.pick(of);
                // The size of a directory is the tree's own.
                if self.model.nodes.get(&ino).is_none_or(|node| node.kind == Kind::Directory) {
                    return;
                }
                let mut resize = |inode: &mut Inode, _: &mut ballast_store::Batch| {
                    inode.size = *size;
                    Ok(())
                };
                tree.update(ino, &mut resize).await.unwrap();
                self.model.nodes.get_mut(&ino).unwrap().size = *size;
            }
            Op::Look { at, name: index } => {
                let (parent, text) = self.place(at, *index);
                let found = tree.lookup(call, parent, &name(text)).await;
                let expected = self.model.lookup(&call.caller, parent, text);
                self.same(op, found, expected);
            }
            Op::List { at } => {
                let ino = self.pick(at);
                let listed = tree.list(call, ino).await;
                let names = listed.map(|entries| entries.iter().map(|entry| entry.name.to_string()).collect());
                let expected = self.model.list(&call.caller, ino);
                assert_eq!(names.map_err(|error: Error| errno(&error)), expected, "{op:?}");
            }
            Op::Sync => {
                self.volume.durable(self.volume.position()).await.unwrap();
                self.since_sync.clear();
            }
            Op::Crash => self.crash().await,
            Op::Reap => {
                tree.reap().await.unwrap();
            }
        }
        self.since_sync.push(self.model.clone());
    }

    /// Both fail alike, or the inode is as the model says.
    fn same(&self, op: &Op, real: ballast_tree::Result<Inode>, expected: Result<Ino, &'static str>) {
        let real = real.map_err(|error| errno(&error));
        match (real, expected) {
            (Ok(inode), Ok(ino)) => assert_eq!(described(&inode), self.model.describe(ino), "{op:?}"),
            (real, expected) => assert_eq!(real.map(|inode| inode.ino), expected, "{op:?}"),
        }
    }

    async fn crash(&mut self) {
        self.volume = self.volume.crash();
        self.tree = open(&self.volume, &self.clock, self.config).await;
        let left = dump(&self.tree).await;
        let found = self.since_sync.iter().rev().find(|state| state.dump() == left);
        self.model = found.unwrap_or_else(|| panic!("a crash left what never was: {left:#?}")).clone();
        self.since_sync = vec![self.model.clone()];
    }

    async fn finish(&self) {
        assert_eq!(dump(&self.tree).await, self.model.dump(), "the tree and the model differ");
        let report = check(&self.volume, &mut || {}).await.unwrap();
        assert_eq!(report.findings, Vec::<String>::new());
        // What is stored is what the caches show.
        let cold = open(&self.volume, &self.clock, self.config).await;
        assert_eq!(dump(&cold).await, self.model.dump(), "the rows and the model differ");
        cold.reap().await.unwrap();
        let report = check(&self.volume, &mut || {}).await.unwrap();
        assert_eq!((report.findings, report.orphans), (Vec::new(), 0));
    }
}

async fn open(volume: &MemoryVolume, clock: &ManualClock, config: Config) -> Tree {
    let clock = Arc::new(clock.clone());
    let tree = Tree::open_with(Arc::new(volume.clone()), clock, (0, 0), config).await.unwrap();
    tree.register(Arc::new(Purged::default()));
    tree
}

fn outcome<T>(done: &ballast_tree::Result<T>) -> Result<(), &'static str> {
    done.as_ref().map(drop).map_err(errno)
}

/// All that a stat shows.
fn described(inode: &Inode) -> Node {
    Node {
        kind: inode.kind,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        links: inode.links,
        size: inode.size,
        times: [inode.atime, inode.mtime, inode.ctime, inode.btime],
        ..Node::default()
    }
}

/// Everything that is below the root, by path.
async fn dump(tree: &Tree) -> BTreeMap<String, (Ino, Node)> {
    let mut all = BTreeMap::new();
    let mut left = vec![(String::new(), Ino::ROOT)];
    while let Some((path, ino)) = left.pop() {
        let inode = tree.inode(ino).await.unwrap();
        let mut node = described(&inode);
        for name in tree.attributes(&root(), ino).await.unwrap() {
            node.attributes.insert(name.to_vec(), tree.attribute(&root(), ino, &name).await.unwrap().to_vec());
        }
        if inode.kind == Kind::Directory {
            let inodes = tree.list_inodes(&root(), ino, None, usize::MAX).await.unwrap();
            left.extend(inodes.iter().map(|(entry, inode)| (format!("{path}/{}", entry.name), inode.ino)));
        }
        if inode.links == 1 || inode.kind.looks_like_directory() {
            let said = tree.path_of(ino).await.unwrap().to_string();
            assert_eq!(said, if path.is_empty() { "/" } else { &path }, "the path of {ino}");
        }
        all.insert(path, (ino, node));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_does_what_a_naive_tree_does(
        ops in proptest::collection::vec((0usize..4, any_op()), 1..120),
        cache_bytes in prop_oneof![Just(0usize), Just(4 << 10), Just(1 << 20)],
    ) {
        promise("A crash loses the last changes that nobody waited for, and none before a change that somebody waited for.");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new(cache_bytes).await;
            for (caller, op) in &ops {
                pair.apply(&callers()[*caller], op).await;
            }
            pair.finish().await;
        });
    }
}
