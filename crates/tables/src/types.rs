//! The types of columns and results.

use crate::{Error, Result};
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::sql::sqlparser::ast;
use std::collections::HashMap;

/// A column's type. Tags are persisted: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// At most 38 digits, of which `scale` behind the point; for [`Type::NUMERIC`] both are 0.
    Numeric {
        precision: u8,
        scale: u8,
    },
    Text,
    /// Text of at most so many characters.
    Varchar(u32),
    Bytea,
    Date,
    /// Microseconds, without a zone.
    Timestamp,
    /// Microseconds since the Unix epoch; shown in UTC.
    Timestamptz,
    Uuid,
    Json,
    Jsonb,
    /// A number of the system catalog. No column of a table has it.
    Oid,
}

/// Key of an Arrow field's metadata that names the type where Arrow's own is wider.
pub const TYPE_METADATA: &str = "ballast.type";

impl Type {
    /// `numeric` without a precision: each value has a scale of its own. A literal or a parameter may be that, a column is
    /// not: see [`Type::of_column`].
    pub const NUMERIC: Self = Self::Numeric { precision: 0, scale: 0 };

    /// What a column becomes that is declared so: its values have one scale.
    pub fn of_column(self) -> Self {
        if self == Self::NUMERIC { Self::Numeric { precision: 38, scale: 10 } } else { self }
    }

    /// Tag and two parameters, as they are persisted.
    pub fn to_bytes(self) -> [u8; 5] {
        let (tag, parameter): (u8, u32) = match self {
            Self::Bool => (1, 0),
            Self::Int2 => (2, 0),
            Self::Int4 => (3, 0),
            Self::Int8 => (4, 0),
            Self::Float4 => (5, 0),
            Self::Float8 => (6, 0),
            Self::Numeric { precision, scale } => (7, u32::from(precision) << 8 | u32::from(scale)),
            Self::Text => (8, 0),
            Self::Varchar(length) => (9, length),
            Self::Bytea => (10, 0),
            Self::Date => (11, 0),
            Self::Timestamp => (12, 0),
            Self::Timestamptz => (13, 0),
            Self::Uuid => (14, 0),
            Self::Json => (15, 0),
            Self::Jsonb => (16, 0),
            Self::Oid => (17, 0),
        };
        let [a, b, c, d] = parameter.to_le_bytes();
        [tag, a, b, c, d]
    }

    pub fn from_bytes(bytes: [u8; 5]) -> Option<Self> {
        let [tag, a, b, c, d] = bytes;
        Some(match tag {
            1 => Self::Bool,
            2 => Self::Int2,
            3 => Self::Int4,
            4 => Self::Int8,
            5 => Self::Float4,
            6 => Self::Float8,
            7 => Self::Numeric { precision: b, scale: a },
            8 => Self::Text,
            9 => Self::Varchar(u32::from_le_bytes([a, b, c, d])),
            10 => Self::Bytea,
            11 => Self::Date,
            12 => Self::Timestamp,
            13 => Self::Timestamptz,
            14 => Self::Uuid,
            15 => Self::Json,
            16 => Self::Jsonb,
            17 => Self::Oid,
            _ => return None,
        })
    }

