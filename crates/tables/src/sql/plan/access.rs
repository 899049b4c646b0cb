//! Which rows of a table a condition can hold for, as keys.

use crate::sql::expression::{Comparison, Context, Expression};
use crate::table::View;
use crate::{Error, Result, Value, keys, limits};
use ballast_store::KeyRange;
use bytes::{BufMut, Bytes, BytesMut};

/// How to find the rows, and what else must hold of them.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) keys: Keys,
    pub(crate) filter: Option<Expression>,
}

#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// Every combination of one candidate per key column.
    Points(Vec<Vec<Expression>>),
    /// Key columns that equal `prefix`, and the next one within bounds (expression, inclusive).
    Range { prefix: Vec<Expression>, low: Option<(Expression, bool)>, high: Option<(Expression, bool)> },
}

/// The keys of one execution.
#[derive(Debug)]
pub(crate) enum Found {
    /// In key order, each once.
    Points(Vec<Bytes>),
    Range(KeyRange),
}

impl Access {
    pub(crate) fn all() -> Self {
        Self { keys: Keys::Range { prefix: Vec::new(), low: None, high: None }, filter: None }
    }

    /// Reads keys out of a condition over the table's columns.
    pub(crate) fn new(view: &View, condition: Option<Expression>) -> Self {
        let mut conjuncts = Vec::new();
        condition.into_iter().for_each(|condition| split(condition, &mut conjuncts));
        let key = &view.schema.key;
        let candidates: Vec<Option<Candidates>> =
            key.iter().map(|column| conjuncts.iter().find_map(|part| Candidates::of(part, *column))).collect();
        let combinations = candidates.iter().flatten().map(|found| found.expressions.len()).product::<usize>();
        if candidates.iter().all(Option::is_some) && combinations <= limits::DIRECT_KEYS_MAX {
            let points: Vec<Candidates> = candidates.into_iter().flatten().collect();
            // What the points already say need not be checked again.
            for point in &points {
                let used = conjuncts.iter().position(|part| Candidates::of(part, point.column).is_some());
                // In their order: of several for one column, the first is the one that was used.
                used.map(|at| conjuncts.remove(at));
            }
            let keys = Keys::Points(points.into_iter().map(|point| point.expressions).collect());
            return Self { keys, filter: join(conjuncts) };
        }
        let single = |found: Option<Candidates>| match found {
            Some(mut found) if found.expressions.len() == 1 => found.expressions.pop(),
            _ => None,
        };
        let prefix: Vec<Expression> = candidates.into_iter().map_while(single).collect();
        let next = key.get(prefix.len());
        let (mut low, mut high) = (None, None);
        for (how, bound) in conjuncts.iter().filter_map(|part| bound_of(part, *next?)) {
            match how {
                Comparison::Greater | Comparison::GreaterOrEqual if low.is_none() => {
                    low = Some((bound, how == Comparison::GreaterOrEqual));
                }
                Comparison::Less | Comparison::LessOrEqual if high.is_none() => {
                    high = Some((bound, how == Comparison::LessOrEqual));
                }
                _ => {}
            }
        }
        // Bounds only narrow the scan: the condition is checked whole.
        Self { keys: Keys::Range { prefix, low, high }, filter: join(conjuncts) }
    }

    /// How many leading key columns are fixed to one value.
    pub(crate) fn fixed(&self) -> usize {
        match &self.keys {
            Keys::Points(points) => points.iter().take_while(|candidates| candidates.len() == 1).count(),
            Keys::Range { prefix, .. } => prefix.len(),
        }
    }

