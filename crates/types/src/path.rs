//! Absolute paths in the tree.

use crate::name::{Name, NameError};

/// An absolute path: the names from the root down. The root itself has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<Name>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path {0:?} does not start with /")]
    Relative(String),
    #[error("the path is longer than 4096 bytes")]
    TooLong,
    #[error("the path {path:?} holds a name that cannot be")]
    Name { path: String, source: NameError },
}

impl TreePath {
    /// As PATH_MAX of Linux.
    pub const BYTES_MAX: usize = 4096;

    pub fn root() -> Self {
        Self::default()
    }

    /// Reads `/a/b`. Empty components and a trailing slash are ignored; `.` and `..` are refused, because a
    /// path that reaches us through a protocol has no working directory to climb from.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > Self::BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let rest = text.strip_prefix('/').ok_or_else(|| PathError::Relative(text.to_owned()))?;
        let names = rest.split('/').filter(|part| !part.is_empty()).map(str::parse);
        let names = names.collect::<Result<Vec<Name>, _>>();
        Ok(Self(names.map_err(|source| PathError::Name { path: text.to_owned(), source })?))
    }

    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// The last name and the path above it; `None` for the root.
    pub fn split_last(&self) -> Option<(TreePath, &Name)> {
        let (last, above) = self.0.split_last()?;
        Some((TreePath(above.to_vec()), last))
    }

    pub fn join(&self, name: Name) -> Self {
        let mut names = self.0.clone();
        names.push(name);
        Self(names)
    }
}

impl FromIterator<Name> for TreePath {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl std::fmt::Display for TreePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parsed_path_prints_as_it_was_written() {
        for text in ["/", "/a", "/a/b.c/d"] {
            assert_eq!(TreePath::parse(text).expect("these are paths").to_string(), text);
        }
        assert_eq!(TreePath::parse("//a///b/").expect("slashes collapse").to_string(), "/a/b");
    }

    #[test]
    fn relative_and_climbing_paths_are_refused() {
        assert!(matches!(TreePath::parse("a"), Err(PathError::Relative(_))));
        assert!(matches!(TreePath::parse("/a/../b"), Err(PathError::Name { .. })));
        assert_eq!(TreePath::parse(&format!("/{}", "x/".repeat(3000))), Err(PathError::TooLong));
    }
}
