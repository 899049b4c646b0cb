//! What a table's columns are, now and for every row that was written before.
//!
//! A row names the *layout* it was written with: which columns it stores, in which order. ADD, DROP and RENAME
//! COLUMN change this description alone. A row of an older layout answers a later column's `missing` value
//! and keeps the bytes of dropped columns until it is written again.

use crate::keys::row::Layout;
use crate::{Error, Result, Type, Value, limits};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Never reused within a table.
    pub id: u16,
    pub name: String,
    pub column_type: Type,
    pub nullable: bool,
    /// The default as SQL.
    pub default: Option<String>,
    /// What rows hold that are older than the column.
    pub missing: Value,
    /// The row id that a table without a primary key gets: no `*` shows it, no INSERT lists it.
    pub hidden: bool,
}

/// Clones share nothing; tables share one behind an `Arc`.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Counts changes.
    pub version: u32,
    /// Which run of row keys is the table's content: TRUNCATE starts a new one.
    pub generation: u32,
    /// In the order of `SELECT *`.
    pub columns: Vec<Column>,
    /// Positions in `columns` of the primary key, in key order.
    pub key: Vec<usize>,
    pub next_column_id: u16,
    /// Column ids and types of each layout; the last one is for new rows.
    pub layouts: Vec<Vec<(u16, Type)>>,
    compiled: Vec<Arc<Layout>>,
}

pub const ROW_ID: &str = "_rowid";

/// A column as CREATE TABLE gives it.
#[derive(Clone, Debug)]
pub struct NewColumn {
    pub name: String,
    pub column_type: Type,
    pub nullable: bool,
    pub default: Option<String>,
}

impl Schema {
    /// A new table's. Without a key it gets a hidden row id.
    pub fn create(columns: Vec<NewColumn>, key: &[String]) -> Result<Self> {
        let mut schema = Self::empty();
        if columns.len() >= limits::COLUMNS_MAX {
            return Err(Error::TooLarge(format!("tables can have at most {} columns", limits::COLUMNS_MAX)));
        }
        for column in columns {
            schema.push(column, Value::Null, false)?;
        }
        if key.is_empty() {
            let row_id = NewColumn { name: ROW_ID.into(), column_type: Type::Uuid, nullable: false, default: None };
            schema.push(row_id, Value::Null, true)?;
            schema.key = vec![schema.columns.len() - 1];
        }
        for name in key {
            let at = schema.position(name)?;
            let column = &mut schema.columns[at];
            column.nullable = false;
            if !column.column_type.can_be_key() {
                let text = format!("type {} cannot be in a primary key", column.column_type.base_name());
                return Err(Error::InvalidDefinition(text));
            }
            if schema.key.contains(&at) {
                return Err(Error::DuplicateColumn(name.clone()));
            }
            schema.key.push(at);
        }
        schema.layouts = vec![schema.stored_columns()];
        schema.compile();
        Ok(schema)
    }

    fn empty() -> Self {
        Self {
            version: 1,
            generation: 1,
            columns: Vec::new(),
            key: Vec::new(),
            next_column_id: 1,
            layouts: Vec::new(),
            compiled: Vec::new(),
        }
    }

    /// Puts a stored description together again.
    pub(crate) fn restore(
        version: u32,
        generation: u32,
        next_column_id: u16,
        columns: Vec<Column>,
        key: Vec<usize>,
        layouts: Vec<Vec<(u16, Type)>>,
    ) -> Self {
        let mut schema = Self { version, generation, columns, key, next_column_id, layouts, compiled: Vec::new() };
        schema.compile();
        schema
    }

    fn push(&mut self, new: NewColumn, missing: Value, hidden: bool) -> Result<()> {
        if self.columns.iter().any(|column| column.name == new.name) {
            return Err(Error::DuplicateColumn(new.name));
        }
        if new.name.is_empty() || new.name.len() > 255 {
            return Err(Error::InvalidName(format!("column name \"{}\" must have 1 to 255 bytes", new.name)));
        }
        if new.column_type == Type::Oid {
            return Err(Error::Unsupported("columns of type oid are not supported".into()));
        }
        let id = self.next_column_id;
        self.next_column_id = id
            .checked_add(1)
            .ok_or_else(|| Error::TooLarge("the table has used up its column numbers: make a new one".into()))?;
        let NewColumn { name, column_type, nullable, default } = new;
        self.columns.push(Column { id, name, column_type, nullable, default, missing, hidden });
        Ok(())
    }

