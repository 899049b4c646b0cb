//! What is changed in a query before DataFusion sees it: the functions and casts of PostgreSQL's catalog, and what
//! means something else to DataFusion.

mod refused;
mod rows;

use super::catalog::{Names, definitions, table_oid};
use crate::table::View;
use crate::value::{Decimal, text as spelling};
use crate::{Error, Result, Type, limits};
use datafusion::sql::sqlparser::ast::{self, Visit, visit_expressions, visit_expressions_mut};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Replaces what DataFusion does not know by what it does, for this session. The definitions of indexes and
/// constraints, if the statement asks for any.
pub(crate) async fn rewrite(statement: &mut ast::Statement, names: &Names) -> Result<Option<BTreeMap<i64, String>>> {
    if let ControlFlow::Break(error) = statement.visit(&mut Refusing) {
        return Err(error);
    }
    let shown = statement.to_string().to_lowercase();
    let asks = |word: &str| shown.contains(word);
    let (classes, defined) = (asks("regclass"), asks("pg_get_indexdef") || asks("pg_get_constraintdef"));
    let views = if classes || defined { names.list().await? } else { Vec::new() };
    let catalog = asks("pg_catalog.") || asks(" pg_");
    let flow = visit_expressions_mut(statement, |expr| match rewrite_one(expr, names, &views, catalog) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    });
    match flow {
        ControlFlow::Continue(()) => Ok(defined.then(|| definitions(&views))),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A parameter that is cast has the type of the cast, unless the client said something else.
pub(crate) fn learn_parameters(statement: &ast::Statement, parameters: &mut Vec<Option<Type>>) {
    let _ = visit_expressions(statement, |expr| {
        if let ast::Expr::Cast { expr: inner, data_type, array: false, .. } = expr
            && let ast::Expr::Value(value) = inner.as_ref()
            && let ast::Value::Placeholder(name) = &value.value
            && let Some(number) = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok())
            && (1..=limits::PARAMETERS_MAX).contains(&number)
            && let Ok(of) = Type::from_sql(data_type)
        {
            if parameters.len() < number {
                parameters.resize(number, None);
            }
            let of = if matches!(of, Type::Varchar(_)) { Type::Text } else { of };
            parameters[number - 1].get_or_insert(of);
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Looks for what is refused.
struct Refusing;

impl ast::Visitor for Refusing {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Error> {
        flow(refused::query(query))
    }

    fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> ControlFlow<Error> {
        flow(refused::table(factor))
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Error> {
        flow(refused::expression(expr))
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn text(text: impl Into<String>) -> ast::Expr {
    ast::Expr::Value(ast::Value::SingleQuotedString(text.into()).into())
}

fn rewrite_one(expr: &mut ast::Expr, names: &Names, views: &[View], catalog: bool) -> Result<()> {
    rows::rewrite(expr)?;
    match expr {
        // DataFusion wants proof that a subquery gives one row; in the catalog, keys see to it.
        ast::Expr::Subquery(query) if catalog => match catalog_subquery(query) {
            Some(replacement) => *expr = replacement,
            None => at_most_one_row(query),
        },
        ast::Expr::Function(function) => {
            let of_catalog = strip_catalog(&mut function.name);
            // Of access lists, which are always null here.
            if of_catalog && function.name.to_string().eq_ignore_ascii_case("array_to_string") {
                *expr = cast(ast::Expr::Value(ast::Value::Null.into()), ast::DataType::Text);
                return Ok(());
            }
            if let Some(replacement) = session_function(function, names) {
                *expr = replacement;
            }
        }
        ast::Expr::Identifier(name) if name.quote_style.is_none() => {
            let value = match name.value.to_lowercase().as_str() {
                "current_user" | "session_user" | "user" | "current_role" => names.variables().user.clone(),
                "current_catalog" => names.variables().database.clone(),
                "current_schema" => "public".to_owned(),
                _ => return Ok(()),
            };
            *expr = text(value);
        }
        ast::Expr::Collate { expr: inner, .. } => {
            // All text here sorts by its bytes, as with the collation C.
            *expr = std::mem::replace(inner, text(""));
        }
        ast::Expr::BinaryOp { op, .. } => {
            if let ast::BinaryOperator::PGCustomBinaryOperator(parts) = op {
                *op = match parts.last().map(String::as_str) {
                    Some("~") => ast::BinaryOperator::PGRegexMatch,
                    Some("~*") => ast::BinaryOperator::PGRegexIMatch,
                    Some("!~") => ast::BinaryOperator::PGRegexNotMatch,
                    Some("=") => ast::BinaryOperator::Eq,
                    Some("~~") => ast::BinaryOperator::PGLikeMatch,
                    _ => return Err(Error::Unsupported(format!("operator {op} is not supported"))),
                };
            }
        }
        ast::Expr::Cast { expr: inner, data_type, .. } => {
            if let ast::DataType::Custom(name, _) = data_type {
                strip_catalog(name);
                let inner = inner.as_ref().clone();
                *expr = cast_to_catalog_type(&name.to_string().to_lowercase(), inner, expr.clone(), views)?;
            }
            if let ast::Expr::Cast { expr: inner, data_type: ast::DataType::Regclass, .. } = expr {
                *expr = regclass(inner.as_ref().clone(), views)?;
            }
            if let Some(replacement) = cast_to_own_type(expr)? {
                *expr = replacement;
                return Ok(());
            }
            // DataFusion's JSON is text.
            if let ast::Expr::Cast { data_type, .. } = expr
                && matches!(data_type, ast::DataType::JSON | ast::DataType::JSONB | ast::DataType::Uuid)
            {
                *data_type = ast::DataType::Text;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Casts in which DataFusion would leave something out.
fn cast_to_own_type(expr: &ast::Expr) -> Result<Option<ast::Expr>> {
    let ast::Expr::Cast { expr: inner, data_type, array: false, .. } = expr else { return Ok(None) };
    use ast::DataType as Sql;
    let literal = match inner.as_ref() {
        ast::Expr::Value(value) => Some(&value.value),
        _ => None,
    };
    let string = match literal {
        Some(ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text)) => Some(text.as_str()),
        _ => None,
    };
    Ok(match data_type {
        // It is text to DataFusion: it is checked here, and spelled as all are.
        Sql::Uuid | Sql::JSON | Sql::JSONB => {
            let Some(string) = string else { return Ok(None) };
            let of = Type::from_sql(data_type)?;
            Some(cast(text(spelling::print(&spelling::parse(string, of)?, of)), Sql::Text))
        }
        // A literal has its own digits already; DataFusion would leave it ten behind the point.
        Sql::Numeric(ast::ExactNumberInfo::None) | Sql::Decimal(ast::ExactNumberInfo::None) => {
            match (literal, string) {
                (Some(ast::Value::Number(digits, _)), _) if digits.contains('.') && !digits.contains(['e', 'E']) => {
                    Some(inner.as_ref().clone())
                }
                (_, Some(string)) => match Decimal::parse(string.trim()) {
                    Some(number) if number.scale > 0 => Some(number_literal(number)),
                    _ => None,
                },
                _ => None,
            }
        }
        Sql::Varchar(Some(ast::CharacterLength::IntegerLength { length, .. }))
        | Sql::CharacterVarying(Some(ast::CharacterLength::IntegerLength { length, .. }))
        | Sql::CharVarying(Some(ast::CharacterLength::IntegerLength { length, .. })) => {
            Type::from_sql(data_type)?;
            let length = ast::Expr::Value(ast::Value::Number(length.to_string(), false).into());
            let whole = cast(inner.as_ref().clone(), Sql::Text);
            Some(super::catalog::functions::call("left", vec![whole, length]))
        }
        Sql::Char(Some(_)) | Sql::Character(Some(_)) => {
            return Err(Error::Unsupported(format!("type {data_type} is not supported")));
        }
        Sql::Timestamp(Some(digits), _) if *digits < 6 => {
            return Err(Error::Unsupported(format!("type {data_type} is not supported: times have microseconds")));
        }
        _ => None,
    })
}

fn number_literal(number: Decimal) -> ast::Expr {
    let digits = number.to_string();
    let positive = ast::Expr::Value(ast::Value::Number(digits.trim_start_matches('-').to_owned(), false).into());
    match digits.starts_with('-') {
        true => ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: Box::new(positive) },
        false => positive,
    }
}

fn cast_to_catalog_type(name: &str, inner: ast::Expr, whole: ast::Expr, views: &[View]) -> Result<ast::Expr> {
    let cast = |to| cast(inner.clone(), to);
    Ok(match name {
        "name" | "text" | "\"char\"" | "char" | "varchar" | "regtype" | "regproc" => cast(ast::DataType::Text),
        "oid" | "int8" | "xid" => cast(ast::DataType::BigInt(None)),
        "int4" => cast(ast::DataType::Integer(None)),
        "int2" => cast(ast::DataType::SmallInt(None)),
        "regclass" => regclass(inner, views)?,
        _ => whole,
    })
}

/// `'name'::regclass` is a look-up; of a number it only changes how it is shown.
fn regclass(inner: ast::Expr, views: &[View]) -> Result<ast::Expr> {
    let name = match &inner {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::SingleQuotedString(name) => name.clone(),
            _ => return Ok(inner),
        },
        _ => return Ok(inner),
    };
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(ast::Expr::Value(ast::Value::Number(name, false).into()));
    }
    let plain = name.rsplit('.').next().unwrap_or(&name).trim_matches('"').to_owned();
    let found = views.iter().find(|view| *view.name == *plain).map(table_oid);
    let oid = found.ok_or(Error::UndefinedTable(name))?;
    Ok(ast::Expr::Value(ast::Value::Number(oid.to_string(), false).into()))
}

fn cast(expr: ast::Expr, to: ast::DataType) -> ast::Expr {
    let expr = Box::new(expr);
    ast::Expr::Cast { kind: ast::CastKind::DoubleColon, expr, data_type: to, array: false, format: None }
}

/// The subqueries of `\d` that DataFusion cannot untie from their outer query: those over tables that are always
/// empty here are null, and the default of a column is a column of `pg_attribute` as well.
fn catalog_subquery(query: &ast::Query) -> Option<ast::Expr> {
    if super::catalog::empty::columns(query).is_some() {
        return Some(cast(ast::Expr::Value(ast::Value::Null.into()), ast::DataType::Text));
    }
    let shown = query.to_string();
    if !shown.contains("pg_attrdef") {
        return None;
    }
    let mut words = shown.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.');
    let outer = words.find_map(|word| word.strip_suffix(".attrelid"))?;
    Some(ast::Expr::CompoundIdentifier(vec![ast::Ident::new(outer), ast::Ident::new("attdefault")]))
}

/// Makes `SELECT x FROM …` into `SELECT min(x) FROM …`.
fn at_most_one_row(query: &mut ast::Query) {
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return };
    if let [ast::SelectItem::UnnamedExpr(item)] = select.projection.as_mut_slice() {
        let aggregate = matches!(item, ast::Expr::Function(f) if ["min", "max", "count", "string_agg"].contains(&f.name.to_string().to_lowercase().as_str()));
        if !aggregate {
            let inner = std::mem::replace(item, text(""));
            *item = super::catalog::functions::call("min", vec![inner]);
        }
    }
}

/// Takes `pg_catalog.` off a name; true if it was there.
fn strip_catalog(name: &mut ast::ObjectName) -> bool {
    let is_catalog = matches!(name.0.first(), Some(ast::ObjectNamePart::Identifier(first)) if first.value.eq_ignore_ascii_case("pg_catalog"));
    let stripped = name.0.len() > 1 && is_catalog;
    if stripped {
        name.0.remove(0);
    }
    stripped
}

/// Functions whose value the session alone knows.
fn session_function(function: &ast::Function, names: &Names) -> Option<ast::Expr> {
    let variables = names.variables();
    let number = |number: i64| ast::Expr::Value(ast::Value::Number(number.to_string(), false).into());
    let argument = || match &function.args {
        ast::FunctionArguments::List(list) => match list.args.first() {
            Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Value(value)))) => {
                match &value.value {
                    ast::Value::SingleQuotedString(text) => Some(text.clone()),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    };
    Some(match function.name.to_string().to_lowercase().as_str() {
        "version" => {
            text(format!("PostgreSQL {} on Ballast {}", crate::session::SERVER_VERSION, env!("CARGO_PKG_VERSION")))
        }
        "current_database" | "current_catalog" => text(variables.database.clone()),
        "current_schema" => text("public"),
        "current_user" | "session_user" | "user" | "current_role" => text(variables.user.clone()),
        "pg_backend_pid" => number(i64::from(variables.process)),
        "current_setting" => {
            let name = argument()?;
            names.note_moment();
            text(variables.get(&name).unwrap_or_default())
        }
        "pg_is_in_recovery" => ast::Expr::Value(ast::Value::Boolean(false).into()),
        "txid_current" => number(1),
        _ => return None,
    })
}
