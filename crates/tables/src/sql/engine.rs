//! DataFusion, set up once for all queries of a server.

use super::casts::CAST_AS_POSTGRESQL;
use super::checked::{CHECK_NUMBERS, CheckedSum};
use super::computing::Computing;
use super::extremes::{Largest, Smallest};
use crate::metrics::TablesMetrics;
use crate::tables::Settings;
use crate::{Result, limits};
use datafusion::execution::context::SessionState;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use std::sync::Arc;

/// The catalog's name towards DataFusion; clients may write any.
pub(crate) const CATALOG: &str = "ballast";
/// The schema that stands for the session's directory.
pub(crate) const SCHEMA: &str = "public";

pub(crate) struct QueryEngine {
    template: SessionState,
    pub(crate) computing: Computing,
}

impl QueryEngine {
    pub(crate) fn new(settings: &Settings, metrics: &TablesMetrics) -> Result<Self> {
        let pool = Arc::new(FairSpillPool::new(settings.query_memory_bytes));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
        // One partition: a table is read by one scan, and repartitioning its rows costs more than it gains until
        // there are chunks.
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(limits::SCAN_ROWS)
            .with_information_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        let options = config.options_mut();
        options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.parse_float_as_decimal = true;
        let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features();
        // Pushing filters down to the inputs of a join that is already laid out finds columns by their bare name, and
        // takes that of the wrong side.
        let rules =
            PhysicalOptimizer::new().rules.into_iter().filter(|rule| !rule.name().starts_with("FilterPushdown"));
        let builder = builder.with_physical_optimizer_rules(rules.collect());
        let builder = builder.with_analyzer_rule(Arc::new(CAST_AS_POSTGRESQL));
        let mut template = builder.with_analyzer_rule(Arc::new(CHECK_NUMBERS)).build();
        template.register_udaf(Arc::new(AggregateUDF::from(CheckedSum::default())))?;
        template.register_udaf(Arc::new(AggregateUDF::from(Smallest::default())))?;
        template.register_udaf(Arc::new(AggregateUDF::from(Largest::default())))?;
        super::catalog::functions::register(&mut template)?;
        Ok(Self { template, computing: Computing::new(metrics.queries_computing.clone()) })
    }

    /// A state for one statement.
    pub(crate) fn state(&self) -> SessionState {
        self.template.clone()
    }
}
