//! The naive tree: maps, no caches, no locks; what can be counted is counted each time.

use ballast_tree::{Rename, SetAttributes, SetTime};
use ballast_types::{Caller, Ino, Kind, Timestamp};
use std::collections::BTreeMap;

type Answer<T = ()> = Result<T, &'static str>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub size: u64,
    /// atime, mtime, ctime, btime
    pub times: [Timestamp; 4],
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    pub entries: BTreeMap<&'static str, Ino>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            links: 0,
            size: 0,
            times: [Timestamp(0); 4],
            attributes: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct State {
    pub nodes: BTreeMap<Ino, Node>,
}

const WRITE: u32 = 2;
const SEARCH: u32 = 1;
const READ: u32 = 4;

fn may(node: &Node, caller: &Caller, bits: u32) -> bool {
    let class = match () {
        _ if caller.uid == 0 => return true,
        _ if caller.uid == node.uid => 6,
        _ if caller.gid == node.gid || caller.groups.contains(&node.gid) => 3,
        _ => 0,
    };
    (node.mode >> class) & bits == bits
}

fn need(node: &Node, caller: &Caller, bits: u32) -> Answer {
    if may(node, caller, bits) { Ok(()) } else { Err("EACCES") }
}

fn like_directory(kind: Kind) -> bool {
    [Kind::Directory, Kind::Stream, Kind::Table].contains(&kind)
}

impl State {
    pub fn new(now: Timestamp) -> Self {
        let root = Node { times: [now; 4], ..Node::default() };
        Self { nodes: BTreeMap::from([(Ino::ROOT, root)]) }
    }

    fn node(&self, ino: Ino) -> Answer<&Node> {
        self.nodes.get(&ino).ok_or("ESTALE")
    }

    fn directory(&self, ino: Ino, caller: &Caller, bits: u32) -> Answer<&Node> {
        let node = self.node(ino)?;
        if node.kind != Kind::Directory {
            return Err("ENOTDIR");
        }
        need(node, caller, bits)?;
        Ok(node)
    }

    /// All places where an inode has a name.
    fn names(&self, ino: Ino) -> usize {
        self.nodes.values().flat_map(|node| node.entries.values()).filter(|child| **child == ino).count()
    }

    /// All names that there are.
    pub fn places(&self) -> Vec<(Ino, &'static str)> {
        let entries = self.nodes.iter().flat_map(|(ino, node)| node.entries.keys().map(|name| (*ino, *name)));
        entries.collect()
    }

    /// As a stat shows it: links and sizes are counted.
    pub fn describe(&self, ino: Ino) -> Node {
        let node = self.nodes[&ino].clone();
        let below = node.entries.values().filter(|child| like_directory(self.nodes[child].kind)).count();
        let links = if like_directory(node.kind) { 2 + below } else { self.names(ino) };
        let size = if node.kind == Kind::Directory { node.entries.len() as u64 } else { node.size };
        let (entries, attributes) = Default::default();
        Node { links: links as u32, size, entries, attributes, ..node }
    }

    pub fn dump(&self) -> BTreeMap<String, (Ino, Node)> {
        let mut all = BTreeMap::new();
        let mut left = vec![(String::new(), Ino::ROOT)];
        while let Some((path, ino)) = left.pop() {
            let entries = self.nodes[&ino].entries.iter();
            left.extend(entries.map(|(name, child)| (format!("{path}/{name}"), *child)));
            let attributes = self.nodes[&ino].attributes.clone();
            all.insert(path, (ino, Node { attributes, ..self.describe(ino) }));
        }
        all
    }

    /// The directory changed.
    fn changed(&mut self, ino: Ino, now: Timestamp) {
        let node = self.nodes.get_mut(&ino).unwrap();
        (node.times[1], node.times[2]) = (now, now);
    }

    fn renamed(&mut self, ino: Ino, now: Timestamp) {
        self.nodes.get_mut(&ino).unwrap().times[2] = now;
    }

    fn drop_if_nameless(&mut self, ino: Ino) {
        if self.names(ino) == 0 {
            self.nodes.remove(&ino);
        }
    }

    pub fn create(
        &mut self,
        caller: &Caller,
        parent: Ino,
        name: &'static str,
        (kind, mode): (Kind, u32),
        ino: Ino,
        now: Timestamp,
    ) -> Answer<Ino> {
        if kind == Kind::BlockDevice && caller.uid != 0 {
            return Err("EPERM");
        }
        let directory = self.directory(parent, caller, SEARCH)?;
        if directory.entries.contains_key(name) {
            return Err("EEXIST");
        }
        need(directory, caller, WRITE)?;
        self.insert(caller, parent, name, (kind, mode), ino, now);
        Ok(ino)
    }

