//! Which plan a statement gets.

use super::Session;
use crate::sql::catalog::Names;
use crate::sql::expression::{Compiler, Stop};
use crate::sql::plan::{Plan, select, write};
use crate::sql::query::Query;
use crate::sql::{fold, name_parts};
use crate::table::View;
use crate::{Error, Result, Type};
use ballast_tree::access::Access;
use datafusion::sql::sqlparser::ast;
use std::ops::ControlFlow;
use std::sync::Arc;

type Planned = (Plan, Vec<Option<Type>>);

impl Session {
    pub(super) async fn plan(&self, statement: &Arc<ast::Statement>, declared: &[Option<Type>]) -> Result<Planned> {
        match &**statement {
            ast::Statement::Query(query) => self.plan_query(statement, query, declared).await,
            ast::Statement::Insert(insert) => self.plan_insert(insert, declared).await,
            ast::Statement::Update(update) => self.plan_update(update, declared).await,
            ast::Statement::Delete(delete) => self.plan_delete(delete, declared).await,
            ast::Statement::Explain { .. } | ast::Statement::ExplainTable { .. } => {
                self.plan_with_engine((**statement).clone(), declared, false).await
            }
            _ => Ok((Plan::Command(Arc::clone(statement)), declared.to_vec())),
        }
    }

    /// Names as this session resolves them, for one statement.
    pub(super) fn names(&self, hidden: bool) -> Names {
        let overlay = self.transaction.as_ref().map(|open| {
            let schema = |(ino, touched): (&ballast_types::Ino, &crate::transaction::Touched)| {
                (*ino, Arc::clone(&touched.schema))
            };
            open.tables.iter().map(schema).collect()
        });
        let call = self.call.clone();
        let directory = Arc::clone(&self.directory);
        Names::new(
            Arc::clone(&self.tables.0),
            call,
            directory,
            overlay.unwrap_or_default(),
            self.variables.clone(),
            hidden,
        )
    }

    pub(super) async fn view(&self, name: &ast::ObjectName, wanted: Access) -> Result<View> {
        let parts = name_parts(name)?;
        let view = self.names(false).view(&parts, wanted).await?;
        match &self.transaction {
            Some(open) => open.adopt(view),
            None => Ok(view),
        }
    }

    async fn plan_query(
        &self,
        statement: &Arc<ast::Statement>,
        query: &ast::Query,
        declared: &[Option<Type>],
    ) -> Result<Planned> {
        if let Some(planned) = self.plan_select(query, declared).await? {
            return Ok(planned);
        }
        if let ast::SetExpr::Insert(inner) | ast::SetExpr::Update(inner) | ast::SetExpr::Delete(inner) =
            query.body.as_ref()
        {
            return Err(Error::Unsupported(format!("WITH in front of {} is not supported", first_word(inner))));
        }
        if let Some(columns) = crate::sql::catalog::empty::columns(query) {
            return Ok((Plan::Nothing(columns.into()), declared.to_vec()));
        }
        self.plan_with_engine((**statement).clone(), declared, false).await
    }

    /// The direct plan, if the query is one for it.
    async fn plan_select(&self, query: &ast::Query, declared: &[Option<Type>]) -> Result<Option<Planned>> {
        let Some(plain) = select::plain(query) else { return Ok(None) };
        let Some((name, alias)) = select::single_table(&plain.from) else { return Ok(None) };
        let parts = name_parts(name)?;
        if parts.len() > 1 && matches!(parts[parts.len() - 2].as_str(), "pg_catalog" | "information_schema") {
            return Ok(None);
        }
        let view = match self.view(name, Access::READ).await {
            Ok(view) => view,
            // The engine knows the catalog's tables and says so if it does not.
            Err(Error::UndefinedTable(name)) if name.starts_with("pg_") => return Ok(None),
            Err(error) => return Err(error),
        };
        let qualifier = alias.map_or_else(|| parts.last().cloned().unwrap_or_default(), fold);
        let mut compiler = Compiler::new(declared);
        match select::plan(query, plain, view, &qualifier, &mut compiler) {
            Ok(plan) => Ok(Some((Plan::Select(plan), compiler.parameters))),
            Err(Stop::Fallback) => Ok(None),
            Err(Stop::Error(error)) => Err(error),
        }
    }

    async fn plan_with_engine(
        &self,
        statement: ast::Statement,
        declared: &[Option<Type>],
        hidden: bool,
    ) -> Result<Planned> {
        let mut parameters = declared.to_vec();
        let query = self.engine_query(statement, &mut parameters, hidden).await?;
        Ok((Plan::Query(Box::new(query)), parameters))
    }