    /// Columns that rows store in their value: all but the key's.
    fn stored_columns(&self) -> Vec<(u16, Type)> {
        let stored = self.columns.iter().enumerate().filter(|(at, _)| !self.key.contains(at));
        stored.map(|(_, column)| (column.id, column.column_type)).collect()
    }

    fn compile(&mut self) {
        let compile = |layout: &Vec<(u16, Type)>| Arc::new(Layout::new(layout, &self.columns, &self.key));
        self.compiled = self.layouts.iter().map(compile).collect();
    }

    fn changed(mut self, layout: bool) -> Result<Self> {
        self.version += 1;
        if layout {
            if self.layouts.len() >= limits::LAYOUTS_MAX {
                return Err(Error::TooLarge("the table's columns were changed too often: copy it to a new one".into()));
            }
            self.layouts.push(self.stored_columns());
        }
        self.compile();
        Ok(self)
    }

    /// The schema with one more column; rows that exist hold `missing` in it.
    pub fn add_column(&self, new: NewColumn, missing: Value) -> Result<Self> {
        let mut next = self.clone();
        if next.columns.len() >= limits::COLUMNS_MAX {
            return Err(Error::TooLarge(format!("tables can have at most {} columns", limits::COLUMNS_MAX)));
        }
        next.push(new, missing, false)?;
        next.changed(true)
    }

    pub fn drop_column(&self, name: &str) -> Result<Self> {
        let at = self.position(name)?;
        if self.key.contains(&at) {
            return Err(Error::Unsupported(format!("column \"{name}\" is part of the primary key")));
        }
        let mut next = self.clone();
        next.columns.remove(at);
        next.key.iter_mut().filter(|position| **position > at).for_each(|position| *position -= 1);
        next.changed(true)
    }

    pub fn rename_column(&self, from: &str, to: &str) -> Result<Self> {
        let at = self.position(from)?;
        if self.columns.iter().any(|column| column.name == to) {
            return Err(Error::DuplicateColumn(to.to_owned()));
        }
        let mut next = self.clone();
        next.columns[at].name = to.to_owned();
        next.changed(false)
    }

    pub fn set_default(&self, name: &str, default: Option<String>) -> Result<Self> {
        let at = self.position(name)?;
        let mut next = self.clone();
        next.columns[at].default = default;
        next.changed(false)
    }

    pub fn drop_not_null(&self, name: &str) -> Result<Self> {
        let at = self.position(name)?;
        if self.key.contains(&at) {
            return Err(Error::InvalidDefinition(format!("column \"{name}\" is in a primary key")));
        }
        let mut next = self.clone();
        next.columns[at].nullable = true;
        next.changed(false)
    }

    /// The same columns without any row.
    pub fn truncate(&self) -> Result<Self> {
        let mut next = self.clone();
        next.generation = next
            .generation
            .checked_add(1)
            .ok_or_else(|| Error::TooLarge("the table was truncated too often: drop it and make it anew".into()))?;
        next.changed(false)
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub fn position(&self, name: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| Error::UndefinedColumn(name.to_owned()))
    }

    /// Positions of the columns that `*` stands for.
    pub fn visible(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.columns.len()).filter(|at| !self.columns[*at].hidden)
    }

    pub fn has_hidden_key(&self) -> bool {
        self.key.iter().any(|at| self.columns[*at].hidden)
    }

    /// The types of the primary key's columns, in key order.
    pub fn key_types(&self) -> impl Iterator<Item = Type> + '_ {
        self.key.iter().map(|at| self.columns[*at].column_type)
    }

    pub(crate) fn layout(&self, number: u16) -> Option<&Arc<Layout>> {
        self.compiled.get(usize::from(number))
    }

    /// The layout that new rows are written with.
    pub(crate) fn current_layout(&self) -> (u16, &Arc<Layout>) {
        let number = self.compiled.len() - 1;
        (u16::try_from(number).expect("layouts are bounded"), &self.compiled[number])
    }
}
