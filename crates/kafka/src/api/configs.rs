//! Configs: every name that Kafka has for a topic, with its value here.
//!
//! Seven of them have an effect. The others are kept and given back, because programs set them and check that they
//! were set. Names that Kafka does not have are refused.

use super::{Client, text};
use crate::codes::number;
use crate::reply::{Hangup, Room, To};
use ballast_streams::{Cleanup, Error, Result, Right, Settings, TimestampType, limits};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::HashSet;
use std::fmt;

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// The types of values, in Kafka's numbers.
#[derive(Clone, Copy)]
#[repr(i8)]
enum Type {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// What a value may be, beyond its type.
#[derive(Clone, Copy)]
enum Values {
    /// A whole number from the first to the second.
    Between(i64, i64),
    /// A number from 0 to 1.
    Share,
    /// One of these words; of a list, each.
    Of(&'static [&'static str]),
    /// Replicas of all partitions, or of some.
    Replicas,
}

use Values::{Between, Of, Replicas, Share};

const fn from(min: i64) -> Values {
    Between(min, i64::MAX)
}

const BOOLEAN: Values = Of(&["false", "true"]);
const CODECS: Values = Of(&["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"]);
const GZIP_LEVELS: Values = Of(&["-1", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
const BATCH_BYTES: Values = Between(0, limits::BATCH_BYTES_MAX as i64);

/// A config of a topic.
struct Config {
    name: &'static str,
    kind: Type,
    default: &'static str,
    values: Values,
}

const fn config(name: &'static str, kind: Type, default: &'static str, values: Values) -> Config {
    Config { name, kind, default, values }
}

/// The configs of a topic with their defaults and what they may be. Source: TopicConfig and LogConfig of Apache Kafka
/// 4.3; but `max.message.bytes` ends at what the log takes.
const TOPIC: &[Config] = &[
    config("cleanup.policy", Type::List, "delete", Of(&["compact", "delete"])),
    config("compression.gzip.level", Type::Int, "-1", GZIP_LEVELS),
    config("compression.lz4.level", Type::Int, "9", Between(1, 17)),
    config("compression.type", Type::String, "producer", CODECS),
    config("compression.zstd.level", Type::Int, "3", Between(-131_072, 22)),
    config("delete.retention.ms", Type::Long, "86400000", from(0)),
    config("file.delete.delay.ms", Type::Long, "60000", from(0)),
    config("flush.messages", Type::Long, "1", from(1)),
    config("flush.ms", Type::Long, "0", from(0)),
    config("follower.replication.throttled.replicas", Type::List, "", Replicas),
    config("index.interval.bytes", Type::Int, "4096", from(0)),
    config("leader.replication.throttled.replicas", Type::List, "", Replicas),
    config("local.retention.bytes", Type::Long, "-2", from(-2)),
    config("local.retention.ms", Type::Long, "-2", from(-2)),
    config("max.compaction.lag.ms", Type::Long, "9223372036854775807", from(1)),
    config("max.message.bytes", Type::Int, "1048588", BATCH_BYTES),
    config("message.timestamp.after.max.ms", Type::Long, "3600000", from(0)),
    config("message.timestamp.before.max.ms", Type::Long, "9223372036854775807", from(0)),
    config("message.timestamp.type", Type::String, "CreateTime", Of(&["CreateTime", "LogAppendTime"])),
    config("min.cleanable.dirty.ratio", Type::Double, "0.5", Share),
    config("min.compaction.lag.ms", Type::Long, "0", from(0)),
    config("min.insync.replicas", Type::Int, "1", from(1)),
    config("preallocate", Type::Boolean, "false", BOOLEAN),
    config("remote.storage.enable", Type::Boolean, "false", BOOLEAN),
    config("retention.bytes", Type::Long, "-1", from(i64::MIN)),
    config("retention.ms", Type::Long, "604800000", from(-1)),
    config("segment.bytes", Type::Int, "1073741824", from(1_048_576)),
    config("segment.index.bytes", Type::Int, "10485760", from(4)),
    config("segment.jitter.ms", Type::Long, "0", from(0)),
    config("segment.ms", Type::Long, "604800000", from(1)),
    config("unclean.leader.election.enable", Type::Boolean, "false", BOOLEAN),
];

impl Config {
    fn find(name: &str) -> Option<&'static Self> {
        TOPIC.iter().find(|config| config.name == name)
    }

    /// The value as it is kept; `None` if it cannot be one. Blanks around it and the case of booleans count for
    /// nothing, as in Kafka.
    fn normal(&self, value: &str) -> Option<String> {
        let value = value.trim();
        let normal = match self.kind {
            Type::Boolean => value.to_ascii_lowercase(),
            Type::Int => value.parse::<i32>().ok()?.to_string(),
            Type::Long => value.parse::<i64>().ok()?.to_string(),
            Type::Double | Type::String => value.to_owned(),
            Type::List => value.split(',').map(str::trim).collect::<Vec<_>>().join(","),
        };
        self.values.hold(&normal).then_some(normal)
    }

    fn refuse(&self, value: &str) -> Error {
        Error::InvalidSettings(format!("{value:?} is no value of {}: that is {}", self.name, self.values))
    }
}

impl Values {
    fn hold(self, value: &str) -> bool {
        let number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Between(min, max) => value.parse().is_ok_and(|value| (min..=max).contains(&value)),
            Share => value.parse().is_ok_and(|value| (0.0..=1.0).contains(&value)),
            Of(words) => value.split(',').all(|word| words.contains(&word)),
            Replicas => {
                let replica = |text: &str| {
                    text.is_empty() || text.split_once(':').is_some_and(|(id, broker)| number(id) && number(broker))
                };
                value == "*" || value.split(',').all(replica)
            }
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Between(i64::MIN, i64::MAX) => f.write_str("a whole number"),
            Between(min, i64::MAX) => write!(f, "a whole number, {min} or more"),
            Between(min, max) => write!(f, "a whole number from {min} to {max}"),
            Share => f.write_str("a number from 0 to 1"),
            Of(words) => write!(f, "one of {}", words.join(", ")),
            Replicas => f.write_str("*, or PARTITION:BROKER with commas between"),
        }
    }
}

