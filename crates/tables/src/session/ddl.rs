//! Commands: CREATE, ALTER, DROP, TRUNCATE, transactions and settings.
//!
//! Inside a transaction, ALTER, DROP and TRUNCATE take effect with the commit. CREATE TABLE takes effect at
//! once, so that names stay the tree's business alone, and a rollback drops the table again.

use super::{Answer, Session, Tag};
use crate::schema::{NewColumn, ROW_ID, Schema};
use crate::sql::expression::Context;
use crate::sql::fold;
use crate::sql::plan::write::compile_default;
use crate::table::View;
use crate::transaction::{Named, OpenTransaction, purge_later};
use crate::{Error, Result, Type, Value};
use ballast_store::Isolation;
use ballast_tree::Rename;
use ballast_tree::access::Access;
use ballast_types::{ErrorKind, Ino, Name};
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;

/// What a command is one step with, where no transaction is open.
enum Step {
    Alone,
    /// It has several steps of its own.
    Own,
    /// The other statements of its text.
    Shared,
}

impl Step {
    fn of(statement: &ast::Statement, more: bool) -> Self {
        let renames =
            |operation: &ast::AlterTableOperation| matches!(operation, ast::AlterTableOperation::RenameTable { .. });
        match statement {
            // Whatever follows in the text may make the tables again, and a transaction cannot.
            ast::Statement::Drop { names, .. } if names.len() > 1 => Self::Own,
            // Nor can it rename one, so that a text which changes what tables are does so step by step.
            ast::Statement::AlterTable(alter) if alter.operations.iter().any(renames) => Self::Alone,
            ast::Statement::Truncate(_) if more => Self::Shared,
            ast::Statement::AlterTable(alter) if alter.operations.len() > 1 => Self::Own,
            ast::Statement::AlterTable(alter) if alter.operations.iter().any(needs_empty_table) => Self::Own,
            ast::Statement::Truncate(truncate) if truncate.table_names.len() > 1 => Self::Own,
            _ => Self::Alone,
        }
    }
}

/// Whether there may be no row, neither when it is looked for one nor when the column is there.
fn needs_empty_table(operation: &ast::AlterTableOperation) -> bool {
    let ast::AlterTableOperation::AddColumn { column_def, .. } = operation else { return false };
    column_def.options.iter().any(|option| matches!(option.option, ast::ColumnOption::NotNull))
}

impl Session {
    pub(super) async fn command(&mut self, statement: &ast::Statement, more: bool) -> Result<Answer> {
        match Step::of(statement, more) {
            Step::Shared if self.transaction.is_none() => self.begin_implicit().await?,
            Step::Own if self.transaction.is_none() => {
                let (_, read_only) = self.begin_modes(&[]);
                let open = OpenTransaction::begin(&self.tables.0, Isolation::Serializable, read_only, true).await?;
                self.transaction = Some(open);
                return match Box::pin(self.run_command(statement, more)).await {
                    Ok(answer) => self.commit().await.map(|()| answer),
                    Err(error) => {
                        self.rollback().await;
                        Err(error)
                    }
                };
            }
            _ => {}
        }
        self.run_command(statement, more).await
    }