    fn insert(
        &mut self,
        caller: &Caller,
        parent: Ino,
        name: &'static str,
        (kind, mut mode): (Kind, u32),
        ino: Ino,
        now: Timestamp,
    ) {
        let directory = self.nodes.get_mut(&parent).unwrap();
        let mut gid = caller.gid;
        if directory.mode & 0o2000 != 0 {
            gid = directory.gid;
            let member = caller.uid == 0 || caller.gid == gid || caller.groups.contains(&gid);
            if kind == Kind::Directory {
                mode |= 0o2000;
            } else if mode & 0o2010 == 0o2010 && !member {
                mode &= !0o2000;
            }
        }
        directory.entries.insert(name, ino);
        let node = Node { kind, mode, uid: caller.uid, gid, times: [now; 4], ..Node::default() };
        self.nodes.insert(ino, node);
        self.changed(parent, now);
    }

    pub fn link(&mut self, caller: &Caller, ino: Ino, parent: Ino, name: &'static str, now: Timestamp) -> Answer {
        let directory = self.directory(parent, caller, SEARCH)?;
        if directory.entries.contains_key(name) {
            return Err("EEXIST");
        }
        need(directory, caller, WRITE)?;
        if like_directory(self.node(ino)?.kind) {
            return Err("EPERM");
        }
        self.nodes.get_mut(&parent).unwrap().entries.insert(name, ino);
        self.changed(parent, now);
        self.renamed(ino, now);
        Ok(())
    }

    /// The right to take a name out of a directory.
    fn may_take(&self, caller: &Caller, parent: Ino, child: Ino) -> Answer {
        let directory = &self.nodes[&parent];
        need(directory, caller, WRITE | SEARCH)?;
        let owns = [0, directory.uid, self.nodes[&child].uid].contains(&caller.uid);
        if directory.mode & 0o1000 != 0 && !owns { Err("EPERM") } else { Ok(()) }
    }

    pub fn remove(&mut self, caller: &Caller, parent: Ino, name: &str, rmdir: bool, now: Timestamp) -> Answer {
        let child = self.lookup(caller, parent, name)?;
        self.may_take(caller, parent, child)?;
        let node = &self.nodes[&child];
        match (rmdir, node.kind) {
            (false, kind) if like_directory(kind) => return Err("EISDIR"),
            (true, kind) if !like_directory(kind) => return Err("ENOTDIR"),
            (true, Kind::Directory) if !node.entries.is_empty() => return Err("ENOTEMPTY"),
            (true, Kind::Stream | Kind::Table) if ![0, node.uid].contains(&caller.uid) => return Err("EPERM"),
            _ => {}
        }
        self.nodes.get_mut(&parent).unwrap().entries.remove(name);
        self.changed(parent, now);
        self.renamed(child, now);
        self.drop_if_nameless(child);
        Ok(())
    }

    fn is_below(&self, mut ino: Ino, above: Ino) -> bool {
        while ino != above {
            match self.nodes.iter().find(|(_, node)| node.entries.values().any(|child| *child == ino)) {
                Some((parent, _)) => ino = *parent,
                None => return false,
            }
        }
        true
    }