/// What programs ask a broker for.
const BROKER: &[(&str, Type, &str)] = &[
    ("auto.create.topics.enable", Type::Boolean, "true"),
    ("compression.type", Type::String, "producer"),
    ("default.replication.factor", Type::Int, "1"),
    ("delete.topic.enable", Type::Boolean, "true"),
    ("log.cleanup.policy", Type::List, "delete"),
    ("log.message.timestamp.type", Type::String, "CreateTime"),
    ("log.retention.bytes", Type::Long, "-1"),
    ("log.retention.ms", Type::Long, "604800000"),
    ("message.max.bytes", Type::Int, "1048588"),
    ("min.insync.replicas", Type::Int, "1"),
    ("num.partitions", Type::Int, "1"),
    ("offsets.retention.minutes", Type::Int, "10080"),
];

/// One config as it is.
pub(super) struct Entry {
    pub name: &'static str,
    pub value: String,
    kind: Type,
    default: &'static str,
    set: bool,
}

impl Entry {
    pub fn source(&self) -> i8 {
        if self.set { SOURCE_TOPIC } else { SOURCE_DEFAULT }
    }
}

/// How many configs a topic has.
pub(super) const COUNT: usize = TOPIC.len();

/// All configs of a topic.
pub(super) fn topic(settings: &Settings) -> Vec<Entry> {
    let entry = |config: &Config| {
        let set = get(settings, config.name);
        let value = set.clone().unwrap_or_else(|| config.default.to_owned());
        Entry { name: config.name, value, kind: config.kind, default: config.default, set: set.is_some() }
    };
    TOPIC.iter().map(entry).collect()
}

fn get(settings: &Settings, name: &str) -> Option<String> {
    match name {
        "retention.ms" => settings.retention_ms.map(|ms| ms.to_string()),
        "retention.bytes" => settings.retention_bytes.map(|bytes| bytes.to_string()),
        // What is in force: more than the log takes may have been set.
        "max.message.bytes" => settings.batch_bytes_max.map(|_| settings.batch_bytes_max().to_string()),
        "message.timestamp.type" => settings.timestamp_type.map(|kind| match kind {
            TimestampType::CreateTime => "CreateTime".to_owned(),
            TimestampType::LogAppendTime => "LogAppendTime".to_owned(),
        }),
        "cleanup.policy" => settings.cleanup.map(|cleanup| match cleanup {
            Cleanup::Delete => "delete".to_owned(),
            Cleanup::Compact => "compact".to_owned(),
            Cleanup::CompactDelete => "compact,delete".to_owned(),
        }),
        other => settings.notes.get(other).cloned(),
    }
}

