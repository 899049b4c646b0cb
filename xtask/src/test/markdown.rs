//! The commands in a Markdown document, and whether what they print is what the document says.
//!
//! * A block `sh` is a script; it must leave with 0.
//! * A block `console` is a session: lines that start with `$ ` are commands, what follows is what they print.
//!   A line `...` stands for any lines, and `[..]` for anything within a line. A command that must fail says so
//!   by what it prints; its exit status is not judged.
//! * A comment before a block changes that: `<!-- test: skip, REASON -->` leaves it out, and
//!   `<!-- test: serve -->` says that it starts a server, `<!-- test: restart -->` that it kills and starts it:
//!   both are done in the runner's own way.

use anyhow::{bail, ensure};

/// One block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins in the document, counted from 1.
    pub line: usize,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Script(String),
    Session(Vec<Exchange>),
    /// Starts a server: its commands are not run.
    Serve(String),
    /// Kills the server and starts it again.
    Restart,
    Skipped(String),
}

/// A command and what it prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    pub command: String,
    pub expected: Vec<String>,
}

/// The blocks of a document.
pub fn blocks(text: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut note: Option<String> = None;
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(said) = line.trim().strip_prefix("<!-- test: ").and_then(|rest| rest.strip_suffix(" -->")) {
            note = Some(said.to_owned());
            continue;
        }
        let Some(language) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                note = None;
            }
            continue;
        };
        let mut content = Vec::new();
        loop {
            match lines.next() {
                Some((_, line)) if line.trim_end() == "```" => break,
                Some((_, line)) => content.push(line),
                None => bail!("the block of line {} has no end", index + 1),
            }
        }
        if let Some(body) = body(language.trim(), note.take().as_deref(), &content)? {
            blocks.push(Block { line: index + 1, body });
        }
    }
    Ok(blocks)
}

fn body(language: &str, note: Option<&str>, content: &[&str]) -> anyhow::Result<Option<Body>> {
    if !matches!(language, "sh" | "console") {
        return Ok(None);
    }
    Ok(Some(match note {
        Some("serve") => Body::Serve(content.join("\n")),
        Some("restart") => Body::Restart,
        Some(note) => {
            let reason = note.strip_prefix("skip, ");
            ensure!(
                reason.is_some_and(|reason| !reason.is_empty()),
                "{note:?} is neither serve, restart nor skip with a reason"
            );
            Body::Skipped(reason.unwrap_or_default().to_owned())
        }
        None if language == "sh" => Body::Script(content.join("\n")),
        None => Body::Session(session(content)?),
    }))
}

fn session(content: &[&str]) -> anyhow::Result<Vec<Exchange>> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in content {
        match (line.strip_prefix("$ "), exchanges.last_mut()) {
            (Some(command), _) => {
                exchanges.push(Exchange { command: command.to_owned(), expected: Vec::new() });
            }
            // A command goes on behind a backslash.
            (None, Some(last)) if last.command.ends_with('\\') && last.expected.is_empty() => {
                last.command.push('\n');
                last.command.push_str(line);
            }
            (None, Some(last)) => last.expected.push((*line).to_owned()),
            (None, None) => bail!("a session begins with a command, not with {line:?}"),
        }
    }
    Ok(exchanges)
}

/// Whether `printed` is what `expected` describes.
pub fn matches(expected: &[String], printed: &[&str]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        Some((first, rest)) => match printed.split_first() {
            Some((line, more)) => matches_line(first.trim_end(), line.trim_end()) && matches(rest, more),
            None => false,
        },
    }
}

/// Whether a line is its description, in which `[..]` stands for anything.
fn matches_line(expected: &str, line: &str) -> bool {
    let Some((before, after)) = expected.split_once("[..]") else {
        return expected == line;
    };
    let Some(rest) = line.strip_prefix(before) else { return false };
    (0..=rest.len()).filter(|cut| rest.is_char_boundary(*cut)).any(|cut| matches_line(after, &rest[cut..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_notes() {
        let text = "# Title\n\n```sh\necho 1\necho 2\n```\n\n<!-- test: skip, it takes an hour -->\n```sh\nmake\n```\n\n\
                    ```toml\n[a]\n```\n<!-- test: serve -->\n\n```sh\nballast up\n```\n";
        let blocks = blocks(text).unwrap();
        let bodies: Vec<Body> = blocks.into_iter().map(|block| block.body).collect();
        let expected = [
            Body::Script("echo 1\necho 2".to_owned()),
            Body::Skipped("it takes an hour".to_owned()),
            Body::Serve("ballast up".to_owned()),
        ];
        assert_eq!(bodies, expected);
    }

    #[test]
    fn a_session_is_commands_with_what_they_print() {
        let exchanges = session(&["$ echo a \\", "  b", "a b", "$ true"]).unwrap();
        assert_eq!(exchanges[0].command, "echo a \\\n  b");
        assert_eq!(exchanges[0].expected, ["a b"]);
        assert!(exchanges[1].expected.is_empty());
        assert!(session(&["no command"]).is_err());
    }

    #[test]
    fn wildcards_stand_for_anything_and_nothing_else_does() {
        let is = |expected: &[&str], printed: &[&str]| {
            matches(&expected.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), printed)
        };
        assert!(is(&["a", "...", "z"], &["a", "b", "c", "z"]));
        assert!(is(&["a", "...", "z"], &["a", "z"]));
        assert!(!is(&["a", "...", "z"], &["a", "z", "y"]));
        assert!(is(&["took [..] s, ok"], &["took 0.3 s, ok"]));
        assert!(!is(&["took [..] s, ok"], &["took 0.3 s, failed"]));
        assert!(!is(&[], &["more"]));
    }

    #[test]
    fn a_skip_needs_a_reason() {
        assert!(blocks("<!-- test: skip, -->\n```sh\nmake\n```\n").is_err());
        assert!(blocks("<!-- test: whatever -->\n```sh\nmake\n```\n").is_err());
    }
}
