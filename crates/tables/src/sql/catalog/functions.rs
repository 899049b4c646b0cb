//! The functions that PostgreSQL's clients call on its catalog.

use crate::sql::arrow::{self, Builder};
use crate::{Error, Result, Row, Type, Value};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::sync::Arc;

type Call = fn(&[Value]) -> Result<Value>;

/// A function over our values, row by row: catalogs are small.
#[derive(Debug)]
struct CatalogFunction {
    name: &'static str,
    signature: Signature,
    returns: Type,
    call: Call,
}

/// A function is its name: there is one of each.
impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for CatalogFunction {}

impl std::hash::Hash for CatalogFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.returns.to_arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = args.number_rows;
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let length = arrays.first().map_or(rows, |array| array.len());
        let results = evaluate(self, &arrays, length)?;
        Ok(ColumnarValue::Array(results))
    }
}

fn evaluate(function: &CatalogFunction, arrays: &[ArrayRef], length: usize) -> Result<ArrayRef> {
    let field = |(at, array): (usize, &ArrayRef)| Field::new(format!("{at}"), array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(arrays.iter().enumerate().map(field).collect::<Vec<_>>()));
    let types: Vec<Type> = arrays.iter().map(|array| Type::from_arrow(array.data_type())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(length));
    let batch = RecordBatch::try_new_with_options(schema, arrays.to_vec(), &options);
    let batch = batch.map_err(|error| Error::Query(error.to_string()))?;
    let result = Arc::new(Schema::new(vec![function.returns.to_field("result", true)]));
    let mut builder = Builder::new(&[function.returns], result, length);
    let rows: Vec<Row> = arrow::rows(&batch, &types)?;
    for row in rows {
        builder.push(&[(function.call)(&row)?])?;
    }
    Ok(Arc::clone(builder.finish()?.column(0)))
}

fn null(_: &[Value]) -> Result<Value> {
    Ok(Value::Null)
}

fn yes(_: &[Value]) -> Result<Value> {
    Ok(Value::Bool(true))
}

fn first(values: &[Value]) -> Result<Value> {
    Ok(values.first().cloned().unwrap_or(Value::Null))
}

fn zero(_: &[Value]) -> Result<Value> {
    Ok(Value::Int(0))
}

fn empty(_: &[Value]) -> Result<Value> {
    Ok(Value::text(""))
}

fn owner(_: &[Value]) -> Result<Value> {
    Ok(Value::text("owner"))
}

fn encoding(_: &[Value]) -> Result<Value> {
    Ok(Value::text("UTF8"))
}

fn format_type(values: &[Value]) -> Result<Value> {
    let (Some(Value::Int(oid)), modifier) = (values.first(), values.get(1)) else { return Ok(Value::Null) };
    let Some(of) = super::describe::type_by_oid(*oid) else { return Ok(Value::text("???")) };
    let modifier = match modifier {
        Some(Value::Int(modifier)) if *modifier >= 4 => Some(modifier - 4),
        _ => None,
    };
    Ok(Value::text(match (of, modifier) {
        (Type::Varchar(_), Some(length)) => format!("character varying({length})"),
        (Type::Numeric { .. }, Some(packed)) => format!("numeric({},{})", packed >> 16 & 0xffff, packed & 0xffff),
        (of, _) => of.base_name().to_owned(),
    }))
}

fn quote_ident(values: &[Value]) -> Result<Value> {
    let Some(Value::Text(text)) = values.first() else { return Ok(Value::Null) };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let name = text.as_str();
    let is_plain = name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty();
    Ok(if is_plain { Value::text(name) } else { Value::text(format!("\"{}\"", name.replace('"', "\"\""))) })
}

pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    let functions: [(&'static str, Type, Call); 28] = [
        ("col_description", Type::Text, null),
        ("format_type", Type::Text, format_type),
        ("has_schema_privilege", Type::Bool, yes),
        ("has_table_privilege", Type::Bool, yes),
        ("has_database_privilege", Type::Bool, yes),
        ("has_column_privilege", Type::Bool, yes),
        ("obj_description", Type::Text, null),
        ("pg_client_encoding", Type::Text, encoding),
        ("pg_encoding_to_char", Type::Text, encoding),
        ("pg_function_is_visible", Type::Bool, yes),
        ("pg_get_expr", Type::Text, first),
        ("pg_get_partkeydef", Type::Text, null),
        ("pg_get_serial_sequence", Type::Text, null),
        ("pg_get_statisticsobjdef_columns", Type::Text, null),
        ("pg_get_userbyid", Type::Text, owner),
        ("pg_get_viewdef", Type::Text, null),
        ("pg_indexes_size", Type::Int8, zero),
        ("pg_relation_is_publishable", Type::Bool, yes),
        ("pg_relation_size", Type::Int8, zero),
        ("pg_size_pretty", Type::Text, empty),
        ("pg_table_is_visible", Type::Bool, yes),
        ("pg_table_size", Type::Int8, zero),
        ("pg_tablespace_location", Type::Text, empty),
        ("pg_total_relation_size", Type::Int8, zero),
        ("pg_type_is_visible", Type::Bool, yes),
        ("quote_ident", Type::Text, quote_ident),
        ("shobj_description", Type::Text, null),
        ("to_regclass", Type::Int8, null),
    ];
    for (name, returns, call) in functions {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let function = ScalarUDF::from(CatalogFunction { name, signature, returns, call });
        state.register_udf(Arc::new(function)).map_err(Error::from)?;
    }
    Ok(())
}

/// What a number of the catalog is defined as, for one query.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Definitions {
    name: &'static str,
    signature: Signature,
    definitions: Arc<BTreeMap<i64, String>>,
}

impl ScalarUDFImpl for Definitions {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some(first) = arrays.first() else {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::Utf8(None)));
        };
        let numbers = datafusion::arrow::compute::cast(first, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
        let texts = numbers.iter().map(|number| self.definitions.get(&number?).map(String::as_str));
        Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
    }
}

/// Lets one query ask what indexes and constraints are.
pub(crate) fn register_definitions(state: &mut SessionState, definitions: BTreeMap<i64, String>) -> Result<()> {
    let definitions = Arc::new(definitions);
    for name in ["pg_get_indexdef", "pg_get_constraintdef"] {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let function = Definitions { name, signature, definitions: Arc::clone(&definitions) };
        state.register_udf(Arc::new(ScalarUDF::from(function))).map_err(Error::from)?;
    }
    Ok(())
}

/// A call of a function, as syntax.
pub(crate) fn call(name: &str, arguments: Vec<ast::Expr>) -> ast::Expr {
    let unnamed = |expr| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr));
    let list = ast::FunctionArgumentList {
        duplicate_treatment: None,
        args: arguments.into_iter().map(unnamed).collect(),
        clauses: Vec::new(),
    };
    ast::Expr::Function(ast::Function {
        name: vec![ast::Ident::new(name)].into(),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
