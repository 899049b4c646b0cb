//! Integers that do not wrap, and floats that are not divided by zero.
//!
//! In DataFusion the sum of two integers that is too large for their type is another integer; in PostgreSQL it is the
//! error 22003. So once the types are known, arithmetic on integers becomes a function that looks, and the sum of a column
//! is taken in 128 bits. The same function looks at floats: what is divided by zero, or too large, is an error.
//!
//! Source: "Numeric Types" and "Mathematical Functions and Operators" of PostgreSQL's documentation. There the sum of a
//! bigint is a numeric; here it is a bigint, and an error where it would not be one.

use super::rules::{Rule, mapped};
use crate::Error;
use datafusion::arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, Datum};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, internal_datafusion_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, BinaryExpr, ColumnarValue, EmitTo, Expr, ExprSchemable, GroupsAccumulator, Operator,
    ReturnFieldArgs, ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum;
use std::sync::Arc;

/// Runs after the rule that makes the types of both sides equal.
///
/// What is computed of integers becomes one function, however many operators it has: the types of nested functions are
/// found again for every one of them, by every rule.
pub(crate) const CHECK_NUMBERS: Rule =
    Rule { name: "check_numbers", change: |expr, schema| expr.transform_down(|expr| Ok(in_expression(expr, schema))) };

fn in_expression(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if step(&expr).is_none() {
        return Transformed::no(expr);
    }
    let of = first_operand(&expr).get_type(schema).ok().filter(|of| of.is_integer() || of.is_floating());
    if !of.is_some_and(|of| all_operands(&expr, &|operand| operand.get_type(schema).is_ok_and(|other| other == of))) {
        return Transformed::no(expr);
    }
    let (mut steps, mut operands) = (Vec::new(), Vec::new());
    take_apart(expr, &mut steps, &mut operands);
    let function = Arc::new(ScalarUDF::from(Checked::new(&steps)));
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, operands)))
}

/// `None` for what is not arithmetic.
fn step(expr: &Expr) -> Option<Step> {
    match expr {
        Expr::Negative(_) => Some(Step::Negate),
        Expr::BinaryExpr(BinaryExpr { op, .. }) => match op {
            Operator::Plus => Some(Step::Add),
            Operator::Minus => Some(Step::Subtract),
            Operator::Multiply => Some(Step::Multiply),
            Operator::Divide => Some(Step::Divide),
            Operator::Modulo => Some(Step::Remainder),
            _ => None,
        },
        _ => None,
    }
}

fn first_operand(expr: &Expr) -> &Expr {
    match expr {
        Expr::Negative(of) => first_operand(of),
        Expr::BinaryExpr(BinaryExpr { left, .. }) if step(expr).is_some() => first_operand(left),
        operand => operand,
    }
}

fn all_operands(expr: &Expr, hold: &impl Fn(&Expr) -> bool) -> bool {
    match expr {
        Expr::Negative(of) => all_operands(of, hold),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) if step(expr).is_some() => {
            all_operands(left, hold) && all_operands(right, hold)
        }
        operand => hold(operand),
    }
}