    pub fn rename(
        &mut self,
        caller: &Caller,
        (from, from_name): (Ino, &'static str),
        (to, to_name): (Ino, &'static str),
        how: Rename,
        whiteout: Option<Ino>,
        now: Timestamp,
    ) -> Answer {
        for parent in [from, to] {
            if self.node(parent)?.kind != Kind::Directory {
                return Err("ENOTDIR");
            }
        }
        let source = self.nodes[&from].entries.get(from_name).copied();
        let target = self.nodes[&to].entries.get(to_name).copied();
        let is_directory = |ino: Ino| self.nodes[&ino].kind == Kind::Directory;
        let exchanged = target.filter(|_| how == Rename::Exchange);
        for (moved, below) in [(source, to), (exchanged, from)] {
            if from != to && moved.is_some_and(|moved| is_directory(moved) && self.is_below(below, moved)) {
                return Err("EINVAL");
            }
        }
        need(&self.nodes[&from], caller, SEARCH)?;
        need(&self.nodes[&to], caller, SEARCH)?;
        let source = source.ok_or("ENOENT")?;
        match (how, target) {
            (Rename::NoReplace | Rename::WhiteoutNoReplace, Some(_)) => return Err("EEXIST"),
            (Rename::Exchange, None) => return Err("ENOENT"),
            (_, Some(target)) if target == source => return Ok(()),
            _ => {}
        }
        self.may_take(caller, from, source)?;
        match target {
            Some(target) => self.may_take(caller, to, target)?,
            None => need(&self.nodes[&to], caller, WRITE)?,
        }
        for moved in [Some(source), exchanged].into_iter().flatten() {
            if is_directory(moved) && from != to {
                need(&self.nodes[&moved], caller, WRITE)?;
            }
        }
        if let (Some(target), None) = (target, exchanged) {
            let kinds = [source, target].map(|ino| self.nodes[&ino].kind);
            match kinds.map(like_directory) {
                [true, false] => return Err("ENOTDIR"),
                [false, true] => return Err("EISDIR"),
                [true, true] if kinds[1] != Kind::Directory => return Err("ENOTEMPTY"),
                [true, true] if !self.nodes[&target].entries.is_empty() => return Err("ENOTEMPTY"),
                _ => {}
            }
        }
        self.nodes.get_mut(&from).unwrap().entries.remove(from_name);
        self.nodes.get_mut(&to).unwrap().entries.insert(to_name, source);
        if let Some(target) = exchanged {
            self.nodes.get_mut(&from).unwrap().entries.insert(from_name, target);
        }
        [from, to].into_iter().for_each(|parent| self.changed(parent, now));
        self.renamed(source, now);
        if let Some(target) = target {
            self.renamed(target, now);
            self.drop_if_nameless(target);
        }
        if let Some(ino) = whiteout {
            self.insert(caller, from, from_name, (Kind::CharDevice, 0), ino, now);
        }
        Ok(())
    }

    pub fn set_attributes(&mut self, caller: &Caller, ino: Ino, set: &SetAttributes, now: Timestamp) -> Answer {
        let node = self.nodes.get_mut(&ino).ok_or("ESTALE")?;
        let owner = caller.uid == 0 || caller.uid == node.uid;
        let member = |gid: u32| caller.uid == 0 || caller.gid == gid || caller.groups.contains(&gid);
        if set.mode.is_some() && !owner {
            return Err("EPERM");
        }
        if set.uid.is_some_and(|uid| caller.uid != 0 && (!owner || uid != node.uid)) {
            return Err("EPERM");
        }
        if set.gid.is_some_and(|gid| !owner || (gid != node.gid && !member(gid))) {
            return Err("EPERM");
        }
        let times = [set.atime, set.mtime];
        if times.iter().any(|time| matches!(time, Some(SetTime::At(_)))) && !owner {
            return Err("EPERM");
        }
        if times.contains(&Some(SetTime::Now)) && !owner {
            need(node, caller, WRITE)?;
        }
        if *set == SetAttributes::default() {
            return Ok(());
        }
        if (set.uid.is_some() || set.gid.is_some()) && !like_directory(node.kind) {
            node.mode &= if node.mode & 0o010 != 0 || !member(node.gid) { !0o6000 } else { !0o4000 };
        }
        node.uid = set.uid.unwrap_or(node.uid);
        node.gid = set.gid.unwrap_or(node.gid);
        if let Some(mode) = set.mode {
            node.mode = if member(node.gid) { mode } else { mode & !0o2000 };
        }
        for (slot, time) in times.into_iter().enumerate() {
            match time {
                Some(SetTime::Now) => node.times[slot] = now,
                Some(SetTime::At(time)) => node.times[slot] = time,
                None => {}
            }
        }
        node.times[2] = now;
        Ok(())
    }

    fn may_change_attribute(&self, caller: &Caller, ino: Ino, name: &[u8]) -> Answer {
        let node = self.node(ino)?;
        match name {
            b"system.posix_acl_access" => Err("EOPNOTSUPP"),
            b"trusted.a" | b"security.a" if caller.uid != 0 => Err("EPERM"),
            b"trusted.a" | b"security.a" => Ok(()),
            _ if !like_directory(node.kind) && node.kind != Kind::File => Err("EPERM"),
            _ if node.kind == Kind::Directory && node.mode & 0o1000 != 0 && ![0, node.uid].contains(&caller.uid) => {
                Err("EPERM")
            }
            _ => need(node, caller, WRITE),
        }
    }

    pub fn set_attribute(
        &mut self,
        caller: &Caller,
        ino: Ino,
        name: &[u8],
        create: Option<bool>,
        now: Timestamp,
    ) -> Answer {
        self.may_change_attribute(caller, ino, name)?;
        let node = self.nodes.get_mut(&ino).unwrap();
        match (create, node.attributes.contains_key(name)) {
            (Some(true), true) => return Err("EEXIST"),
            (Some(false), false) => return Err("ENODATA"),
            _ => {}
        }
        node.attributes.insert(name.to_vec(), b"value".to_vec());
        node.times[2] = now;
        Ok(())
    }

    pub fn remove_attribute(&mut self, caller: &Caller, ino: Ino, name: &[u8], now: Timestamp) -> Answer {
        self.may_change_attribute(caller, ino, name)?;
        let node = self.nodes.get_mut(&ino).unwrap();
        node.attributes.remove(name).ok_or("ENODATA")?;
        node.times[2] = now;
        Ok(())
    }

    pub fn lookup(&self, caller: &Caller, parent: Ino, name: &str) -> Answer<Ino> {
        self.directory(parent, caller, SEARCH)?.entries.get(name).copied().ok_or("ENOENT")
    }

    pub fn list(&self, caller: &Caller, ino: Ino) -> Answer<Vec<String>> {
        let directory = self.directory(ino, caller, READ)?;
        Ok(directory.entries.keys().map(|name| (*name).to_owned()).collect())
    }
}
