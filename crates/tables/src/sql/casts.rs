//! Casts as PostgreSQL makes them.
//!
//! DataFusion cuts a fraction off where PostgreSQL rounds, takes the letters of a bytea literal for its bytes, and
//! spells moments and floats in its own way. So once the types are known, these casts become a function that goes by
//! our own values, as everything does that is not computed by DataFusion.

use super::arrow;
use super::rules::{Rule, mapped};
use crate::value::text;
use crate::{Error, Type, Value};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, internal_datafusion_err};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;

/// Runs after the rule that makes the types of both sides equal: that one casts too.
pub(crate) const CAST_AS_POSTGRESQL: Rule = Rule {
    name: "cast_as_postgresql",
    change: |expr, schema| expr.transform_up(|expr| Ok(in_expression(expr, schema))),
};

fn in_expression(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = expr else { return Transformed::no(expr) };
    let from = inner.get_type(schema).ok().filter(|from| is_ours(from, field.data_type()));
    let Some(from) = from else { return Transformed::no(Expr::Cast(Cast { expr: inner, field })) };
    let function = ScalarUDF::from(Casting::new(from, field.data_type().clone()));
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![*inner])))
}

fn is_ours(from: &DataType, to: &DataType) -> bool {
    match to {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => from.is_floating() || from.is_decimal(),
        DataType::Binary => matches!(from, DataType::Utf8),
        DataType::Utf8 => {
            from.is_floating() || matches!(from, DataType::Binary | DataType::Timestamp(TimeUnit::Microsecond, _))
        }
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Casting {
    from: DataType,
    to: DataType,
    signature: Signature,
}

impl Casting {
    fn new(from: DataType, to: DataType) -> Self {
        Self { from, to, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Casting {
    fn name(&self) -> &str {
        match self.to {
            DataType::Utf8 => "to_text",
            DataType::Binary => "to_bytea",
            _ => "to_integer",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.to.clone(), is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = args.args.first().ok_or_else(|| internal_datafusion_err!("a cast has no operand"))?;
        mapped(value, |array| self.cast(array))
    }
}

impl Casting {
    fn cast(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let (from, to) = (Type::from_arrow(&self.from), Type::from_arrow(&self.to));
        let schema = Arc::new(Schema::new(vec![Field::new("cast", self.to.clone(), true)]));
        let mut builder = arrow::Builder::new(&[to], schema, array.len());
        for row in arrow::column(array, from)? {
            let value = row.into_iter().next().unwrap_or(Value::Null);
            builder.push(&[cast(value, from, to)?])?;
        }
        Ok(Arc::clone(builder.finish()?.column(0)))
    }
}

fn cast(value: Value, from: Type, to: Type) -> Result<Value, Error> {
    match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (value, Type::Text) => Ok(Value::text(text::print(&value, from))),
        (value, to) => value.assign(to),
    }
}
