//! What the command says of itself.

use crate::{ballast, text};

#[test]
fn the_reference_pages_are_what_the_command_says() {
    for name in ["cli", "metrics"] {
        let page = format!("../../docs/reference/{name}.md");
        let written = std::fs::read_to_string(page).unwrap();
        let generated = text(&ballast(&["reference", name]).stdout);
        assert!(written == generated, "docs/reference/{name}.md is stale: run cargo xtask docs");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let output = ballast(&["completions", shell]);
        assert!(output.status.success() && text(&output.stdout).contains("snapshot"), "{shell}");
    }
}

#[test]
fn without_a_server_the_next_step_is_named() {
    let output = ballast(&["ls"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.contains("no server answers at http://127.0.0.1:1") && said.contains("ballast up"), "{said}");
}

#[test]
fn misuse_leaves_with_2() {
    assert_eq!(ballast(&["wander"]).status.code(), Some(2));
    assert_eq!(ballast(&["up", "--kafka", "nowhere"]).status.code(), Some(2));
    assert_eq!(ballast(&["rm"]).status.code(), Some(2));
}
