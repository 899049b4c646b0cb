//! What a statement is turned into before it runs.
//!
//! A statement over one table whose expressions we evaluate ourselves gets a *direct* plan: [`access`] says
//! which keys it touches. Everything else is a [`Query`] for DataFusion, or a command that is run from its
//! syntax. Plans hold the tables' schemas; whoever runs one checks first that they are still current.

pub(crate) mod access;
pub(crate) mod select;
pub(crate) mod write;

use crate::Type;
use crate::sql::query::Query;
use crate::table::View;
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputColumn {
    pub name: String,
    pub column_type: Type,
    /// Inode of the table and number of the column from 1, where the column is a table's own.
    pub source: Option<(u64, u16)>,
}

impl OutputColumn {
    pub(crate) fn new(name: impl Into<String>, column_type: Type) -> Self {
        Self { name: name.into(), column_type, source: None }
    }
}

#[derive(Debug)]
pub(crate) enum Plan {
    Select(select::Select),
    Insert(write::Insert),
    Update(write::Update),
    Delete(write::Delete),
    Query(Box<Query>),
    /// A query that surely gives no rows.
    Nothing(Arc<[OutputColumn]>),
    /// A command: DDL, settings, transactions, COPY.
    Command(Arc<ast::Statement>),
}

impl Plan {
    /// The tables that the plan was made for.
    pub(crate) fn views(&self) -> Vec<&View> {
        match self {
            Self::Select(select) => vec![&select.view],
            Self::Insert(insert) => {
                let mut views = vec![&insert.view];
                if let write::Source::Query { query, .. } = &insert.source {
                    views.extend(query.views());
                }
                views
            }
            Self::Update(update) => update.target.views(&update.view),
            Self::Delete(delete) => delete.target.views(&delete.view),
            Self::Query(query) => query.views().collect(),
            Self::Nothing(_) | Self::Command(_) => Vec::new(),
        }
    }

    /// True if it holds for the moment only.
    pub(crate) fn is_momentary(&self) -> bool {
        match self {
            Self::Query(query) => query.momentary,
            Self::Insert(insert) => matches!(&insert.source, write::Source::Query { query, .. } if query.momentary),
            Self::Update(write::Update { target, .. }) | Self::Delete(write::Delete { target, .. }) => {
                matches!(target, write::Target::Query(query) if query.momentary)
            }
            Self::Select(_) | Self::Nothing(_) | Self::Command(_) => false,
        }
    }

    pub(crate) fn columns(&self) -> Option<Arc<[OutputColumn]>> {
        let returned = |returning: &Option<write::Returning>| returning.as_ref().map(|r| Arc::clone(&r.columns));
        match self {
            Self::Select(select) => Some(Arc::clone(&select.columns)),
            Self::Insert(insert) => returned(&insert.returning),
            Self::Update(update) => returned(&update.returning),
            Self::Delete(delete) => returned(&delete.returning),
            Self::Query(query) => Some(Arc::clone(&query.columns)),
            Self::Nothing(columns) => Some(Arc::clone(columns)),
            Self::Command(_) => None,
        }
    }
}
