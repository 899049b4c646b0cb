//! How deep the tree of a statement can get, told from its tokens.
//!
//! The parser reads `1 + 1 + 1 …` in a loop and makes a tree as deep as there are operators. Whatever goes through that
//! tree later calls itself once a level, its removal too, and would leave the stack: then the whole process ends. So what is
//! too deep is refused before there is a tree.
//!
//! The measure is never too small. Lists are flat: a comma begins anew, except between joined and common tables, which
//! DataFusion lays one above the other.

use crate::{Error, Result, limits};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Refuses a text with a statement that is too deep.
pub(crate) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = Levels::default();
    for token in tokens {
        levels.take(&token.token);
        if levels.deepest > limits::STATEMENT_DEPTH_MAX || levels.around.len() > limits::STATEMENT_DEPTH_MAX {
            return Err(too_deep());
        }
    }
    levels.end();
    if levels.deepest > limits::STATEMENT_DEPTH_MAX { Err(too_deep()) } else { Ok(()) }
}

pub(crate) fn too_deep() -> Error {
    Error::TooComplex("the statement is too complex: write long chains of operators as lists, or split it".into())
}

/// What lies between two brackets, or outside of all.
#[derive(Debug, Default)]
struct Level {
    /// Of everything that commas do not part.
    fixed: usize,
    /// ANDs and ORs since the last comma.
    conditions: usize,
    /// Other operators since the last of either: they bind closer.
    operators: usize,
    /// The most of those between two conditions.
    operators_max: usize,
    /// The depth of the deepest item of a list so far.
    item_max: usize,
    /// The depth of the deepest brackets inside.
    inside: usize,
    listing: Listing,
}

/// What a comma stands between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Listing {
    #[default]
    Values,
    /// Behind FROM, or whatever follows it up to the next SELECT.
    Tables,
    /// Behind WITH: each may read the one before.
    CommonTables,
}

impl Level {
    fn depth(&self) -> usize {
        self.fixed + self.item_max.max(self.item()) + self.inside + 1
    }

    /// The depth of what stands between the last comma and here.
    fn item(&self) -> usize {
        self.conditions + self.operators_max.max(self.operators)
    }

    fn condition(&mut self) {
        self.operators_max = self.operators_max.max(self.operators);
        self.operators = 0;
        self.conditions += 1;
    }

    fn comma(&mut self) {
        self.item_max = self.item_max.max(self.item());
        (self.conditions, self.operators, self.operators_max) = (0, 0, 0);
        if self.listing != Listing::Values {
            self.fixed += limits::TABLE_DEPTH;
        }
    }

    fn close(&mut self, inside: usize) {
        match self.listing {
            Listing::CommonTables => self.fixed += inside,
            _ => self.inside = self.inside.max(inside),
        }
    }
}

#[derive(Default)]
struct Levels {
    around: Vec<Level>,
    here: Level,
    deepest: usize,
    /// The two tokens before, as keywords.
    before: [Option<Keyword>; 2],
    /// Points of the name that is being read.
    points: usize,
    /// Whether a word here would be a name, whatever it is elsewhere.
    names_next: bool,
}

/// Stands for a closing bracket among the keywords before.
const CLOSED: Option<Keyword> = Some(Keyword::NoKeyword);

impl Levels {
    fn take(&mut self, token: &Token) {
        let mut keyword = None;
        match token {
            Token::Whitespace(_) | Token::EOF => return,
            Token::Comma => self.here.comma(),
            Token::SemiColon => self.end(),
            Token::LParen | Token::LBracket | Token::LBrace => {
                // An index or a type of arrays stands upon what is before it.
                self.here.operators += usize::from(*token == Token::LBracket);
                self.around.push(std::mem::take(&mut self.here));
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.close();
                keyword = CLOSED;
            }
            Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => {
                self.keyword(word.keyword);
                keyword = Some(word.keyword);
            }
            Token::Period => {
                self.points += 1;
                // `directory.table.column` is one name, and whatever has more points is a path into a value.
                self.here.operators += usize::from(self.points > 2);
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::Placeholder(_)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_) => {}
            _ => self.here.operators += 1,
        }
        if !matches!(token, Token::Period | Token::Word(_)) {
            self.points = 0;
        }
        self.before = [keyword, self.before[0]];
        let behind = |keyword| {
            use Keyword::{APPLY, AS, FROM, INTO, JOIN, LATERAL, ONLY, TABLE, UPDATE, USING};
            matches!(keyword, APPLY | AS | FROM | INTO | JOIN | LATERAL | ONLY | TABLE | UPDATE | USING)
        };
        self.names_next = matches!(token, Token::Comma | Token::Period) || keyword.is_some_and(behind);
        self.deepest = self.deepest.max(self.here.depth());
    }

    fn keyword(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::AND | Keyword::OR | Keyword::XOR => {
                self.here.condition();
                self.points = 0;
            }
            Keyword::NOT
            | Keyword::IS
            | Keyword::NOTNULL
            | Keyword::IN
            | Keyword::BETWEEN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::SIMILAR
            | Keyword::MATCH
            | Keyword::MEMBER
            | Keyword::OVERLAPS
            | Keyword::OPERATOR
            | Keyword::COLLATE
            | Keyword::DIV
            | Keyword::AT => {
                self.here.operators += 1;
                self.points = 0;
            }
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::MINUS => {
                self.here.fixed += limits::SET_OPERATION_DEPTH;
            }
            Keyword::JOIN | Keyword::APPLY | Keyword::PIVOT | Keyword::UNPIVOT | Keyword::MATCH_RECOGNIZE => {
                self.here.fixed += limits::TABLE_DEPTH;
            }
            Keyword::FROM | Keyword::USING => self.here.listing = Listing::Tables,
            Keyword::WITH => self.here.listing = Listing::CommonTables,
            // No table is called so behind another, and behind it there are no tables.
            Keyword::WHERE | Keyword::GROUP | Keyword::HAVING | Keyword::ORDER | Keyword::SET | Keyword::RETURNING
                if !self.names_next =>
            {
                self.here.listing = Listing::Values;
            }
            // `timestamp with time zone`.
            Keyword::ZONE if self.before == [Some(Keyword::TIME), Some(Keyword::WITH)] => {
                self.here.listing = Listing::Values;
            }
            // Anywhere else it is a name.
            Keyword::SELECT if self.before[0] == CLOSED || self.before[0].is_some_and(joins_queries) => {
                self.here.listing = Listing::Values;
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        let Some(mut around) = self.around.pop() else { return };
        around.close(self.here.depth());
        self.here = around;
    }

    /// A statement ends here, whatever is still open.
    fn end(&mut self) {
        while !self.around.is_empty() {
            self.close();
        }
        self.deepest = self.deepest.max(self.here.depth());
        self.here = Level::default();
    }
}

fn joins_queries(keyword: Keyword) -> bool {
    use Keyword::{ALL, DISTINCT, EXCEPT, INTERSECT, MINUS, NAME, UNION};
    matches!(keyword, UNION | EXCEPT | INTERSECT | MINUS | ALL | DISTINCT | NAME)
}
