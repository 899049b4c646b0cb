//! Walks every row of a tree and tells what does not fit together.
//!
//! What must hold: every entry leads to an inode of its kind in a directory that is there; an inode has as many
//! links as names, a directory two more than subdirectories and as many entries as its size says; whoever has
//! one name knows it; whoever has none is an orphan; every directory hangs below the root; no number is above
//! the counter. Cost: one scan of the tree's rows, and about 100 bytes of memory for each inode.

use crate::{Entry, Inode, Result, keys, rows};
use ballast_store::{KeyRange, Read, Row};
use ballast_types::{Ino, Kind, Name};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// Findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub inodes: u64,
    pub entries: u64,
    pub attributes: u64,
    pub orphans: u64,
    /// What does not fit, one sentence each.
    pub findings: Vec<String>,
    pub findings_total: u64,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.findings_total == 0
    }

    fn find(&mut self, finding: String) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Reports an error of one row, and goes on.
    fn decoded<T>(&mut self, decoded: Result<T>) -> Option<T> {
        decoded.map_err(|error| self.find(error.to_string())).ok()
    }
}

/// What is known of one inode.
struct Seen {
    kind: Kind,
    links: u32,
    size: u64,
    attributes: u32,
    /// A hash of parent and name; the parent itself.
    parent: Option<(Ino, u64)>,
    names: u32,
    /// Its one name was found where it says.
    found: bool,
    entries: u64,
    subdirectories: u32,
    links_found: u32,
    attributes_found: u32,
    orphan: bool,
}

fn place(parent: Ino, name: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    (parent, name).hash(&mut hasher);
    hasher.finish()
}

impl Seen {
    fn of(inode: &Inode) -> Self {
        Self {
            kind: inode.kind,
            links: inode.links,
            size: inode.size,
            attributes: inode.attributes,
            parent: inode.parent.as_ref().map(|(parent, name)| (*parent, place(*parent, name))),
            names: 0,
            found: false,
            entries: 0,
            subdirectories: 0,
            links_found: 0,
            attributes_found: 0,
            orphan: false,
        }
    }
}

type Inodes = HashMap<Ino, Seen>;

/// Checks all rows of the tree in one cut. `progress` is told of every row.
pub async fn check(reader: &dyn Read, progress: &mut (dyn FnMut() + Send)) -> Result<Report> {
    let mut report = Report::default();
    let inodes = read_inodes(reader, &mut report, progress).await?;
    let mut checker = Checker { report, inodes, progress };
    checker.entries(reader).await?;
    checker.links(reader).await?;
    checker.attributes(reader).await?;
    checker.orphans(reader).await?;
    checker.counter(reader).await?;
    checker.each_inode();
    checker.reachability();
    Ok(checker.report)
}

async fn read_inodes(reader: &dyn Read, report: &mut Report, progress: &mut (dyn FnMut() + Send)) -> Result<Inodes> {
    let mut inodes = Inodes::new();
    rows::each(reader, keys::inode::all(), |Row { key, value }| {
        progress();
        if let Some(inode) = report.decoded(keys::inode::decode(&key, value.bytes)) {
            report.inodes += 1;
            inodes.insert(inode.ino, Seen::of(&inode));
        }
        Ok(())
    })
    .await?;
    Ok(inodes)
}

struct Checker<'p> {
    report: Report,
    inodes: Inodes,
    progress: &'p mut (dyn FnMut() + Send),
}

