//! How names in a statement become tables.

use crate::schema::Schema;
use crate::session::Variables;
use crate::sql::engine::SCHEMA;
use crate::table::View;
use crate::tables::Inner;
use crate::{Error, Result};
use ballast_tree::access::Access;
use ballast_types::{Call, ErrorKind, Ino, Kind, TreePath};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tables of one directory that a listing shows at most.
const LISTED_MAX: usize = 10_000;

/// What one statement resolves names with: where the session is, who asks, and what its transaction changed.
pub(crate) struct Names {
    tables: Arc<Inner>,
    call: Call,
    directory: Arc<TreePath>,
    overlay: HashMap<Ino, Arc<Schema>>,
    variables: Variables,
    hidden: bool,
    /// The tables that were found.
    views: Mutex<Vec<View>>,
    momentary: AtomicBool,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Names {
    pub(crate) fn new(
        tables: Arc<Inner>,
        call: Call,
        directory: Arc<TreePath>,
        overlay: HashMap<Ino, Arc<Schema>>,
        variables: Variables,
        hidden: bool,
    ) -> Self {
        Self {
            tables,
            call,
            directory,
            overlay,
            variables,
            hidden,
            views: Mutex::default(),
            momentary: AtomicBool::new(false),
        }
    }

    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Whether tables show the row id that they have without a key of their own.
    pub(crate) fn shows_hidden(&self) -> bool {
        self.hidden
    }

    pub(crate) fn note(&self, view: View) {
        let mut views = self.views.lock();
        if !views.iter().any(|known| known.ino() == view.ino()) {
            views.push(view);
        }
    }

    /// The statement takes in what holds now: it must be planned again to learn what holds later.
    pub(crate) fn note_moment(&self) {
        self.momentary.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_momentary(&self) -> bool {
        self.momentary.load(Ordering::Relaxed)
    }

    pub(crate) fn take_views(&self) -> Vec<View> {
        std::mem::take(&mut self.views.lock())
    }

    /// The path that the parts of a name stand for: `"/a/b/t"` wherever it is; `t` in the session's directory;
    /// `d.t` in its subdirectory `d`, or in `/a/b` where `d` is `"/a/b"`.
    pub(crate) fn path(&self, parts: &[String]) -> Result<TreePath> {
        let invalid = |error: &dyn std::fmt::Display| Error::InvalidName(error.to_string());
        let (name, above) = parts.split_last().ok_or_else(|| Error::InvalidName("a table needs a name".into()))?;
        let mut path = (*self.directory).clone();
        // A catalog in front of the schema says nothing here.
        if let Some(schema) = above.last()
            && schema != SCHEMA
        {
            path = extend(path, schema).map_err(|error| invalid(&error))?;
        }
        extend(path, name).map_err(|error| invalid(&error))
    }

    pub(crate) async fn view(&self, parts: &[String], wanted: Access) -> Result<View> {
        let path = self.path(parts)?;
        let shown = parts.last().cloned().unwrap_or_default();
        let view = self.tables.view(&self.call, &path, wanted, &shown).await?;
        Ok(self.overlaid(view))
    }

    fn overlaid(&self, view: View) -> View {
        match self.overlay.get(&view.ino()) {
            Some(schema) => View { schema: Arc::clone(schema), ..view },
            None => view,
        }
    }

    /// The tables of the session's directory, by name.
    pub(crate) async fn list(&self) -> Result<Vec<View>> {
        self.note_moment();
        let directory = match self.tables.tree.resolve(&self.call, &self.directory).await {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let entries = self.tables.tree.list(&self.call, directory.ino).await?;
        let mut views = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Table).take(LISTED_MAX) {
            let table = match self.tables.table(entry.ino).await {
                Ok(table) => table,
                // Dropped between the listing and now.
                Err(Error::Corrupt(_)) => continue,
                Err(error) => return Err(error),
            };
            let schema = table.schema();
            let path = Arc::new(self.directory.join(entry.name.clone()));
            views.push(self.overlaid(View { table, schema, name: entry.name.to_string().into(), path }));
        }
        Ok(views)
    }
}

fn extend(path: TreePath, text: &str) -> Result<TreePath, Box<dyn std::error::Error + Send + Sync>> {
    if text.starts_with('/') {
        return Ok(TreePath::parse(text)?);
    }
    let mut path = path;
    for part in text.split('/').filter(|part| !part.is_empty()) {
        path = path.join(part.parse()?);
    }
    Ok(path)
}