/// The expression as what a machine with a stack does, and its operands in their order.
fn take_apart(expr: Expr, steps: &mut Vec<Step>, operands: &mut Vec<Expr>) {
    match (step(&expr), expr) {
        (Some(step), Expr::Negative(of)) => {
            take_apart(*of, steps, operands);
            steps.push(step);
        }
        (Some(step), Expr::BinaryExpr(BinaryExpr { left, right, .. })) => {
            take_apart(*left, steps, operands);
            take_apart(*right, steps, operands);
            steps.push(step);
        }
        (_, operand) => {
            operands.push(operand);
            steps.push(Step::Operand);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Operand,
    Negate,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Arithmetic on integers of one type, whose result has that type too.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    /// The operators in the order in which they are done, for EXPLAIN.
    name: String,
    steps: Vec<Step>,
    signature: Signature,
}

impl Checked {
    fn new(steps: &[Step]) -> Self {
        let sign = |step: &Step| match step {
            Step::Operand => '_',
            Step::Negate => '±',
            Step::Add => '+',
            Step::Subtract => '-',
            Step::Multiply => '*',
            Step::Divide => '/',
            Step::Remainder => '%',
        };
        let name = steps.iter().map(sign).collect();
        let operands = steps.iter().filter(|step| **step == Step::Operand).count();
        Self { name, steps: steps.to_vec(), signature: Signature::any(operands, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        Ok(args[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), args.arg_fields[0].data_type().clone(), is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let of = args.return_field.data_type();
        let (mut operands, mut stack) = (args.args.into_iter(), Vec::new());
        for step in &self.steps {
            let mut pop = || stack.pop().ok_or_else(|| internal_datafusion_err!("an operator has no operand"));
            let computed = match step {
                Step::Operand => operands.next().ok_or_else(|| internal_datafusion_err!("an operand is missing"))?,
                Step::Negate => negated(&pop()?, of)?,
                Step::Add => both(pop()?, pop()?, numeric::add, of, false)?,
                Step::Subtract => both(pop()?, pop()?, numeric::sub, of, false)?,
                Step::Multiply => both(pop()?, pop()?, numeric::mul, of, false)?,
                Step::Divide => both(pop()?, pop()?, numeric::div, of, true)?,
                Step::Remainder => both(pop()?, pop()?, numeric::rem, of, true)?,
            };
            stack.push(computed);
        }
        stack.pop().ok_or_else(|| internal_datafusion_err!("nothing was computed"))
    }
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>;

fn both(
    right: ColumnarValue,
    left: ColumnarValue,
    kernel: Kernel,
    of: &DataType,
    divides: bool,
) -> Result<ColumnarValue> {
    datum::apply(&left, &right, |left, right| {
        let result = kernel(left, right).map_err(|error| told(error, of))?;
        match of {
            DataType::Float32 => check_floats::<Float32Type>(left, right, &result, divides, f32::is_finite)?,
            DataType::Float64 => check_floats::<Float64Type>(left, right, &result, divides, f64::is_finite)?,
            _ => {}
        }
        Ok(result)
    })
}

/// Of two floats there is always a result; SQL wants an error for a zero below, and for what is too large.
fn check_floats<T: ArrowPrimitiveType>(
    left: &dyn Datum,
    right: &dyn Datum,
    result: &ArrayRef,
    divides: bool,
    is_finite: impl Fn(T::Native) -> bool,
) -> std::result::Result<(), ArrowError> {
    let ((left, left_alone), (right, right_alone)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
    let result = result.as_primitive::<T>();
    for at in 0..result.len() {
        if result.is_null(at) || (!divides && is_finite(result.value(at))) {
            continue;
        }
        let left = left.value(if left_alone { 0 } else { at });
        let right = right.value(if right_alone { 0 } else { at });
        if divides && right.is_zero() {
            return Err(ArrowError::DivideByZero);
        }
        if !is_finite(result.value(at)) && is_finite(left) && is_finite(right) {
            return Err(ArrowError::from_external_error(Box::new(out_of_range(&T::DATA_TYPE))));
        }
    }
    Ok(())
}

fn negated(value: &ColumnarValue, of: &DataType) -> Result<ColumnarValue> {
    mapped(value, |array| Ok(numeric::neg(array).map_err(|error| told(error, of))?))
}

/// The error with the name of the type that was too small.
fn told(error: ArrowError, of: &DataType) -> ArrowError {
    match error {
        ArrowError::ArithmeticOverflow(_) => ArrowError::from_external_error(Box::new(out_of_range(of))),
        other => other,
    }
}

fn out_of_range(of: &DataType) -> Error {
    Error::OutOfRange(crate::Type::from_arrow(of).base_name().to_owned())
}

/// DataFusion's `sum`, but for integers: they are added in 128 bits, and what does not fit the answer's 64 is an error.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum(Sum);

const WIDE: DataType = DataType::Decimal128(38, 0);

fn is_checked(field: &FieldRef) -> bool {
    field.data_type() == &DataType::Int64
}

fn wide_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(WIDE))
}

fn widened(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    Ok(values.iter().map(|values| cast(values, &WIDE)).collect::<std::result::Result<_, _>>()?)
}

/// The answer, or the error that it is too large.
fn narrowed(sums: &ArrayRef) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(sums, &DataType::Int64, &options).map_err(|_| out_of_range(&DataType::Int64))?)
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, of: &[DataType]) -> Result<DataType> {
        self.0.return_type(of)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !is_checked(&args.return_field) {
            return self.0.accumulator(args);
        }
        let return_field = wide_field(&args.return_field);
        Ok(Box::new(Wide(self.0.accumulator(AccumulatorArgs { return_field, ..args })?)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_checked(&args.return_field) {
            return self.0.state_fields(args);
        }
        let return_field = wide_field(&args.return_field);
        self.0.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.0.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_checked(&args.return_field) {
            return self.0.create_groups_accumulator(args);
        }
        let return_field = wide_field(&args.return_field);
        Ok(Box::new(Wide(self.0.create_groups_accumulator(AccumulatorArgs { return_field, ..args })?)))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        // Of distinct values DataFusion slides over 64 bits only.
        if !is_checked(&args.return_field) || args.is_distinct {
            return self.0.create_sliding_accumulator(args);
        }
        let return_field = wide_field(&args.return_field);
        Ok(Box::new(Wide(self.0.create_sliding_accumulator(AccumulatorArgs { return_field, ..args })?)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.0.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }
}

/// Adds integers in what adds decimals.
#[derive(Debug)]
struct Wide<A>(A);

impl Accumulator for Wide<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&widened(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&narrowed(&self.0.evaluate()?.to_array()?)?, 0)
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }
}

impl GroupsAccumulator for Wide<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.0.update_batch(&widened(values)?, groups, filter, count)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        narrowed(&self.0.evaluate(emit)?)
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.0.merge_batch(states, groups, count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&widened(values)?, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
