//! From SQL's syntax to an expression, with types.

use super::{Arithmetic, Comparison, Expression, Function};
use crate::sql::fold;
use crate::value::{Decimal, Text, text};
use crate::{Error, Type, Value, limits};
use datafusion::sql::sqlparser::ast;

/// Why an expression was not compiled.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It may be fine, but it is not for us: take the way through the planner.
    Fallback,
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

type Compiled<T> = std::result::Result<T, Stop>;

/// A column that an expression may name.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) column_type: Type,
    /// False for columns that only a table's name in front reaches, as `excluded.x`.
    pub(crate) bare: bool,
}

/// The columns of the row that an expression is evaluated over, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(pub(crate) Vec<ScopeColumn>);

impl Scope {
    pub(crate) fn find(&self, table: Option<&str>, name: &str) -> Result<usize, Error> {
        let fits =
            |column: &&ScopeColumn| column.name == name && table.map_or(column.bare, |table| column.table == table);
        let at = self.0.iter().position(|column| fits(&column));
        at.ok_or_else(|| match table {
            Some(table) => Error::UndefinedColumn(format!("{table}.{name}")),
            None => Error::UndefinedColumn(name.to_owned()),
        })
    }
}

/// An expression and its type; `None` while nothing has decided it: a string literal, a null, a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expression: Expression,
    pub(crate) of: Option<Type>,
}

/// Compiles the expressions of one statement, and learns the types of its parameters on the way.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    /// By parameter number from 0; what the client declared is there from the start.
    pub(crate) parameters: Vec<Option<Type>>,
    depth: usize,
}

impl Compiler {
    pub(crate) fn new(declared: &[Option<Type>]) -> Self {
        Self { parameters: declared.to_vec(), depth: 0 }
    }

    /// Compiles and fits the expression to a column of the type, as an assignment does.
    pub(crate) fn assignment(&mut self, expr: &ast::Expr, scope: &Scope, to: Type) -> Compiled<Expression> {
        let typed = self.compile(expr, scope)?;
        if typed.of.is_some_and(|of| !assignable(of, to)) {
            let of = typed.of.map_or("unknown", Type::base_name);
            let text = format!("column is of type {} but expression is of type {of}", to.base_name());
            return Err(Error::TypeMismatch(text).into());
        }
        if to.is_text() { self.as_text(typed, to) } else { self.decide(typed, to) }
    }

    /// As text, spelled by the type that it has; `to` is what it becomes if it has none.
    fn as_text(&mut self, typed: Typed, to: Type) -> Compiled<Expression> {
        match typed.of {
            Some(of) if !of.is_text() => Ok(Expression::Print(Box::new(typed.expression), of)),
            _ => self.decide(typed, to),
        }
    }

    /// Gives an undecided expression its type. A literal is parsed now.
    pub(crate) fn decide(&mut self, typed: Typed, to: Type) -> Compiled<Expression> {
        if typed.of.is_some() {
            return Ok(typed.expression);
        }
        Ok(match typed.expression {
            Expression::Constant(Value::Text(literal)) => Expression::Constant(text::parse(literal.as_str(), to)?),
            Expression::Parameter(number) => {
                self.parameters[number].get_or_insert(to);
                Expression::Parameter(number)
            }
            other => other,
        })
    }

    pub(crate) fn condition(&mut self, expr: &ast::Expr, scope: &Scope) -> Compiled<Expression> {
        let typed = self.compile(expr, scope)?;
        match typed.of {
            None | Some(Type::Bool) => self.decide(typed, Type::Bool),
            Some(_) => Err(Error::TypeMismatch("argument of WHERE must be type boolean".into()).into()),
        }
    }

    pub(crate) fn compile(&mut self, expr: &ast::Expr, scope: &Scope) -> Compiled<Typed> {
        if self.depth >= limits::EXPRESSION_DEPTH_MAX {
            return Err(Stop::Fallback);
        }
        self.depth += 1;
        let compiled = self.compile_one(expr, scope);
        self.depth -= 1;
        compiled
    }