    /// Bytes of a value in the fixed part of a row; `None` for those of variable length.
    pub fn fixed_len(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int2 => Some(2),
            Self::Int4 | Self::Float4 | Self::Date => Some(4),
            Self::Int8 | Self::Float8 | Self::Timestamp | Self::Timestamptz | Self::Oid => Some(8),
            Self::Numeric { .. } | Self::Uuid => Some(16),
            Self::Text | Self::Varchar(_) | Self::Bytea | Self::Json | Self::Jsonb => None,
        }
    }

    pub fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar(_) | Self::Json | Self::Jsonb)
    }

    pub fn is_integer(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid)
    }

    pub fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::Float4 | Self::Float8 | Self::Numeric { .. })
    }

    /// True for types with an order that keys can follow.
    pub fn can_be_key(self) -> bool {
        !matches!(self, Self::Json | Self::Jsonb | Self::Oid)
    }

    /// The name as PostgreSQL's `format_type` writes it.
    pub fn name(self) -> String {
        match self {
            Self::Varchar(length) => format!("character varying({length})"),
            Self::Numeric { precision, scale } if self != Self::NUMERIC => format!("numeric({precision},{scale})"),
            other => other.base_name().to_owned(),
        }
    }

    /// The name without its parameters.
    pub fn base_name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric { .. } => "numeric",
            Self::Text => "text",
            Self::Varchar(_) => "character varying",
            Self::Bytea => "bytea",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Oid => "oid",
        }
    }

    /// The Arrow type that queries compute with.
    pub fn to_arrow(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Oid => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::NUMERIC => self.of_column().to_arrow(),
            Self::Numeric { precision, scale } => {
                DataType::Decimal128(precision, i8::try_from(scale).expect("a scale is 38 at most"))
            }
            // A uuid is computed with as its text, so that it compares with literals as in PostgreSQL.
            Self::Text | Self::Varchar(_) | Self::Json | Self::Jsonb | Self::Uuid => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }

    /// A field of this type, marked where Arrow's type alone would lose it.
    pub fn to_field(self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.to_arrow(), nullable);
        match self {
            Self::Varchar(_) | Self::Uuid | Self::Json | Self::Jsonb | Self::Oid => {
                field.with_metadata(HashMap::from([(TYPE_METADATA.to_owned(), self.name())]))
            }
            _ => field,
        }
    }

    /// The type that a client sees of a field of a result.
    pub fn from_field(field: &Field) -> Self {
        if let Some(name) = field.metadata().get(TYPE_METADATA)
            && matches!(field.data_type(), DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Int64)
            && let Some(own) = Self::from_metadata(name)
        {
            return own;
        }
        Self::from_arrow(field.data_type())
    }

    fn from_metadata(name: &str) -> Option<Self> {
        match name {
            "uuid" => Some(Self::Uuid),
            "json" => Some(Self::Json),
            "jsonb" => Some(Self::Jsonb),
            "oid" => Some(Self::Oid),
            other => {
                let length = other.strip_prefix("character varying(")?.strip_suffix(')')?;
                Some(Self::Varchar(length.parse().ok()?))
            }
        }
    }

    /// The type of a parameter that meets this one: a number keeps its own digits.
    pub fn of_parameter(data_type: &DataType) -> Self {
        match Self::from_arrow(data_type) {
            Self::Numeric { .. } => Self::NUMERIC,
            other => other,
        }
    }

    /// What has no closer type becomes text.
    pub fn from_arrow(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2,
            DataType::Int32 | DataType::UInt16 => Self::Int4,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Int8,
            DataType::Float16 | DataType::Float32 => Self::Float4,
            DataType::Float64 => Self::Float8,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => {
                // Below zero, a scale says how many zeros follow.
                let precision = if *scale < 0 { precision.saturating_add(scale.unsigned_abs()) } else { *precision };
                Self::Numeric { precision: precision.min(38), scale: u8::try_from(*scale).unwrap_or(0) }
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytea
            }
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::Timestamptz,
            DataType::Dictionary(_, values) => Self::from_arrow(values),
            _ => Self::Text,
        }
    }

    /// Reads a type as SQL writes it.
    pub fn from_sql(sql: &ast::DataType) -> Result<Self> {
        use ast::DataType as Sql;
        let numeric = |size: &ast::ExactNumberInfo| match size {
            ast::ExactNumberInfo::None => Ok(Self::NUMERIC),
            ast::ExactNumberInfo::Precision(precision) => Self::numeric(*precision, 0),
            ast::ExactNumberInfo::PrecisionAndScale(precision, scale) => Self::numeric(*precision, *scale),
        };
        let varchar = |length: &Option<ast::CharacterLength>| match length {
            Some(ast::CharacterLength::IntegerLength { length, .. }) => match u32::try_from(*length) {
                Ok(length) if (1..=10_485_760).contains(&length) => Ok(Self::Varchar(length)),
                _ => Err(Error::InvalidParameter("length for type varchar must be 1 to 10485760".into())),
            },
            _ => Ok(Self::Text),
        };
        Ok(match sql {
            Sql::Boolean | Sql::Bool => Self::Bool,
            Sql::SmallInt(_) | Sql::Int2(_) => Self::Int2,
            Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => Self::Int4,
            Sql::BigInt(_) | Sql::Int8(_) => Self::Int8,
            Sql::Real | Sql::Float4 => Self::Float4,
            Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 => Self::Float8,
            Sql::Float(ast::ExactNumberInfo::Precision(bits)) if *bits <= 24 => Self::Float4,
            Sql::Float(_) => Self::Float8,
            Sql::Numeric(size) | Sql::Decimal(size) | Sql::Dec(size) => numeric(size)?,
            Sql::Text | Sql::String(_) => Self::Text,
            Sql::Varchar(length) | Sql::CharacterVarying(length) | Sql::CharVarying(length) => varchar(length)?,
            Sql::Bytea | Sql::Blob(_) => Self::Bytea,
            Sql::Date => Self::Date,
            Sql::Timestamp(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => Self::Timestamp,
            Sql::Timestamp(_, _) => Self::Timestamptz,
            Sql::Uuid => Self::Uuid,
            Sql::JSON => Self::Json,
            Sql::JSONB => Self::Jsonb,
            Sql::Custom(name, _) => Self::from_custom(&name.to_string().to_lowercase())?,
            other => return Err(Error::Unsupported(format!("type {other} is not supported"))),
        })
    }

    fn from_custom(name: &str) -> Result<Self> {
        match name.strip_prefix("pg_catalog.").unwrap_or(name) {
            "timestamptz" => Ok(Self::Timestamptz),
            "int2" => Ok(Self::Int2),
            "int4" => Ok(Self::Int4),
            "int8" => Ok(Self::Int8),
            "bool" => Ok(Self::Bool),
            "name" | "text" | "varchar" => Ok(Self::Text),
            "oid" => Ok(Self::Oid),
            "serial" | "bigserial" | "smallserial" => {
                Err(Error::Unsupported("serial columns are not supported: there are no sequences".into()))
            }
            other => Err(Error::UndefinedObject(format!("type \"{other}\" does not exist"))),
        }
    }

    fn numeric(precision: u64, scale: i64) -> Result<Self> {
        let (precision_ok, scale_ok) = (u8::try_from(precision), u8::try_from(scale));
        match (precision_ok, scale_ok) {
            (Ok(precision), Ok(scale)) if (1..=38).contains(&precision) && scale <= precision => {
                Ok(Self::Numeric { precision, scale })
            }
            _ => Err(Error::InvalidParameter(format!(
                "numeric({precision},{scale}) is not supported: precision is 1 to 38, scale 0 to the precision"
            ))),
        }
    }
}