    async fn run_command(&mut self, statement: &ast::Statement, more: bool) -> Result<Answer> {
        let done = |tag| Ok(Answer::Done(Tag::Command(tag)));
        match statement {
            ast::Statement::StartTransaction { modes, begin, .. } => {
                let (isolation, read_only) = self.begin_modes(modes);
                self.begin(isolation, read_only).await?;
                done(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            ast::Statement::Commit { chain: false, .. } => {
                if self.transaction.is_none() {
                    self.notices.push("there is no transaction in progress".into());
                }
                if self.failed {
                    self.rollback().await;
                    return done("ROLLBACK");
                }
                self.commit().await?;
                done("COMMIT")
            }
            ast::Statement::Rollback { chain: false, savepoint: None } => {
                if self.transaction.is_none() {
                    self.notices.push("there is no transaction in progress".into());
                }
                self.rollback().await;
                done("ROLLBACK")
            }
            ast::Statement::Savepoint { .. }
            | ast::Statement::ReleaseSavepoint { .. }
            | ast::Statement::Rollback { .. }
            | ast::Statement::Commit { .. } => {
                Err(Error::Unsupported("savepoints and AND CHAIN are not supported".into()))
            }
            ast::Statement::Set(set) => {
                self.set(set)?;
                self.begin_again().await?;
                done("SET")
            }
            ast::Statement::Reset(reset) => {
                match &reset.reset {
                    ast::Reset::ALL => self.variables.reset_all(),
                    ast::Reset::ConfigurationParameter(name) => self.variables.reset(&name.to_string()),
                }
                done("RESET")
            }
            ast::Statement::ShowVariable { variable } => self.show(variable),
            ast::Statement::Discard { .. } => {
                if self.transaction.is_some() {
                    return Err(Error::ActiveTransaction("DISCARD ALL"));
                }
                self.variables.reset_all();
                Ok(Answer::Deallocate(None, Tag::Command("DISCARD ALL")))
            }
            ast::Statement::Deallocate { name, .. } => {
                let is_all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
                Ok(match is_all {
                    true => Answer::Deallocate(None, Tag::Command("DEALLOCATE ALL")),
                    false => Answer::Deallocate(Some(fold(name)), Tag::Command("DEALLOCATE")),
                })
            }
            ast::Statement::CreateTable(create) => self.create_table(create).await,
            ast::Statement::AlterTable(alter) => self.alter_table(alter).await,
            ast::Statement::Drop { object_type: ast::ObjectType::Table, if_exists, names, .. } => {
                for name in names {
                    self.drop_table(name, *if_exists).await?;
                }
                done("DROP TABLE")
            }
            ast::Statement::Truncate(truncate) => self.truncate(truncate).await,
            ast::Statement::Copy { source, to, target, options, legacy_options, .. } => {
                if more && self.transaction.is_none() && !*to {
                    self.begin_implicit().await?;
                }
                self.copy(source, *to, target, options, legacy_options).await
            }
            // What maintains an index or statistics has nothing to do here.
            ast::Statement::Vacuum(_) => done("VACUUM"),
            ast::Statement::Analyze(_) => done("ANALYZE"),
            other => {
                let text = other.to_string();
                let word: Vec<&str> = text.split_whitespace().take(2).collect();
                Err(Error::Unsupported(format!("{} is not supported", word.join(" ").to_uppercase())))
            }
        }
    }

    /// After `SET TRANSACTION ISOLATION LEVEL` in a transaction that has done nothing yet.
    async fn begin_again(&mut self) -> Result<()> {
        let Some(isolation) = self.restart.take() else { return Ok(()) };
        if let Some(open) = self.transaction.take() {
            let (read_only, implicit) = (open.read_only, open.implicit);
            open.rollback(&self.tables.0, &self.call).await;
            self.transaction = Some(OpenTransaction::begin(&self.tables.0, isolation, read_only, implicit).await?);
        }
        Ok(())
    }

    /// The directory and the name of a table, there or not.
    async fn place(&self, name: &ast::ObjectName) -> Result<(Ino, Name, String)> {
        let parts = crate::sql::name_parts(name)?;
        let path = self.names(false).path(&parts)?;
        let shown = parts.last().cloned().unwrap_or_default();
        let (directory, last) = path.split_last().ok_or_else(|| Error::InvalidName("/ is not a table".into()))?;
        let parent = self.tables.0.tree.resolve(&self.call, &directory).await;
        match parent {
            Ok(parent) => Ok((parent.ino, last.clone(), shown)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::UndefinedObject(format!("directory \"{directory}\" does not exist")))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn create_table(&mut self, create: &ast::CreateTable) -> Result<Answer> {
        let done = Answer::Done(Tag::Command("CREATE TABLE"));
        if create.temporary
            || create.like.is_some()
            || create.external
            || create.or_replace
            || create.inherits.is_some()
        {
            return Err(Error::Unsupported("this form of CREATE TABLE is not supported".into()));
        }
        if create.query.is_some() {
            return Err(Error::Unsupported(
                "CREATE TABLE AS is not supported: create the table, then INSERT … SELECT".into(),
            ));
        }
        let schema = self.new_schema(create)?;
        let (parent, name, shown) = self.place(&create.name).await?;
        self.refuse_if_read_only("CREATE TABLE")?;
        self.end_begins();
        match self.tables.0.create(&self.call, parent, &name, schema).await {
            Ok((ino, position)) => {
                match &mut self.transaction {
                    Some(open) => open.created(Named { ino, parent, name }, position),
                    None => self.durable(position).await?,
                }
                Ok(done)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if self.transaction.as_ref().is_some_and(|open| open.drops(parent, &name)) {
                    return Err(Error::Unsupported(format!(
                        "\"{shown}\" is dropped by this transaction, and can be made again after its COMMIT"
                    )));
                }
                if !create.if_not_exists {
                    return Err(Error::DuplicateTable(shown));
                }
                self.notices.push(format!("relation \"{shown}\" already exists, skipping"));
                Ok(done)
            }
            Err(error) => Err(error),
        }
    }

    fn new_schema(&mut self, create: &ast::CreateTable) -> Result<Schema> {
        let mut columns = Vec::with_capacity(create.columns.len());
        let mut key: Vec<String> = Vec::new();
        for definition in &create.columns {
            let (column, is_key) = self.new_column(definition)?;
            if is_key {
                set_key(&mut key, vec![column.name.clone()])?;
            }
            columns.push(column);
        }
        for constraint in &create.constraints {
            match constraint {
                ast::TableConstraint::PrimaryKey(primary) => set_key(&mut key, key_columns(&primary.columns)?)?,
                other => return Err(Error::Unsupported(format!("the constraint {other} is not supported"))),
            }
        }
        Schema::create(columns, &key)
    }

    fn new_column(&mut self, definition: &ast::ColumnDef) -> Result<(NewColumn, bool)> {
        let name = fold(&definition.name);
        if name == ROW_ID {
            return Err(Error::InvalidName(format!("the column name {ROW_ID} is taken")));
        }
        let column_type = Type::from_sql(&definition.data_type)?.of_column();
        let (mut nullable, mut default, mut is_key) = (true, None, false);
        for option in &definition.options {
            match &option.option {
                ast::ColumnOption::Null => {}
                ast::ColumnOption::NotNull => nullable = false,
                ast::ColumnOption::Default(expr) => {
                    let sql = expr.to_string();
                    compile_default(&sql, column_type)?;
                    default = Some(sql);
                }
                ast::ColumnOption::PrimaryKey(_) => is_key = true,
                ast::ColumnOption::Comment(_) => {}
                other => return Err(Error::Unsupported(format!("column \"{name}\": {other} is not supported"))),
            }
        }
        Ok((NewColumn { name, column_type, nullable, default }, is_key))
    }

    async fn drop_table(&mut self, name: &ast::ObjectName, if_exists: bool) -> Result<()> {
        let view = match self.view(name, Access::EXISTS).await {
            Ok(view) => view,
            Err(Error::UndefinedTable(shown)) if if_exists => {
                self.notices.push(format!("table \"{shown}\" does not exist, skipping"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (parent, last, _) = self.place(name).await?;
        self.refuse_if_read_only("DROP TABLE")?;
        match &mut self.transaction {
            Some(open) => {
                open.drop_table(&view, parent, last);
                Ok(())
            }
            None => {
                self.end_begins();
                let position = self.tables.0.tree.remove_directory(&self.call, parent, &last).await?;
                self.durable(position).await
            }
        }
    }

    async fn truncate(&mut self, truncate: &ast::Truncate) -> Result<Answer> {
        for target in &truncate.table_names {
            let view = match self.view(&target.name, Access::WRITE).await {
                Err(Error::UndefinedTable(_)) if truncate.if_exists => continue,
                view => view?,
            };
            self.change(&view, |schema| schema.truncate()).await?;
        }
        Ok(Answer::Done(Tag::Command("TRUNCATE TABLE")))
    }

    async fn alter_table(&mut self, alter: &ast::AlterTable) -> Result<Answer> {
        let done = Answer::Done(Tag::Command("ALTER TABLE"));
        // Whoever may write rows may not therefore change columns: that is the owner's.
        let mut view = match self.view(&alter.name, Access::WRITE).await {
            Err(Error::UndefinedTable(shown)) if alter.if_exists => {
                self.notices.push(format!("relation \"{shown}\" does not exist, skipping"));
                return Ok(done);
            }
            view => view?,
        };
        let inode = self.tables.0.tree.inode(view.ino()).await?;
        ballast_tree::access::require_owner(&inode, &self.call.caller, "alter a table")
            .map_err(|_| Error::Denied(view.name.to_string()))?;
        for operation in &alter.operations {
            if let ast::AlterTableOperation::RenameTable { table_name } = operation {
                self.rename_table(&alter.name, table_name).await?;
                continue;
            }
            self.alter_column(&view, operation).await?;
            view = self.view(&alter.name, Access::WRITE).await?;
        }
        Ok(done)
    }

    async fn alter_column(&mut self, view: &View, operation: &ast::AlterTableOperation) -> Result<()> {
        match operation {
            ast::AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
                if *if_not_exists && view.schema.find(&fold(&column_def.name)).is_some() {
                    return Ok(());
                }
                self.add_column(view, column_def).await
            }
            ast::AlterTableOperation::DropColumn { column_names, if_exists, .. } => {
                let names: Vec<String> = column_names.iter().map(fold).collect();
                self.change(view, |schema| {
                    let mut next = schema.clone();
                    for name in &names {
                        if next.find(name).is_none() && *if_exists {
                            continue;
                        }
                        next = next.drop_column(name)?;
                    }
                    Ok(next)
                })
                .await
            }
            ast::AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                let (from, to) = (fold(old_column_name), fold(new_column_name));
                self.change(view, |schema| schema.rename_column(&from, &to)).await
            }
            ast::AlterTableOperation::AlterColumn { column_name, op } => {
                let name = fold(column_name);
                match op {
                    ast::AlterColumnOperation::DropNotNull => {
                        self.change(view, |schema| schema.drop_not_null(&name)).await
                    }
                    ast::AlterColumnOperation::DropDefault => {
                        self.change(view, |schema| schema.set_default(&name, None)).await
                    }
                    ast::AlterColumnOperation::SetDefault { value } => {
                        let sql = value.to_string();
                        compile_default(&sql, view.schema.columns[view.schema.position(&name)?].column_type)?;
                        self.change(view, |schema| schema.set_default(&name, Some(sql.clone()))).await
                    }
                    other => Err(Error::Unsupported(format!("ALTER COLUMN {other} is not supported"))),
                }
            }
            ast::AlterTableOperation::OwnerTo { .. } => {
                Err(Error::Unsupported("the owner of a table is changed in the tree: chown its path".into()))
            }
            other => Err(Error::Unsupported(format!("ALTER TABLE {other} is not supported"))),
        }
    }

    async fn add_column(&mut self, view: &View, definition: &ast::ColumnDef) -> Result<()> {
        let (column, is_key) = self.new_column(definition)?;
        if is_key {
            return Err(Error::Unsupported("a primary key is chosen when the table is made".into()));
        }
        let missing = match &column.default {
            None => Value::Null,
            Some(sql) => {
                let expression = compile_default(sql, column.column_type)?;
                if !expression.is_free_of_columns() {
                    let text = "a new column's default must be one value for all rows that exist";
                    return Err(Error::Unsupported(text.into()));
                }
                let tables = Arc::clone(&self.tables.0);
                let context = Context { parameters: &[], now_micros: self.now_micros(), random: &tables.random };
                expression.evaluate(&[], &context)?.assign(column.column_type)?
            }
        };
        if missing.is_null() && !column.nullable && !self.is_empty(view).await? {
            return Err(Error::NotNull { table: view.name.to_string(), column: column.name });
        }
        self.change(view, |schema| schema.add_column(column.clone(), missing.clone())).await
    }

    async fn is_empty(&self, view: &View) -> Result<bool> {
        let range = crate::keys::generation_range(view.ino(), view.schema.generation);
        let mut scan = self.present().scan(range).await?;
        Ok(scan.next(1).await?.is_empty())
    }

    /// Changes a schema: now, or with the open transaction.
    async fn change(&mut self, view: &View, change: impl Fn(&Schema) -> Result<Schema>) -> Result<()> {
        let next = change(&view.schema)?;
        self.refuse_if_read_only("ALTER TABLE")?;
        if let Some(open) = &mut self.transaction {
            open.touch(view);
            open.alter(view, next);
            return Ok(());
        }
        let (ino, old, new) = (view.ino(), view.schema.generation, next.generation);
        self.end_begins();
        let position = self.tables.0.alter(view, next).await?;
        if old != new {
            purge_later(&self.tables.0, ino, old);
        }
        self.durable(position).await
    }

    async fn rename_table(&mut self, from: &ast::ObjectName, to: &ast::RenameTableNameKind) -> Result<()> {
        if self.transaction.is_some() {
            return Err(Error::ActiveTransaction("ALTER TABLE RENAME TO"));
        }
        self.refuse_if_read_only("ALTER TABLE")?;
        let (ast::RenameTableNameKind::To(to) | ast::RenameTableNameKind::As(to)) = to;
        let (old_parent, old_name, _) = self.place(from).await?;
        let parts = crate::sql::name_parts(to)?;
        // A plain new name stays in the table's own directory.
        let (new_parent, new_name, shown) = match parts.as_slice() {
            [name] if !name.contains('/') => {
                let parsed = name.parse().map_err(|_| Error::InvalidName(format!("\"{name}\" is not a name")))?;
                (old_parent, parsed, name.clone())
            }
            _ => self.place(to).await?,
        };
        self.end_begins();
        let renamed =
            self.tables.0.tree.rename(&self.call, (old_parent, &old_name), (new_parent, &new_name), Rename::NoReplace);
        match renamed.await {
            Ok(position) => self.durable(position).await,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::DuplicateTable(shown)),
            Err(error) => Err(error.into()),
        }
    }
}

fn set_key(key: &mut Vec<String>, columns: Vec<String>) -> Result<()> {
    if !key.is_empty() {
        return Err(Error::InvalidDefinition("multiple primary keys for table are not allowed".into()));
    }
    *key = columns;
    Ok(())
}

fn key_columns(columns: &[ast::IndexColumn]) -> Result<Vec<String>> {
    let name = |column: &ast::IndexColumn| match &column.column.expr {
        ast::Expr::Identifier(name) => Ok(fold(name)),
        other => Err(Error::InvalidDefinition(format!("{other} cannot be in a primary key"))),
    };
    columns.iter().map(name).collect()
}