    pub(super) async fn engine_query(
        &self,
        statement: ast::Statement,
        parameters: &mut Vec<Option<Type>>,
        hidden: bool,
    ) -> Result<Query> {
        Query::plan(&self.tables.0, Arc::new(self.names(hidden)), statement, parameters).await
    }

    async fn plan_insert(&self, insert: &ast::Insert, declared: &[Option<Type>]) -> Result<Planned> {
        let target = write::insert_target(insert)?;
        let mut wanted = Access::WRITE;
        if insert.on.is_some() || insert.returning.is_some() {
            wanted = wanted.and(Access::READ);
        }
        let view = self.view(target, wanted).await?;
        let name = match &insert.table_alias {
            Some(alias) => fold(&alias.alias),
            None => name_parts(target)?.pop().unwrap_or_default(),
        };
        let positions = write::insert_columns(&view, &insert.columns)?;
        let mut compiler = Compiler::new(declared);
        let source = self.insert_source(insert, &view, positions, &mut compiler).await?;
        let conflict = write::conflict(insert.on.as_ref(), &view, &name, &mut compiler).map_err(unsupported)?;
        let returning = write::returning(insert.returning.as_ref(), &view, &name, &mut compiler)?;
        Ok((Plan::Insert(write::Insert { view, source, conflict, returning }), compiler.parameters))
    }

    async fn insert_source(
        &self,
        insert: &ast::Insert,
        view: &View,
        positions: Vec<usize>,
        compiler: &mut Compiler,
    ) -> Result<write::Source> {
        let Some(query) = &insert.source else {
            // DEFAULT VALUES.
            return Ok(write::Source::Values(vec![write::defaults(view)?]));
        };
        let plain = query.order_by.is_none() && query.limit_clause.is_none() && query.with.is_none();
        if let (ast::SetExpr::Values(values), true) = (query.body.as_ref(), plain) {
            match write::insert_values(view, &positions, &values.rows, compiler) {
                Ok(rows) => return Ok(write::Source::Values(rows)),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Fallback) => {}
            }
        }
        let statement = match query.body.as_ref() {
            // Between VALUES, DataFusion does not run subqueries.
            ast::SetExpr::Values(values) if plain && values.rows.len() == 1 => {
                let item = |expr: &ast::Expr| ast::SelectItem::UnnamedExpr(expr.clone());
                select_of(values.rows[0].content.iter().map(item).collect(), Vec::new(), None)
            }
            _ => ast::Statement::Query(query.clone()),
        };
        let query = self.engine_query(statement, &mut compiler.parameters, false).await?;
        if query.columns.len() > positions.len() {
            return Err(Error::Syntax("INSERT has more expressions than target columns".into()));
        }
        let positions = positions[..query.columns.len()].to_vec();
        let defaults = write::defaults(view)?;
        Ok(write::Source::Query { query: Box::new(query), positions, defaults })
    }

    async fn plan_update(&self, update: &ast::Update, declared: &[Option<Type>]) -> Result<Planned> {
        let (target, alias) = write::update_target(update)?;
        let view = self.view(target, Access::WRITE.and(Access::READ)).await?;
        let name = alias
            .map_or_else(|| Ok(name_parts(target)?.pop().unwrap_or_default()), |alias| Ok::<_, Error>(fold(alias)))?;
        let mut compiler = Compiler::new(declared);
        let (plan_target, positions, values) = match direct_update(update, &view, &name, &mut compiler) {
            Ok(direct) => direct,
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Fallback) => {
                let flat = write::flatten_assignments(&update.assignments, &view)?;
                let mut exprs = Vec::with_capacity(flat.len());
                for (at, expr) in &flat {
                    exprs.push(write::assigned_expression(&view, *at, expr)?);
                }
                let from = match &update.from {
                    None => Vec::new(),
                    Some(ast::UpdateTableFromKind::BeforeSet(from) | ast::UpdateTableFromKind::AfterSet(from)) => {
                        from.clone()
                    }
                };
                let sources = std::iter::once(update.table.clone()).chain(from).collect();
                let select = rows_of(&view, &name, exprs, sources, update.selection.clone());
                let query = self.engine_query(select, &mut compiler.parameters, true).await?;
                let positions = flat.into_iter().map(|(at, _)| at).collect();
                (write::Target::Query(Box::new(query)), positions, Vec::new())
            }
        };
        let returning = write::returning(update.returning.as_ref(), &view, &name, &mut compiler)?;
        let plan = write::Update { view, target: plan_target, positions, values, returning };
        Ok((Plan::Update(plan), compiler.parameters))
    }

    async fn plan_delete(&self, delete: &ast::Delete, declared: &[Option<Type>]) -> Result<Planned> {
        let (target, alias) = write::delete_target(delete)?;
        let view = self.view(target, Access::WRITE.and(Access::READ)).await?;
        let name = alias
            .map_or_else(|| Ok(name_parts(target)?.pop().unwrap_or_default()), |alias| Ok::<_, Error>(fold(alias)))?;
        let mut compiler = Compiler::new(declared);
        let direct = match &delete.using {
            Some(_) => Err(Stop::Fallback),
            None => direct_access(delete.selection.as_ref(), &view, &name, &mut compiler),
        };
        let plan_target = match direct {
            Ok(access) => write::Target::Access(access),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Fallback) => {
                let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
                let using = delete.using.iter().flatten();
                let sources = from.iter().chain(using).cloned().collect();
                let select = rows_of(&view, &name, Vec::new(), sources, delete.selection.clone());
                let query = self.engine_query(select, &mut compiler.parameters, true).await?;
                write::Target::Query(Box::new(query))
            }
        };
        let returning = write::returning(delete.returning.as_ref(), &view, &name, &mut compiler)?;
        Ok((Plan::Delete(write::Delete { view, target: plan_target, returning }), compiler.parameters))
    }
}