/// Sets a config, or takes it back to its default.
pub(super) fn set(settings: &mut Settings, name: &str, value: Option<&str>) -> Result<()> {
    let Some(config) = Config::find(name) else {
        return Err(Error::InvalidSettings(format!("there is no topic config {name:?}")));
    };
    let bad = || config.refuse(value.unwrap_or_default());
    let value = value.map(|value| config.normal(value).ok_or_else(bad)).transpose()?;
    let value = value.as_deref();
    match name {
        "retention.ms" => settings.retention_ms = value.map(str::parse).transpose().map_err(|_| bad())?,
        "retention.bytes" => settings.retention_bytes = value.map(str::parse).transpose().map_err(|_| bad())?,
        "max.message.bytes" => settings.batch_bytes_max = value.map(str::parse).transpose().map_err(|_| bad())?,
        "message.timestamp.type" => {
            settings.timestamp_type = match value {
                None => None,
                Some("CreateTime") => Some(TimestampType::CreateTime),
                Some("LogAppendTime") => Some(TimestampType::LogAppendTime),
                Some(_) => return Err(bad()),
            }
        }
        "cleanup.policy" => settings.cleanup = value.map(|value| cleanup(value).ok_or_else(bad)).transpose()?,
        other => match value {
            Some(value) => drop(settings.notes.insert(other.to_owned(), value.to_owned())),
            None => drop(settings.notes.remove(other)),
        },
    }
    Ok(())
}

fn cleanup(value: &str) -> Option<Cleanup> {
    let mut words: Vec<&str> = value.split(',').collect();
    words.sort_unstable();
    words.dedup();
    match words[..] {
        ["delete"] => Some(Cleanup::Delete),
        ["compact"] => Some(Cleanup::Compact),
        ["compact", "delete"] => Some(Cleanup::CompactDelete),
        _ => None,
    }
}

/// How one config is changed, in Kafka's numbers.
#[derive(Clone, Copy)]
enum Change {
    Set,
    Delete,
    Append,
    Subtract,
}