    fn compile_one(&mut self, expr: &ast::Expr, scope: &Scope) -> Compiled<Typed> {
        let typed = |expression, of| Ok(Typed { expression, of: Some(of) });
        match expr {
            ast::Expr::Nested(inner) => self.compile(inner, scope),
            ast::Expr::Value(value) => self.literal(&value.value),
            ast::Expr::Identifier(name) => {
                let at = scope.find(None, &fold(name));
                let at = match at {
                    Ok(at) => at,
                    // Some functions are written without parentheses.
                    Err(error) => return self.keyword(name).ok_or(Stop::Error(error)),
                };
                typed(Expression::Column(at), scope.0[at].column_type)
            }
            ast::Expr::CompoundIdentifier(parts) => {
                let [.., table, name] = parts.as_slice() else { return Err(Stop::Fallback) };
                let at = scope.find(Some(&fold(table)), &fold(name))?;
                typed(Expression::Column(at), scope.0[at].column_type)
            }
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } => {
                let inner = self.condition(expr, scope)?;
                typed(Expression::Not(Box::new(inner)), Type::Bool)
            }
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
                let inner = self.compile(expr, scope)?;
                let of = inner.of.filter(|of| of.is_number()).ok_or(Stop::Fallback)?;
                match inner.expression {
                    Expression::Constant(Value::Int(number)) => {
                        let number = number.checked_neg().ok_or(Stop::Fallback)?;
                        typed(Expression::Constant(Value::Int(number)), of)
                    }
                    other => typed(Expression::Negate(Box::new(other)), of),
                }
            }
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Plus, expr } => self.compile(expr, scope),
            ast::Expr::IsNull(inner) => {
                let inner = self.any(inner, scope)?;
                typed(Expression::IsNull(Box::new(inner)), Type::Bool)
            }
            ast::Expr::IsNotNull(inner) => {
                let inner = Expression::IsNull(Box::new(self.any(inner, scope)?));
                typed(Expression::Not(Box::new(inner)), Type::Bool)
            }
            ast::Expr::IsTrue(inner) => {
                let inner = self.condition(inner, scope)?;
                typed(Expression::IsTrue(Box::new(inner)), Type::Bool)
            }
            ast::Expr::IsFalse(inner) => {
                let inner = self.condition(inner, scope)?;
                typed(Expression::IsFalse(Box::new(inner)), Type::Bool)
            }
            ast::Expr::IsNotDistinctFrom(a, b) => {
                let (a, b, _) = self.pair(a, b, scope)?;
                typed(Expression::Same(Box::new(a), Box::new(b)), Type::Bool)
            }
            ast::Expr::IsDistinctFrom(a, b) => {
                let (a, b, _) = self.pair(a, b, scope)?;
                let same = Expression::Same(Box::new(a), Box::new(b));
                typed(Expression::Not(Box::new(same)), Type::Bool)
            }
            ast::Expr::InList { expr, list, negated } => {
                let first = self.compile(expr, scope)?;
                let of = first.of.ok_or(Stop::Fallback)?;
                let mut candidates = Vec::with_capacity(list.len());
                for item in list {
                    let item = self.compile(item, scope)?;
                    candidates.push(self.comparable(item, of)?);
                }
                let found = Expression::In(Box::new(first.expression), candidates);
                typed(if *negated { Expression::Not(Box::new(found)) } else { found }, Type::Bool)
            }
            ast::Expr::Between { expr, negated, low, high } => {
                let (a, low, _) = self.pair(expr, low, scope)?;
                let (b, high, _) = self.pair(expr, high, scope)?;
                let above = Expression::Compare(Comparison::GreaterOrEqual, Box::new(a), Box::new(low));
                let below = Expression::Compare(Comparison::LessOrEqual, Box::new(b), Box::new(high));
                let both = Expression::And(Box::new(above), Box::new(below));
                typed(if *negated { Expression::Not(Box::new(both)) } else { both }, Type::Bool)
            }
            ast::Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
                let to = Type::from_sql(data_type).map_err(|_| Stop::Fallback)?;
                self.cast(expr, to, scope)
            }
            ast::Expr::TypedString(typed_string) => {
                let to = Type::from_sql(&typed_string.data_type).map_err(|_| Stop::Fallback)?;
                let literal = self.literal(&typed_string.value.value)?;
                typed(self.decide(literal, to)?, to)
            }
            ast::Expr::Case { operand: None, conditions, else_result, .. } => {
                let mut arms = Vec::new();
                let mut results = Vec::new();
                for arm in conditions {
                    arms.push(self.condition(&arm.condition, scope)?);
                    results.push(self.compile(&arm.result, scope)?);
                }
                results.push(match else_result {
                    Some(otherwise) => self.compile(otherwise, scope)?,
                    None => Typed { expression: Expression::Constant(Value::Null), of: None },
                });
                let (mut results, of) = self.common(results)?;
                let otherwise = results.pop().ok_or(Stop::Fallback)?;
                let arms = arms.into_iter().zip(results).collect();
                typed(Expression::Case(arms, Box::new(otherwise)), of)
            }
            ast::Expr::Function(function) => self.function(function, scope),
            _ => Err(Stop::Fallback),
        }
    }

    fn cast(&mut self, expr: &ast::Expr, to: Type, scope: &Scope) -> Compiled<Typed> {
        let inner = self.compile(expr, scope)?;
        // To a length, it is cut; an assignment would refuse what is too long.
        let cuts = matches!(to, Type::Varchar(_));
        let undecided = inner.of.is_none() && !cuts;
        let uncut = if cuts { Type::Text } else { to };
        let expression = if to.is_text() { self.as_text(inner, uncut)? } else { self.decide(inner, to)? };
        // A literal has become the type already; a parameter is declared as it.
        let expression = if undecided { expression } else { Expression::Cast(Box::new(expression), to) };
        Ok(Typed { expression, of: Some(to) })
    }

    fn any(&mut self, expr: &ast::Expr, scope: &Scope) -> Compiled<Expression> {
        let typed = self.compile(expr, scope)?;
        let of = typed.of.unwrap_or(Type::Text);
        self.decide(typed, of)
    }

    fn keyword(&self, name: &ast::Ident) -> Option<Typed> {
        let function = match (name.quote_style, name.value.to_lowercase().as_str()) {
            (None, "current_timestamp") => Function::Now,
            (None, "current_date") => Function::CurrentDate,
            _ => return None,
        };
        Some(Typed { expression: Expression::Call(function, Vec::new()), of: Some(function.signature().1) })
    }

    fn literal(&mut self, value: &ast::Value) -> Compiled<Typed> {
        let undecided = |value| Ok(Typed { expression: Expression::Constant(value), of: None });
        let decided = |value, of| Ok(Typed { expression: Expression::Constant(value), of: Some(of) });
        match value {
            ast::Value::Null => undecided(Value::Null),
            ast::Value::Boolean(value) => decided(Value::Bool(*value), Type::Bool),
            ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => {
                undecided(Value::Text(Text::new(text.clone().into())?))
            }
            ast::Value::DollarQuotedString(text) => undecided(Value::Text(Text::new(text.value.clone().into())?)),
            ast::Value::Number(digits, _) => match digits.parse::<i64>() {
                Ok(number) if i32::try_from(number).is_ok() => decided(Value::Int(number), Type::Int4),
                Ok(number) => decided(Value::Int(number), Type::Int8),
                Err(_) => {
                    let number = Decimal::parse(digits).ok_or(Stop::Fallback)?;
                    decided(Value::Numeric(number), Type::NUMERIC)
                }
            },
            ast::Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                let number = number.filter(|number| (1..=limits::PARAMETERS_MAX).contains(number));
                let number = number.ok_or_else(|| Error::Syntax(format!("at or near \"{name}\"")))? - 1;
                if self.parameters.len() <= number {
                    self.parameters.resize(number + 1, None);
                }
                Ok(Typed { expression: Expression::Parameter(number), of: self.parameters[number] })
            }
            _ => Err(Stop::Fallback),
        }
    }

    fn binary(
        &mut self,
        left: &ast::Expr,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        scope: &Scope,
    ) -> Compiled<Typed> {
        use ast::BinaryOperator as Op;
        let typed = |expression, of| Ok(Typed { expression, of: Some(of) });
        let comparison = match op {
            Op::Eq => Some(Comparison::Equal),
            Op::NotEq => Some(Comparison::NotEqual),
            Op::Lt => Some(Comparison::Less),
            Op::LtEq => Some(Comparison::LessOrEqual),
            Op::Gt => Some(Comparison::Greater),
            Op::GtEq => Some(Comparison::GreaterOrEqual),
            _ => None,
        };
        if let Some(comparison) = comparison {
            let (a, b, _) = self.pair(left, right, scope)?;
            return typed(Expression::Compare(comparison, Box::new(a), Box::new(b)), Type::Bool);
        }
        let arithmetic = match op {
            Op::And | Op::Or => {
                let (a, b) = (self.condition(left, scope)?, self.condition(right, scope)?);
                let (a, b) = (Box::new(a), Box::new(b));
                let both = if matches!(op, Op::And) { Expression::And(a, b) } else { Expression::Or(a, b) };
                return typed(both, Type::Bool);
            }
            Op::StringConcat => {
                let (a, b) = (self.compile(left, scope)?, self.compile(right, scope)?);
                let text = |of: Option<Type>| of.is_none_or(Type::is_text);
                if !text(a.of) && !text(b.of) {
                    return Err(Stop::Fallback);
                }
                let (a, b) = (self.as_text(a, Type::Text)?, self.as_text(b, Type::Text)?);
                return typed(Expression::Concatenate(Box::new(a), Box::new(b)), Type::Text);
            }
            Op::Plus => Arithmetic::Add,
            Op::Minus => Arithmetic::Subtract,
            Op::Multiply => Arithmetic::Multiply,
            Op::Divide => Arithmetic::Divide,
            Op::Modulo => Arithmetic::Remainder,
            _ => return Err(Stop::Fallback),
        };
        let (a, b) = (self.compile(left, scope)?, self.compile(right, scope)?);
        let moves_date = matches!(arithmetic, Arithmetic::Add | Arithmetic::Subtract);
        if a.of == Some(Type::Date) && moves_date && b.of.is_some_and(Type::is_integer) {
            let (a, b) = (Box::new(a.expression), Box::new(b.expression));
            return typed(Expression::Arithmetic(arithmetic, a, b, Type::Date), Type::Date);
        }
        let of = match (a.of, b.of) {
            (Some(a), Some(b)) => widest(a, b).ok_or(Stop::Fallback)?,
            (Some(known), None) | (None, Some(known)) if known.is_number() => known,
            _ => return Err(Stop::Fallback),
        };
        let divides = matches!(arithmetic, Arithmetic::Divide | Arithmetic::Remainder);
        if matches!(of, Type::Numeric { .. }) && divides {
            return Err(Stop::Fallback);
        }
        let (a, b) = (self.decide(a, of)?, self.decide(b, of)?);
        typed(Expression::Arithmetic(arithmetic, Box::new(a), Box::new(b), of), of)
    }

    /// Both sides of a comparison, made comparable.
    fn pair(&mut self, left: &ast::Expr, right: &ast::Expr, scope: &Scope) -> Compiled<(Expression, Expression, Type)> {
        let (a, b) = (self.compile(left, scope)?, self.compile(right, scope)?);
        match (a.of, b.of) {
            (Some(of), _) => {
                let b = self.comparable(b, of)?;
                Ok((a.expression, b, of))
            }
            (None, Some(of)) => Ok((self.decide(a, of)?, b.expression, of)),
            (None, None) => Ok((self.decide(a, Type::Text)?, self.decide(b, Type::Text)?, Type::Text)),
        }
    }

    fn comparable(&mut self, typed: Typed, with: Type) -> Compiled<Expression> {
        let Some(of) = typed.of else { return self.decide(typed, without_length(with)) };
        let moments = |of| matches!(of, Type::Date | Type::Timestamp | Type::Timestamptz);
        let same = of == with || (of.is_number() && with.is_number()) || (of.is_text() && with.is_text());
        if same || (moments(of) && moments(with)) {
            return Ok(typed.expression);
        }
        // A client that declares every string as text still means the column's type.
        match typed.expression {
            Expression::Parameter(_) if of.is_text() => Ok(Expression::Cast(Box::new(typed.expression), with)),
            _ => {
                let (a, b) = (with.base_name(), of.base_name());
                Err(Error::UndefinedFunction(format!("operator does not exist: {a} = {b}")).into())
            }
        }
    }

    fn function(&mut self, function: &ast::Function, scope: &Scope) -> Compiled<Typed> {
        let plain = function.filter.is_none() && function.over.is_none() && function.within_group.is_empty();
        let name = function.name.to_string().to_lowercase();
        let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
        let mut arguments = Vec::new();
        match &function.args {
            ast::FunctionArguments::None => {}
            ast::FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
                for argument in &list.args {
                    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = argument else {
                        return Err(Stop::Fallback);
                    };
                    arguments.push(expr);
                }
            }
            _ => return Err(Stop::Fallback),
        }
        let found = Function::find(name, arguments.len()).filter(|_| plain).ok_or(Stop::Fallback)?;
        let compiled = arguments.into_iter().map(|argument| self.compile(argument, scope));
        let compiled = compiled.collect::<Compiled<Vec<_>>>()?;
        if found.keeps_type() {
            let (arguments, of) = self.common(compiled)?;
            return Ok(Typed { expression: Expression::Call(found, arguments), of: Some(of) });
        }
        let (wanted, of) = found.signature();
        if let Some(wanted) = wanted
            && compiled.iter().any(|argument| argument.of.is_some_and(|of| !of.is_text() && of != wanted))
        {
            return Err(Stop::Fallback);
        }
        let decided = compiled.into_iter().map(|argument| self.decide(argument, Type::Text));
        let arguments = decided.collect::<Compiled<Vec<_>>>()?;
        Ok(Typed { expression: Expression::Call(found, arguments), of: Some(of) })
    }

    /// Several expressions of which any may be the result.
    fn common(&mut self, typed: Vec<Typed>) -> Compiled<(Vec<Expression>, Type)> {
        let mut of: Option<Type> = None;
        for next in typed.iter().filter_map(|typed| typed.of) {
            of = Some(match of {
                None => next,
                Some(of) if of == next => of,
                Some(of) if of.is_text() && next.is_text() => Type::Text,
                Some(of) => widest(of, next).ok_or(Stop::Fallback)?,
            });
        }
        let of = of.unwrap_or(Type::Text);
        let decided = typed.into_iter().map(|typed| {
            let cast = typed.of.is_some_and(|from| from != of && !of.is_text());
            let expression = self.decide(typed, of)?;
            Ok(if cast { Expression::Cast(Box::new(expression), of) } else { expression })
        });
        Ok((decided.collect::<Compiled<Vec<_>>>()?, of))
    }
}

