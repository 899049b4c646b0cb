//! The smallest and the largest of floats.
//!
//! DataFusion begins with the largest finite float, so that the smallest of infinities is no infinity, and compares NaN
//! with `<`, which is never true. In PostgreSQL NaN is equal to itself and above everything.

use crate::value::compare_floats;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature};
use std::cmp::Ordering;

/// DataFusion's `min`, but for floats.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Smallest(Min);

/// DataFusion's `max`, but for floats.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Largest(Max);

macro_rules! extreme {
    ($name:ident, $wanted:expr) => {
        impl AggregateUDFImpl for $name {
            fn name(&self) -> &str {
                self.0.name()
            }

            fn signature(&self) -> &Signature {
                self.0.signature()
            }

            fn return_type(&self, of: &[DataType]) -> Result<DataType> {
                self.0.return_type(of)
            }

            fn coerce_types(&self, of: &[DataType]) -> Result<Vec<DataType>> {
                self.0.coerce_types(of)
            }

            fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
                match is_ours(&args) {
                    true => Ok(Box::new(Extreme::new(&args, $wanted))),
                    false => self.0.accumulator(args),
                }
            }

            fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
                self.0.state_fields(args)
            }

            fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
                !is_ours(&args) && self.0.groups_accumulator_supported(args)
            }

            fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
                self.0.create_groups_accumulator(args)
            }

            fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
                self.0.create_sliding_accumulator(args)
            }

            fn reverse_expr(&self) -> ReversedUDAF {
                self.0.reverse_expr()
            }

            fn order_sensitivity(&self) -> AggregateOrderSensitivity {
                self.0.order_sensitivity()
            }
        }
    };
}

extreme!(Smallest, Ordering::Less);
extreme!(Largest, Ordering::Greater);

fn is_ours(args: &AccumulatorArgs<'_>) -> bool {
    matches!(args.return_field.data_type(), DataType::Float32 | DataType::Float64)
}

#[derive(Debug)]
struct Extreme {
    best: Option<f64>,
    wanted: Ordering,
    of: DataType,
}

impl Extreme {
    fn new(args: &AccumulatorArgs<'_>, wanted: Ordering) -> Self {
        Self { best: None, wanted, of: args.return_field.data_type().clone() }
    }
}

impl Accumulator for Extreme {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        // Every real is a double precision.
        let values = cast(values, &DataType::Float64)?;
        for value in values.as_primitive::<Float64Type>().iter().flatten() {
            if self.best.is_none_or(|best| compare_floats(value, best) == self.wanted) {
                self.best = Some(value);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64(self.best).cast_to(&self.of)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