fn change(settings: &mut Settings, name: &str, how: Change, value: Option<&str>) -> Result<()> {
    let list = || {
        let config = Config::find(name)?;
        let now = get(settings, name).unwrap_or_else(|| config.default.to_owned());
        matches!(config.kind, Type::List)
            .then(|| now.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    };
    let missing = || Error::InvalidSettings(format!("{name} is given no value"));
    match how {
        // Kafka takes back what was never there, too.
        Change::Delete if Config::find(name).is_none() => Ok(()),
        Change::Delete => set(settings, name, None),
        Change::Set => set(settings, name, Some(value.ok_or_else(missing)?)),
        Change::Append | Change::Subtract => {
            let words: Option<Vec<String>> = list();
            let mut words = words.ok_or_else(|| Error::InvalidSettings(format!("{name} is no list")))?;
            for word in value.ok_or_else(missing)?.split(',').map(str::trim) {
                words.retain(|known| known != word);
                if matches!(how, Change::Append) {
                    words.push(word.to_owned());
                }
            }
            set(settings, name, Some(&words.join(",")))
        }
    }
}

type Refusal = (i16, StrBytes);

fn refused(code: ResponseError, why: &'static str) -> Refusal {
    (code.code(), StrBytes::from_static_str(why))
}

impl Client {
    pub(super) async fn describe_configs(
        &self,
        to: To,
        request: DescribeConfigsRequest,
    ) -> Result<DescribeConfigsResponse, Hangup> {
        let mut response = DescribeConfigsResponse::default();
        let mut room = Room::new(to);
        let mut seen = HashSet::new();
        for resource in request.resources {
            let (kind, name) = (resource.resource_type, resource.resource_name);
            // Each once, however often it is asked for.
            if !seen.insert((kind, name.clone())) {
                continue;
            }
            let entries = match kind {
                RESOURCE_TOPIC => match self.stream(&name, Right::Read).await {
                    Ok(stream) => Ok(topic(stream.settings())),
                    Err(error) => Err((number(&error), text(error.to_string()))),
                },
                RESOURCE_BROKER => Ok(self.broker_configs()),
                _ => Err(refused(ResponseError::InvalidRequest, "only topics and brokers have configs here")),
            };
            let result = DescribeConfigsResult::default().with_resource_type(kind).with_resource_name(name);
            let wanted = |entry: &Entry| match &resource.configuration_keys {
                Some(keys) => keys.iter().any(|key| key.as_str() == entry.name),
                None => true,
            };
            response.results.push(match entries {
                Ok(entries) => {
                    let synonyms = request.include_synonyms;
                    let entries: Vec<Entry> = entries.into_iter().filter(wanted).collect();
                    let copies = if synonyms { 2 } else { 1 };
                    let texts: usize = entries.iter().map(|entry| copies * entry.value.len()).sum();
                    room.take(1 + copies * entries.len(), texts)?;
                    let entries = entries.into_iter().map(|entry| described(to, kind, entry, synonyms));
                    result.with_configs(entries.collect())
                }
                Err((code, message)) => result.with_error_code(code).with_error_message(Some(message)),
            });
        }
        Ok(response)
    }

    fn broker_configs(&self) -> Vec<Entry> {
        let settings = &self.broker.settings;
        let entry = |(name, kind, default): &(&'static str, Type, &'static str)| {
            let value = match *name {
                "num.partitions" => settings.default_partitions.to_string(),
                "auto.create.topics.enable" => settings.auto_create.to_string(),
                _ => (*default).to_owned(),
            };
            Entry { name, value, kind: *kind, default, set: false }
        };
        BROKER.iter().map(entry).collect()
    }

    pub(super) async fn alter_configs(&self, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let mut response = AlterConfigsResponse::default();
        for resource in request.resources {
            let configs = resource.configs;
            // The old request names all that shall be set; the rest goes back to its default.
            let mut apply = |settings: &mut Settings| {
                *settings = Settings::default();
                configs
                    .iter()
                    .try_for_each(|config| change(settings, &config.name, Change::Set, config.value.as_deref()))
            };
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            let done = self.alter(kind, name, request.validate_only, &mut apply).await;
            let result = AlterConfigsResourceResponse::default()
                .with_resource_type(kind)
                .with_resource_name(resource.resource_name.clone());
            response.responses.push(match done {
                Ok(()) => result,
                Err((code, message)) => result.with_error_code(code).with_error_message(Some(message)),
            });
        }
        response
    }

    pub(super) async fn incremental_alter_configs(
        &self,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let mut response = IncrementalAlterConfigsResponse::default();
        for resource in request.resources {
            let configs = resource.configs;
            let mut apply = |settings: &mut Settings| {
                configs.iter().try_for_each(|config| {
                    let how = match config.config_operation {
                        0 => Change::Set,
                        1 => Change::Delete,
                        2 => Change::Append,
                        3 => Change::Subtract,
                        other => return Err(Error::InvalidSettings(format!("there is no operation {other}"))),
                    };
                    change(settings, &config.name, how, config.value.as_deref())
                })
            };
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            let done = self.alter(kind, name, request.validate_only, &mut apply).await;
            let result = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_resource_type(kind)
                .with_resource_name(resource.resource_name.clone());
            response.responses.push(match done {
                Ok(()) => result,
                Err((code, message)) => result.with_error_code(code).with_error_message(Some(message)),
            });
        }
        response
    }

    async fn alter(
        &self,
        kind: i8,
        name: &str,
        check_only: bool,
        apply: &mut (dyn FnMut(&mut Settings) -> Result<()> + Send),
    ) -> Result<(), Refusal> {
        if kind != RESOURCE_TOPIC {
            return Err(refused(ResponseError::InvalidRequest, "only the configs of topics can be changed here"));
        }
        let done = async {
            let stream = self.stream(name, Right::Modify).await?;
            if check_only {
                return apply(&mut stream.settings().clone());
            }
            self.broker.streams.change_settings(&self.call, &stream, apply).await
        };
        done.await.map_err(|error| (number(&error), text(error.to_string())))
    }
}

fn described(to: To, resource: i8, entry: Entry, synonyms: bool) -> DescribeConfigsResourceResult {
    let broker = resource == RESOURCE_BROKER;
    let source = if broker { SOURCE_STATIC_BROKER } else { entry.source() };
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(entry.name))
        .with_config_source(source)
        .with_read_only(broker);
    let result = if to.version >= 3 { result.with_config_type(entry.kind as i8) } else { result };
    if !synonyms {
        return result.with_value(Some(text(entry.value)));
    }
    let synonym = |value: String, source: i8| {
        let name = StrBytes::from_static_str(entry.name);
        DescribeConfigsSynonym::default().with_name(name).with_value(Some(text(value))).with_source(source)
    };
    let mut all = vec![synonym(entry.default.to_owned(), SOURCE_DEFAULT)];
    if entry.set {
        all.insert(0, synonym(entry.value.clone(), SOURCE_TOPIC));
    }
    result.with_value(Some(text(entry.value))).with_synonyms(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_given_back() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("retention.ms", "1000"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "500"),
            ("message.timestamp.type", "LogAppendTime"),
            ("cleanup.policy", "compact,delete"),
            ("segment.bytes", "1048576"),
        ] {
            set(&mut settings, name, Some(value)).unwrap();
            let entry = topic(&settings).into_iter().find(|entry| entry.name == name).unwrap();
            assert_eq!((entry.value.as_str(), entry.source()), (value, SOURCE_TOPIC));
            set(&mut settings, name, None).unwrap();
            let entry = topic(&settings).into_iter().find(|entry| entry.name == name).unwrap();
            assert_eq!((entry.value.as_str(), entry.source()), (entry.default, SOURCE_DEFAULT));
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        let mut settings = Settings::default();
        for (name, value) in
            [("no.such", "1"), ("retention.ms", "x"), ("preallocate", "yes"), ("cleanup.policy", "burn")]
        {
            assert!(matches!(set(&mut settings, name, Some(value)), Err(Error::InvalidSettings(_))), "{name}");
        }
    }

    #[test]
    fn values_that_kafka_does_not_take_are_refused() {
        for (name, values) in [
            ("cleanup.policy", &["burn", "delete,burn"][..]),
            ("compression.gzip.level", &["0", "10", "77", "-2"]),
            ("compression.lz4.level", &["0", "18"]),
            ("compression.type", &["gizp", "GZIP", "none", ""]),
            ("compression.zstd.level", &["23", "-131073"]),
            ("flush.messages", &["0"]),
            ("flush.ms", &["-1"]),
            ("index.interval.bytes", &["-1"]),
            ("leader.replication.throttled.replicas", &["foo", "1:", "1:2,*", "*,*", "1:2:3"]),
            ("local.retention.ms", &["-3"]),
            ("max.message.bytes", &["-1", "15728641", "2147483648"]),
            ("message.timestamp.after.max.ms", &["-1"]),
            ("message.timestamp.before.max.ms", &["-1", "9223372036854775808"]),
            ("message.timestamp.type", &["createtime"]),
            ("min.cleanable.dirty.ratio", &["5", "-0.1", "NaN", "inf", "x"]),
            ("min.insync.replicas", &["0"]),
            ("preallocate", &["yes", ""]),
            ("retention.ms", &["-2", "1.5", ""]),
            ("segment.bytes", &["1", "1048575"]),
            ("segment.ms", &["0"]),
        ] {
            for value in values {
                let refused = set(&mut Settings::default(), name, Some(value));
                assert!(matches!(refused, Err(Error::InvalidSettings(_))), "{name}={value}");
            }
        }
        let text = set(&mut Settings::default(), "max.message.bytes", Some("30000000")).unwrap_err().to_string();
        assert_eq!(text, "\"30000000\" is no value of max.message.bytes: that is a whole number from 0 to 15728640");
    }

    #[test]
    fn values_are_taken_as_kafka_spells_and_reads_them() {
        for (name, given, kept) in [
            ("retention.ms", " 1000 ", "1000"),
            ("retention.bytes", "-2", "-2"),
            ("preallocate", "TRUE", "true"),
            ("cleanup.policy", " compact , delete ", "compact,delete"),
            ("compression.type", "zstd ", "zstd"),
            ("compression.gzip.level", "-1", "-1"),
            ("max.message.bytes", "15728640", "15728640"),
            ("min.cleanable.dirty.ratio", "0.25", "0.25"),
            ("segment.ms", "+5", "5"),
            ("leader.replication.throttled.replicas", "0:1, 1:1", "0:1,1:1"),
            ("follower.replication.throttled.replicas", "*", "*"),
        ] {
            let mut settings = Settings::default();
            set(&mut settings, name, Some(given)).unwrap();
            assert_eq!(get(&settings, name).as_deref(), Some(kept), "{name}={given:?}");
        }
    }

    #[test]
    fn every_default_is_a_value() {
        for config in TOPIC {
            assert_eq!(config.normal(config.default).as_deref(), Some(config.default), "{}", config.name);
        }
    }

    #[test]
    fn taking_back_what_does_not_exist_changes_nothing() {
        let mut settings = Settings::default();
        change(&mut settings, "no.such", Change::Delete, None).unwrap();
        assert_eq!(settings, Settings::default());
        assert!(change(&mut settings, "no.such", Change::Set, Some("1")).is_err());
    }

    #[test]
    fn lists_are_changed_word_by_word() {
        let mut settings = Settings::default();
        change(&mut settings, "cleanup.policy", Change::Append, Some("compact")).unwrap();
        assert_eq!(settings.cleanup, Some(Cleanup::CompactDelete));
        change(&mut settings, "cleanup.policy", Change::Subtract, Some("delete")).unwrap();
        assert_eq!(settings.cleanup, Some(Cleanup::Compact));
        assert!(change(&mut settings, "retention.ms", Change::Append, Some("1")).is_err());
    }
}
