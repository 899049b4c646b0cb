//! The document of promises and the tests belong together.

/// `docs/semantics/tree.md` in one line.
fn document() -> String {
    words(include_str!("../../../../docs/semantics/tree.md"))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// To be called by the test that proves the promise.
pub fn promise(text: &str) {
    assert!(document().contains(&format!("- {text}")), "docs/semantics/tree.md does not promise: {text}");
}

#[test]
fn every_promise_is_quoted_by_a_test() {
    let tests = [
        include_str!("caches.rs"),
        include_str!("concurrency.rs"),
        include_str!("model/mod.rs"),
        include_str!("operations.rs"),
        include_str!("rights.rs"),
    ];
    let tests = words(&tests.concat());
    let promises =
        include_str!("../../../../docs/semantics/tree.md").lines().filter_map(|line| line.strip_prefix("- "));
    let unproved: Vec<&str> = promises.filter(|promise| !tests.contains(&format!("\"{promise}\""))).collect();
    assert_eq!(unproved, Vec::<&str>::new());
}
