//! Names, and what clients ask about them: `pg_catalog` and `information_schema`.
//!
//! The schema `public` is the session's directory. Only that directory is ever listed; a quoted path reaches
//! everything else. The catalog's tables are made for each query that names them.

mod describe;
pub(crate) mod empty;
pub(crate) mod functions;
mod names;

pub(crate) use describe::{definitions, table_oid};
pub use describe::{type_modifier, type_oid};
pub(crate) use names::Names;

use super::engine::SCHEMA;
use super::provider::TableSource;
use crate::{Error, Result};
use async_trait::async_trait;
use ballast_tree::access::Access;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use std::sync::Arc;

pub(crate) const PG_CATALOG: &str = "pg_catalog";
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";

/// The one catalog, under any name.
#[derive(Clone, Debug)]
pub(crate) struct Catalogs(pub(crate) Arc<Names>);

impl CatalogProviderList for Catalogs {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![super::query::catalog_name().to_owned()]
    }

    fn catalog(&self, _: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(self.clone()))
    }
}

impl CatalogProvider for Catalogs {
    fn schema_names(&self) -> Vec<String> {
        [SCHEMA, PG_CATALOG, INFORMATION_SCHEMA].map(str::to_owned).to_vec()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Directory { names: Arc::clone(&self.0), schema: name.to_owned() }))
    }
}

/// A schema: the session's directory, another one, or one of the two catalogs.
#[derive(Debug)]
struct Directory {
    names: Arc<Names>,
    schema: String,
}

#[async_trait]
impl SchemaProvider for Directory {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if [PG_CATALOG, INFORMATION_SCHEMA].contains(&self.schema.as_str()) {
            return Ok(describe::table(&self.names, &self.schema, name).await?);
        }
        let parts = match self.schema.as_str() {
            SCHEMA => vec![name.to_owned()],
            schema => vec![schema.to_owned(), name.to_owned()],
        };
        match self.names.view(&parts, Access::READ).await {
            Ok(view) => {
                self.names.note(view.clone());
                Ok(Some(Arc::new(TableSource::new(view, self.names.shows_hidden()))))
            }
            // The catalog's tables are found without their schema's name, as PostgreSQL's search path has it.
            Err(Error::UndefinedTable(_)) if name.starts_with("pg_") => {
                Ok(describe::table(&self.names, PG_CATALOG, name).await?)
            }
            // DataFusion's own functions that stand where a table does.
            Err(Error::UndefinedTable(_)) if ["generate_series", "range", "unnest"].contains(&name) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn table_exist(&self, _: &str) -> bool {
        true
    }
}
