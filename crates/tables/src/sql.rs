//! From a statement's text to its answer.
//!
//! Reading order: [`depth`] (what is refused unread), [`dialect`] (the grammar), [`plan`] (what a statement is turned
//! into), [`expression`] (what we evaluate ourselves), [`query`], [`provider`] and [`engine`] (SELECT through
//! DataFusion), [`rewrite`], [`numbers`], [`membership`], [`rules`], [`casts`], [`checked`] and [`extremes`] (where that
//! would answer otherwise than PostgreSQL), [`computing`] and [`stopping`] (where it runs and how it ends), [`catalog`]
//! (what clients ask about tables).

pub(crate) mod arrow;
pub(crate) mod casts;
pub(crate) mod catalog;
pub(crate) mod checked;
pub(crate) mod computing;
pub(crate) mod depth;
pub(crate) mod dialect;
pub(crate) mod engine;
pub(crate) mod expression;
pub(crate) mod extremes;
pub(crate) mod membership;
pub(crate) mod numbers;
pub mod plan;
pub(crate) mod provider;
pub(crate) mod query;
pub(crate) mod rewrite;
pub(crate) mod rules;
pub(crate) mod stopping;

use crate::{Error, Result, limits};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

const DIALECT: dialect::Grammar = dialect::Grammar;

/// Reads a text of any number of statements.
pub(crate) fn parse(sql: &str) -> Result<Vec<ast::Statement>> {
    if sql.len() > limits::STATEMENT_BYTES_MAX {
        return Err(Error::TooLarge(format!("a statement can have at most {} bytes", limits::STATEMENT_BYTES_MAX)));
    }
    // The parser reads inline data behind `COPY … FROM STDIN` and wants the semicolon before it.
    let trimmed = sql.trim_end().trim_end_matches(';');
    let is_copy = trimmed.trim_start().get(..4).is_some_and(|head| head.eq_ignore_ascii_case("copy"));
    let text = if is_copy { std::borrow::Cow::Owned(format!("{trimmed};")) } else { sql.into() };
    let mut parser = parser(&text, limits::EXPRESSION_DEPTH_MAX * 2)?;
    parser.parse_statements().map_err(refused)
}

pub(crate) fn parse_expression(sql: &str) -> Result<ast::Expr> {
    parser(sql, limits::EXPRESSION_DEPTH_MAX)?.parse_expr().map_err(refused)
}

/// A parser of a text that is not too deep for the stack.
fn parser(sql: &str, nested_max: usize) -> Result<Parser<'static>> {
    let tokens = Tokenizer::new(&DIALECT, sql).tokenize_with_location();
    let tokens = tokens.map_err(|error| refused(error.into()))?;
    depth::check(&tokens)?;
    Ok(Parser::new(&DIALECT).with_recursion_limit(nested_max).with_tokens_with_locations(tokens))
}

fn refused(error: ParserError) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => depth::too_deep(),
        other => Error::Syntax(other.to_string()),
    }
}

/// An identifier as PostgreSQL reads it: folded to lower case unless quoted.
pub(crate) fn fold(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The parts of a dotted name.
pub(crate) fn name_parts(name: &ast::ObjectName) -> Result<Vec<String>> {
    let part = |part: &ast::ObjectNamePart| match part {
        ast::ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
        ast::ObjectNamePart::Function(_) => Err(Error::InvalidName(format!("{name} is not a name"))),
    };
    name.0.iter().map(part).collect()
}