    pub(crate) fn find(&self, view: &View, context: &Context<'_>) -> Result<Found> {
        match &self.keys {
            Keys::Points(points) => self.points(view, points, context),
            Keys::Range { prefix, low, high } => {
                let mut fixed = Vec::with_capacity(prefix.len());
                for (expression, of) in prefix.iter().zip(view.schema.key_types()) {
                    match exact(expression.evaluate(&[], context)?, of)? {
                        Some(value) => fixed.push(value),
                        None => return Ok(Found::Points(Vec::new())),
                    }
                }
                let start = view.key(fixed.iter())?;
                let mut range = KeyRange::prefix(start.clone());
                let next_type = view.schema.key_types().nth(prefix.len());
                let bound = |bound: &Option<(Expression, bool)>| match (bound, next_type) {
                    (Some((expression, inclusive)), Some(of)) => {
                        let value = exact(expression.evaluate(&[], context)?, of)?;
                        let Some(value) = value else { return Ok(None) };
                        let mut key = start.to_vec();
                        keys::primary::encode(&value, of, &mut key)?;
                        Ok::<_, Error>(Some((Bytes::from(key), *inclusive)))
                    }
                    _ => Ok(None),
                };
                if let Some((key, inclusive)) = bound(low)? {
                    range.start = if inclusive { key } else { KeyRange::prefix(key).end.unwrap_or(range.start) };
                }
                if let Some((key, inclusive)) = bound(high)? {
                    range.end = if inclusive { KeyRange::prefix(key).end } else { Some(key) };
                }
                Ok(Found::Range(range))
            }
        }
    }

    fn points(&self, view: &View, points: &[Vec<Expression>], context: &Context<'_>) -> Result<Found> {
        let prefix = keys::row_prefix(view.ino(), view.schema.generation);
        let mut found: Vec<BytesMut> = vec![BytesMut::from(&prefix[..])];
        let mut encoded = Vec::with_capacity(16);
        for (candidates, of) in points.iter().zip(view.schema.key_types()) {
            let mut longer = Vec::with_capacity(found.len() * candidates.len());
            for candidate in candidates {
                let Some(value) = exact(candidate.evaluate(&[], context)?, of)? else { continue };
                encoded.clear();
                keys::primary::encode(&value, of, &mut encoded)?;
                for key in &found {
                    let mut key = key.clone();
                    key.put_slice(&encoded);
                    longer.push(key);
                }
            }
            found = longer;
        }
        found.sort_unstable();
        found.dedup();
        Ok(Found::Points(found.into_iter().map(BytesMut::freeze).collect()))
    }
}

/// What one key column may be.
struct Candidates {
    column: usize,
    expressions: Vec<Expression>,
}

impl Candidates {
    fn of(part: &Expression, column: usize) -> Option<Self> {
        let is_column = |expression: &Expression| matches!(expression, Expression::Column(at) if *at == column);
        match part {
            Expression::Compare(Comparison::Equal, a, b) => {
                let other = if is_column(a) {
                    b
                } else if is_column(b) {
                    a
                } else {
                    return None;
                };
                let free = other.is_free_of_columns();
                free.then(|| Self { column, expressions: vec![other.as_ref().clone()] })
            }
            Expression::In(a, list) if is_column(a) && list.iter().all(Expression::is_free_of_columns) => {
                Some(Self { column, expressions: list.clone() })
            }
            _ => None,
        }
    }
}

fn bound_of(part: &Expression, column: usize) -> Option<(Comparison, Expression)> {
    let Expression::Compare(how, a, b) = part else { return None };
    let is_column = |expression: &Expression| matches!(expression, Expression::Column(at) if *at == column);
    if is_column(a) && b.is_free_of_columns() {
        return Some((*how, b.as_ref().clone()));
    }
    (is_column(b) && a.is_free_of_columns()).then(|| (how.mirrored(), a.as_ref().clone()))
}

fn split(condition: Expression, parts: &mut Vec<Expression>) {
    match condition {
        Expression::And(a, b) => {
            split(*a, parts);
            split(*b, parts);
        }
        other => parts.push(other),
    }
}

fn join(parts: Vec<Expression>) -> Option<Expression> {
    parts.into_iter().reduce(|a, b| Expression::And(Box::new(a), Box::new(b)))
}

/// The value as one of the key column's type that equals it; `None` if no such value exists.
pub(crate) fn exact(value: Value, of: crate::Type) -> Result<Option<Value>> {
    if value.is_null() {
        return Ok(None);
    }
    match value.clone().assign(of) {
        Ok(assigned) => {
            let equal = value.compare(&assigned)?;
            Ok((equal == Some(std::cmp::Ordering::Equal)).then_some(assigned))
        }
        Err(Error::OutOfRange(_) | Error::TextTooLong(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