impl Checker<'_> {
    async fn each(
        &mut self,
        reader: &dyn Read,
        range: KeyRange,
        mut visit: impl FnMut(&mut Self, Row) + Send,
    ) -> Result<()> {
        rows::each(reader, range, |row| {
            (self.progress)();
            visit(self, row);
            Ok(())
        })
        .await
    }

    async fn entries(&mut self, reader: &dyn Read) -> Result<()> {
        self.each(reader, keys::entry::all(), |this, Row { key, value }| {
            let Some((parent, entry)) = this.report.decoded(keys::entry::decode(&key, value.bytes)) else { return };
            this.report.entries += 1;
            this.entry(parent, &entry);
        })
        .await
    }

    fn entry(&mut self, parent: Ino, Entry { name, ino, kind }: &Entry) {
        match self.inodes.get_mut(&parent) {
            Some(directory) if directory.kind == Kind::Directory => {
                directory.entries += 1;
                directory.subdirectories += u32::from(kind.looks_like_directory());
            }
            Some(other) => {
                let finding = format!("the entry {name} lies in inode {parent}, which is a {}", other.kind);
                self.report.find(finding);
            }
            None => self.report.find(format!("the entry {name} lies in inode {parent}, which is not there")),
        }
        match self.inodes.get_mut(ino) {
            Some(inode) => {
                inode.names += 1;
                inode.found |= inode.parent.is_some_and(|(_, said)| said == place(parent, name));
                if inode.kind != *kind {
                    let finding = format!("the entry {name} of {parent} says {kind}, inode {ino} is a {}", inode.kind);
                    self.report.find(finding);
                }
            }
            None => self.report.find(format!("the entry {name} of directory {parent} leads to no inode {ino}")),
        }
    }

    async fn links(&mut self, reader: &dyn Read) -> Result<()> {
        let mut links = Vec::new();
        self.each(reader, keys::link::all(), |this, Row { key, value }| {
            links.extend(this.report.decoded(keys::link::decode(&key, &value.bytes)));
        })
        .await?;
        for (ino, parent, name) in links {
            if let Some(inode) = self.inodes.get_mut(&ino) {
                inode.links_found += 1;
            }
            let entry = rows::entry(reader, parent, &name).await?;
            if entry.is_none_or(|entry| entry.ino != ino) {
                self.report.find(format!("inode {ino} has no name {name} in {parent}, as a link says"));
            }
        }
        Ok(())
    }

    async fn attributes(&mut self, reader: &dyn Read) -> Result<()> {
        self.each(reader, keys::attribute::all(), |this, Row { key, value }| {
            let Some((ino, name)) = this.report.decoded(keys::attribute::decode_key(&key)) else { return };
            this.report.attributes += 1;
            this.report.decoded(keys::attribute::decode(&key, value.bytes));
            match this.inodes.get_mut(&ino) {
                Some(inode) => inode.attributes_found += 1,
                None => this.report.find(format!("the attribute {} has no inode {ino}", name.escape_ascii())),
            }
        })
        .await
    }

    async fn orphans(&mut self, reader: &dyn Read) -> Result<()> {
        self.each(reader, keys::orphan::all(), |this, Row { key, value }| {
            let Some((ino, kind)) = this.report.decoded(keys::orphan::decode(&key, &value.bytes)) else { return };
            this.report.orphans += 1;
            match this.inodes.get_mut(&ino) {
                Some(inode) if inode.kind == kind => inode.orphan = true,
                _ => this.report.find(format!("the orphan {ino} is no inode of kind {kind}")),
            }
        })
        .await
    }

    async fn counter(&mut self, reader: &dyn Read) -> Result<()> {
        let stored = reader.get(&keys::counter::key()).await?;
        let next = stored.and_then(|value| self.report.decoded(keys::counter::decode(value.bytes)));
        let last = self.inodes.keys().copied().filter(|ino| *ino != Ino::ROOT).max();
        if let Some(last) = last.filter(|last| next.is_none_or(|next| last.0 >= next)) {
            self.report.find(format!("inode {last} is not below the counter of numbers {next:?}"));
        }
        Ok(())
    }

    fn each_inode(&mut self) {
        let report = &mut self.report;
        for (ino, seen) in &self.inodes {
            let directory_like = seen.kind.looks_like_directory();
            let names = seen.names + u32::from(*ino == Ino::ROOT);
            let links = if directory_like && names > 0 { 2 + seen.subdirectories } else { seen.names };
            if seen.links != links {
                report.find(format!("inode {ino} ({}) has {} links and should have {links}", seen.kind, seen.links));
            }
            if directory_like && names > 1 {
                report.find(format!("inode {ino} ({}) has {names} names", seen.kind));
            }
            if seen.kind == Kind::Directory && seen.size != seen.entries {
                report.find(format!("directory {ino} has {} entries and should have {}", seen.entries, seen.size));
            }
            if seen.attributes != seen.attributes_found {
                let (found, said) = (seen.attributes_found, seen.attributes);
                report.find(format!("inode {ino} has {found} attributes and should have {said}"));
            }
            if seen.orphan != (names == 0) {
                let found = if seen.orphan { "is an orphan with a name" } else { "has no name and is no orphan" };
                report.find(format!("inode {ino} ({}) {found}", seen.kind));
            }
            if (seen.names == 1) != seen.found || (seen.names == 1) != seen.parent.is_some() {
                report.find(format!("inode {ino} ({}) with {} names has a wrong parent", seen.kind, seen.names));
            }
            if seen.links_found != if seen.names > 1 { seen.names } else { 0 } {
                report.find(format!("inode {ino} has {} names and {} links", seen.names, seen.links_found));
            }
        }
    }

    /// Every directory with a name must hang below the root: what else has a name hangs below a directory.
    fn reachability(&mut self) {
        if self.inodes.get(&Ino::ROOT).is_none_or(|root| root.kind != Kind::Directory) {
            self.report.find("there is no root directory".into());
        }
        // What leads to the root, and what is known not to.
        let mut known: HashMap<Ino, bool> = HashMap::from([(Ino::ROOT, true)]);
        for (start, _) in self.inodes.iter().filter(|(_, seen)| seen.kind == Kind::Directory && seen.names > 0) {
            let mut way = Vec::new();
            let mut at = *start;
            let reaches = loop {
                if let Some(reaches) = known.get(&at) {
                    break *reaches;
                }
                // Until it is known better; a circle comes back here.
                known.insert(at, false);
                way.push(at);
                match self.inodes.get(&at).and_then(|seen| seen.parent) {
                    Some((parent, _)) => at = parent,
                    None => break false,
                }
            };
            for ino in way {
                known.insert(ino, reaches);
                if !reaches {
                    self.report.find(format!("directory {ino} does not hang below the root"));
                }
            }
        }
    }
}
