//! The volume alone: the benches of the store, whose tables are taken as they are.

use super::Bench;
use super::page::Section;
use crate::workspace;
use anyhow::Context;

pub fn commits(bench: &Bench) -> anyhow::Result<Section> {
    let (seconds, rounds) = (bench.seconds.to_string(), bench.rounds.to_string());
    let table = cargo_bench(bench, "commits", &[&seconds, &rounds])?;
    let body = format!(
        "An operation is one commit of three rows of 100 bytes, or of one payload of 64 KiB and its row, acknowledged when \
         durable. `bare` is a loop of one write and one fdatasync for as many operations as there are writers, over and \
         over in one file; SlateDB's own WAL is flushed by whoever waits, one flush at a time. `bound` is what limits the \
         log here: for rows, the volume's own commits when nobody waits for the disk; for payload, the bare loop that \
         keeps what it writes, and goes on to files never written. At least .75 of bare for one writer, .6 of bare with \
         payload, 4 times SlateDB for 64 writers.\n\n{table}"
    );
    Ok(Section { title: "Store: durable commits", body, spread: 0.0 })
}

pub fn opens(bench: &Bench) -> anyhow::Result<Section> {
    let table = cargo_bench(bench, "opens", &[])?;
    let body = format!("From the bucket's address to the first row read, in a fresh process after a kill.\n\n{table}");
    Ok(Section { title: "Store: opening, closing, idling", body, spread: 0.0 })
}

/// The Markdown table that a bench of the store prints. It is built with the features of the whole workspace, as all tests
/// are, so that no dependency is compiled again.
fn cargo_bench(bench: &Bench, name: &str, words: &[&str]) -> anyhow::Result<String> {
    let directory = bench.place(name)?;
    let directory = directory.to_str().context("the directory's name is not text")?;
    let mut cargo = vec!["bench", "--profile", "release", "--workspace", "--bench", name, "--", directory];
    cargo.extend(words);
    let mut table = String::new();
    let status = workspace::cargo(&cargo).run_with_lines(|line| {
        println!("{line}");
        if line.starts_with('|') {
            table.push_str(line);
            table.push('\n');
        }
    })?;
    anyhow::ensure!(status.success(), "the bench {name} ended with {status}");
    anyhow::ensure!(!table.is_empty(), "the bench {name} printed no table");
    Ok(table)
}
