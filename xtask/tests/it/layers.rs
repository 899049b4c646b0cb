//! Imports point down: which crate may use which, and which heavy dependency is known where.
//!
//! ARCHITECTURE.md draws the same picture. A new crate or edge changes both, in one commit.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate may import of ours, in its code.
const EDGES: [(&str, &[&str]); 12] = [
    ("types", &[]),
    ("runtime", &[]),
    ("api", &["types"]),
    ("store", &["types", "runtime"]),
    ("tree", &["types", "runtime", "store"]),
    ("files", &["types", "runtime", "store", "tree"]),
    ("streams", &["types", "runtime", "store", "tree"]),
    ("tables", &["types", "runtime", "store", "tree"]),
    ("fuse", &["types", "runtime", "store", "tree", "files"]),
    ("kafka", &["types", "runtime", "tree", "streams"]),
    ("server", &["types", "runtime", "api", "store", "tree", "files", "streams", "tables", "fuse", "kafka"]),
    ("cli", &["types", "runtime", "api", "store", "server"]),
];

/// The one crate that may name each of these.
const OWNERS: [(&str, &[&str]); 7] = [
    ("slatedb", &["store"]),
    ("object_store", &["store"]),
    ("datafusion", &["tables"]),
    ("arrow", &["tables"]),
    ("fuser", &["fuse"]),
    ("kafka-protocol", &["kafka"]),
    ("axum", &["server"]),
];

/// Crates that belong to an owner by the beginning of their name.
const FAMILIES: [(&str, &str); 3] = [("datafusion-", "tables"), ("arrow-", "tables"), ("slatedb-", "store")];

struct Package {
    name: String,
    /// Dependencies of the code, then those of its tests alone.
    normal: BTreeSet<String>,
    development: BTreeSet<String>,
    manifest: String,
}

fn packages() -> BTreeMap<String, Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo).args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).output();
    let metadata: Value = serde_json::from_slice(&metadata.unwrap().stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let names = |development: bool| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let chosen = dependencies.filter(|dependency| (dependency["kind"] == "dev") == development);
            chosen.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
        };
        let package = Package {
            name: package["name"].as_str().unwrap().to_owned(),
            normal: names(false),
            development: names(true),
            manifest: std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap(),
        };
        (package.name.trim_start_matches("ballast-").to_owned(), package)
    });
    packages.collect()
}

fn ours(names: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    names.iter().filter_map(|name| name.strip_prefix("ballast-"))
}

#[test]
fn every_crate_imports_only_what_lies_below_it() {
    let edges: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    for (name, package) in packages() {
        if name == "xtask" {
            assert_eq!(ours(&package.normal).next(), None, "xtask proves things from outside");
            continue;
        }
        let Some(allowed) = edges.get(name.as_str()) else {
            panic!("the crate {name} has no row in the table of layers");
        };
        for import in ours(&package.normal) {
            assert!(allowed.contains(&import), "{name} must not import {import}");
        }
        // Tests may stand on a real volume, and on nothing beside or above.
        for import in ours(&package.development) {
            let fine = allowed.contains(&import) || matches!(import, "store" | "runtime" | "tree" | "api");
            assert!(fine, "the tests of {name} must not import {import}");
        }
    }
}

#[test]
fn every_heavy_dependency_is_known_to_one_crate() {
    for (name, package) in packages() {
        for dependency in package.normal.iter().chain(&package.development) {
            if let Some((_, owners)) = OWNERS.iter().find(|(heavy, _)| heavy == dependency) {
                assert!(owners.contains(&name.as_str()), "{name} must not know {dependency}");
            }
            if let Some((_, owner)) = FAMILIES.iter().find(|(family, _)| dependency.starts_with(family)) {
                assert_eq!(name, *owner, "{name} must not know {dependency}");
            }
        }
    }
}

#[test]
fn every_crate_obeys_the_lints_of_the_workspace() {
    for (name, package) in packages() {
        assert!(package.manifest.contains("[lints]\nworkspace = true"), "{name} has its own lints");
    }
}
