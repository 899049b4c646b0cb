//! docs/benchmarks.md: a section for each part, replaced when that part is measured again.

use super::machine;
use std::path::{Path, PathBuf};

/// With this many tasks of others, or this spread of the rounds, a ratio is not to be believed.
const OTHERS_MAX: f64 = 1.0;
const SPREAD_MAX: f64 = 0.2;

/// How busy the machine was with other things.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// The load of the last minute, the bench itself included.
    pub load: f64,
    /// Tasks of others at once, over one second without the bench.
    pub others: f64,
}

impl Busy {
    pub fn now() -> Self {
        Self { load: machine::load(), others: machine::others() }
    }
}

const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench`, which measures Ballast and its peers in turns on one machine; each part states its own \
command, machine and load. A figure is the median of the rounds; in parentheses, how far the farthest round lies from it. \
The last column is the ratio that the project set itself. Absolute figures are of that machine: compare the ratios. A \
server that is compared stays up while the other is measured; what it costs idle is stated.
";

/// What a part has measured.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    /// Markdown: tables and remarks.
    pub body: String,
    /// The largest spread of the rates that are compared.
    pub spread: f64,
}

/// The section as it stands in the page, from its title on.
pub fn text(section: &Section, command: &str, machine: &str, before: Busy, after: Busy) -> String {
    let mut text = format!(
        "{}\n\n`{command}` on {}: {machine}. Load {:.1} before and {:.1} after; tasks of others at once: {:.1} and {:.1}.\n\n{}\n",
        section.title,
        machine::today(),
        before.load,
        after.load,
        before.others,
        after.others,
        section.body.trim_end()
    );
    let mut doubts = Vec::new();
    let others = before.others.max(after.others);
    if others > OTHERS_MAX {
        doubts.push(format!("{others:.1} tasks of others at once (believable up to {OTHERS_MAX:.0})"));
    }
    if section.spread > SPREAD_MAX {
        let (spread, max) = (section.spread * 100.0, SPREAD_MAX * 100.0);
        doubts.push(format!("rounds that lie {spread:.0} % apart (believable up to {max:.0} %)"));
    }
    if !doubts.is_empty() {
        text.push_str(&format!("\n**Do not quote these figures**: {}.\n", doubts.join("; ")));
    }
    text
}

/// The page, by part.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    sections: Vec<(String, String)>,
}

impl Page {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        Ok(Self { path: path.to_owned(), sections: sections(&text) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `text` starts with the title.
    pub fn replace(&mut self, part: &str, text: &str) {
        match self.sections.iter_mut().find(|(name, _)| name == part) {
            Some((_, old)) => text.clone_into(old),
            None => self.sections.push((part.to_owned(), text.to_owned())),
        }
        self.sections.sort_by_key(|(name, _)| super::PARTS.iter().position(|(part, _)| part == name));
    }

    pub fn write(&self) -> anyhow::Result<()> {
        let mut text = HEAD.to_owned();
        for (part, section) in &self.sections {
            text.push_str(&format!("\n<!-- {part} -->\n## {}\n", section.trim_end()));
        }
        Ok(std::fs::write(&self.path, text)?)
    }
}

/// Parts and their texts, of a page that was written before.
fn sections(text: &str) -> Vec<(String, String)> {
    let pieces = text.split("\n<!-- ").skip(1);
    let section = |piece: &str| {
        let (part, text) = piece.split_once(" -->\n## ")?;
        Some((part.to_owned(), text.to_owned()))
    };
    pieces.filter_map(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_replaces_its_own_section_and_keeps_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("benchmarks.md");
        let mut page = Page::read(&path).unwrap();
        page.replace("tables", "Tables\n\nold\n");
        page.replace("files", "Files\n\nkept\n");
        page.write().unwrap();
        let mut page = Page::read(&path).unwrap();
        page.replace("tables", "Tables\n\nnew\n");
        page.write().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let sections = text.strip_prefix(HEAD).unwrap();
        assert_eq!(sections, "\n<!-- files -->\n## Files\n\nkept\n\n<!-- tables -->\n## Tables\n\nnew\n");
    }

    #[test]
    fn a_busy_machine_and_scattered_rounds_are_warned_of() {
        let section = |spread| Section { title: "Files", body: "| |".into(), spread };
        let busy = |others| Busy { load: 9.0, others };
        assert!(!text(&section(0.1), "c", "m", busy(0.0), busy(0.9)).contains("Do not quote"));
        assert!(text(&section(0.1), "c", "m", busy(0.0), busy(1.1)).contains("1.1 tasks of others"));
        assert!(text(&section(0.3), "c", "m", busy(0.0), busy(0.0)).contains("rounds that lie 30 % apart"));
    }
}
