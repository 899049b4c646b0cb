//! `ballast up` from its start to its end.

use crate::{ballast, text};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

const QUIET: [&str; 8] = ["up", "--bucket", "memory:", "--no-mount", "--kafka", "none", "--postgres", "none"];

/// A server on a free port, and the address that it serves.
fn up() -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ballast"));
    command.args(QUIET).args(["--http", "127.0.0.1:0", "--json"]);
    // Whoever runs the tests may have been started by nohup.
    let default_hangup = || {
        // SAFETY: no code runs at the signal.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: the call may be made between fork and exec.
    unsafe { command.pre_exec(default_hangup) };
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let status: serde_json::Value = serde_json::from_str(&line).unwrap();
    let http = status["listeners"]["http"].as_str().unwrap().to_owned();
    (child, http)
}

fn end(mut child: Child, signal: libc::c_int) -> Option<i32> {
    // SAFETY: the child is our own and was not waited for.
    assert_eq!(unsafe { libc::kill(libc::pid_t::try_from(child.id()).unwrap(), signal) }, 0);
    child.wait().unwrap().code()
}

#[test]
fn a_served_tree_is_changed_by_the_command_and_left_with_0() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let (child, server) = up();
        let made = ballast(&["create", "directory", "/a/b", "--parents", "--server", &server]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        assert_eq!(text(&ballast(&["ls", "/a", "--server", &server]).stdout), "b\n");
        let status = ballast(&["status", "--json", "--server", &server]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status["bucket"], "memory:");
        assert_eq!(end(child, signal), Some(0));
    }
}

#[test]
fn the_space_below_a_path_is_told_by_kind_and_in_all() {
    let (child, server) = up();
    let made = ballast(&["create", "table", "/shop/orders", "id bigint primary key", "--parents", "--server", &server]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let shown = text(&ballast(&["du", "/shop", "--server", &server]).stdout);
    assert_eq!(shown, "files    0  0 B\nstreams  0  0 B\ntables   1  0 B\ntotal    1  0 B\n");
    let told = ballast(&["du", "--json", "--server", &server]).stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!((&told["path"], &told["total"]["count"], &told["total"]["bytes"]), (&"/".into(), &1.into(), &0.into()));
    assert_eq!(ballast(&["du", "/missing", "--server", &server]).status.code(), Some(1));
    end(child, libc::SIGTERM);
}

#[test]
fn a_port_in_use_is_one_sentence_and_the_option_that_helps() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = ballast(&["up", "--bucket", "memory:", "--no-mount", "--http", "127.0.0.1:0", "--kafka", &address]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("{address} is in use")) && said.contains("--kafka"), "{said}");
}

/// A terminal that is gone: nobody reads what is said.
#[test]
fn a_server_whose_terminal_is_gone_still_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ballast"));
    command.args(["up", "--no-mount", "--kafka", "none", "--postgres", "none", "--http", "127.0.0.1:0", "--bucket"]);
    command.arg(directory.path().join("bucket"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.stderr.take());
    assert_eq!(end(child, libc::SIGTERM), Some(0), "{line}");
}

#[test]
fn a_bucket_in_its_own_mount_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let below = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (bucket, mount) in [("tree", "tree"), ("tree/bucket", "tree"), ("bucket", "bucket/tree")] {
        let options = ["--kafka", "none", "--postgres", "none", "--http", "127.0.0.1:0"];
        let place = ["up", "--bucket", &below(bucket), "--mount", &below(mount)];
        let output = ballast(&[&place[..], &options[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{bucket} {mount}");
        assert!(text(&output.stderr).contains("lie in each other"), "{}", text(&output.stderr));
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "nothing was made");
    }
}

#[test]
fn who_looks_at_a_bucket_that_is_not_there_is_told_and_makes_none() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("balast");
    for verb in ["fsck", "inspect"] {
        let output = ballast(&[verb, missing.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(text(&output.stderr).contains("there is no bucket"), "{}", text(&output.stderr));
        assert!(!missing.exists());
        let output = ballast(&[verb, directory.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{verb}");
        assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "an empty directory stays empty");
    }
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    for option in ["--http", "--kafka", "--postgres"] {
        let output = ballast(&["up", "--bucket", "memory:", "--no-mount", option, "0.0.0.0:0"]);
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(text(&output.stderr).contains("access rules"), "{option}");
    }
}