/// Whether a query of the statement, at whatever depth, says FOR UPDATE or FOR SHARE.
pub(super) fn locks_rows(statement: Option<&ast::Statement>) -> bool {
    struct Locks;
    impl ast::Visitor for Locks {
        type Break = ();

        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            if query.locks.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    // The values of an INSERT may be many, and lock nothing.
    let may = |statement: &&ast::Statement| match statement {
        ast::Statement::Insert(insert) => {
            !insert.source.as_ref().is_some_and(|query| matches!(*query.body, ast::SetExpr::Values(_)))
        }
        ast::Statement::Query(_) | ast::Statement::Update(_) | ast::Statement::Delete(_) => true,
        _ => false,
    };
    statement.filter(may).is_some_and(|statement| ast::Visit::visit(statement, &mut Locks).is_break())
}

type DirectUpdate = (write::Target, Vec<usize>, Vec<crate::sql::expression::Expression>);

fn direct_update(update: &ast::Update, view: &View, name: &str, compiler: &mut Compiler) -> Result<DirectUpdate, Stop> {
    if update.from.is_some() {
        return Err(Stop::Fallback);
    }
    let scope = select::scope_of(view, name);
    let (positions, values) = write::assignments(&update.assignments, view, &scope, compiler)?;
    let access = direct_access(update.selection.as_ref(), view, name, compiler)?;
    Ok((write::Target::Access(access), positions, values))
}

fn direct_access(
    selection: Option<&ast::Expr>,
    view: &View,
    name: &str,
    compiler: &mut Compiler,
) -> Result<crate::sql::plan::access::Access, Stop> {
    let scope = select::scope_of(view, name);
    let condition = selection.map(|condition| compiler.condition(condition, &scope)).transpose()?;
    Ok(crate::sql::plan::access::Access::new(view, condition))
}

/// `SELECT <every column of the table>, <expressions> FROM … WHERE …`: what an UPDATE or DELETE reads.
fn rows_of(
    view: &View,
    name: &str,
    exprs: Vec<ast::Expr>,
    from: Vec<ast::TableWithJoins>,
    selection: Option<ast::Expr>,
) -> ast::Statement {
    let quoted = |text: &str| ast::Ident::with_quote('"', text);
    let own = view.schema.columns.iter().enumerate().map(|(at, column)| {
        let expr = ast::Expr::CompoundIdentifier(vec![quoted(name), quoted(&column.name)]);
        ast::SelectItem::ExprWithAlias { expr, alias: quoted(&format!("old {at}")) }
    });
    let new = exprs
        .into_iter()
        .enumerate()
        .map(|(at, expr)| ast::SelectItem::ExprWithAlias { expr, alias: quoted(&format!("new {at}")) });
    select_of(own.chain(new).collect(), from, selection)
}

fn select_of(
    projection: Vec<ast::SelectItem>,
    from: Vec<ast::TableWithJoins>,
    selection: Option<ast::Expr>,
) -> ast::Statement {
    let select = ast::Select {
        select_token: ast::helpers::attached_token::AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection,
        connect_by: Vec::new(),
        group_by: ast::GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: ast::SelectFlavor::Standard,
    };
    let query = ast::Query {
        with: None,
        body: Box::new(ast::SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    };
    ast::Statement::Query(Box::new(query))
}

fn unsupported(stop: Stop) -> Error {
    match stop {
        Stop::Error(error) => error,
        Stop::Fallback => Error::Unsupported("an expression of ON CONFLICT is not supported".into()),
    }
}

fn first_word(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