/// A literal that is compared with a varchar may be longer than it: then they differ, which is no error.
fn without_length(of: Type) -> Type {
    match of {
        Type::Varchar(_) => Type::Text,
        // More digits than the column has may be compared as well.
        Type::Numeric { .. } => Type::NUMERIC,
        other => other,
    }
}

/// The type that two numbers meet in.
fn widest(a: Type, b: Type) -> Option<Type> {
    let rank = |of| match of {
        Type::Int2 => Some(0),
        Type::Int4 => Some(1),
        Type::Int8 | Type::Oid => Some(2),
        Type::Numeric { .. } => Some(3),
        Type::Float4 => Some(4),
        Type::Float8 => Some(5),
        _ => None,
    };
    let (first, second) = (rank(a)?, rank(b)?);
    Some(match first.max(second) {
        3 => Type::NUMERIC,
        4 if first != second => Type::Float8,
        _ if first >= second => a,
        _ => b,
    })
}

/// Whether SQL converts the one to the other in an assignment without being asked.
fn assignable(of: Type, to: Type) -> bool {
    let moments = |of| matches!(of, Type::Date | Type::Timestamp | Type::Timestamptz);
    let text = |of: Type| of.is_text();
    std::mem::discriminant(&of) == std::mem::discriminant(&to)
        || (of.is_number() && to.is_number())
        || (moments(of) && moments(to))
        || matches!(to, Type::Text | Type::Varchar(_))
        // Drivers declare strings as text and mean the column's type.
        || text(of)
}
