//! Configs: every name that Kafka has for a topic, with its value here.
//!
//! Seven of them have an effect. The others are kept and given back, because programs set them and check that they
//! were set. Names that Kafka does not have are refused.

use super::{Client, text};
use crate::codes::number;
use crate::reply::{Hangup, Room, To};
use ballast_streams::{Cleanup, Error, Result, Right, Settings, TimestampType};
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

/// The configs of a topic with their defaults. Source: TopicConfig of Apache Kafka 4.1.
const TOPIC: &[(&str, Type, &str)] = &[
    ("cleanup.policy", Type::List, "delete"),
    ("compression.gzip.level", Type::Int, "-1"),
    ("compression.lz4.level", Type::Int, "9"),
    ("compression.type", Type::String, "producer"),
    ("compression.zstd.level", Type::Int, "3"),
    ("delete.retention.ms", Type::Long, "86400000"),
    ("file.delete.delay.ms", Type::Long, "60000"),
    ("flush.messages", Type::Long, "1"),
    ("flush.ms", Type::Long, "0"),
    ("follower.replication.throttled.replicas", Type::List, ""),
    ("index.interval.bytes", Type::Int, "4096"),
    ("leader.replication.throttled.replicas", Type::List, ""),
    ("local.retention.bytes", Type::Long, "-2"),
    ("local.retention.ms", Type::Long, "-2"),
    ("max.compaction.lag.ms", Type::Long, "9223372036854775807"),
    ("max.message.bytes", Type::Int, "1048588"),
    ("message.timestamp.after.max.ms", Type::Long, "3600000"),
    ("message.timestamp.before.max.ms", Type::Long, "9223372036854775807"),
    ("message.timestamp.type", Type::String, "CreateTime"),
    ("min.cleanable.dirty.ratio", Type::Double, "0.5"),
    ("min.compaction.lag.ms", Type::Long, "0"),
    ("min.insync.replicas", Type::Int, "1"),
    ("preallocate", Type::Boolean, "false"),
    ("remote.storage.enable", Type::Boolean, "false"),
    ("retention.bytes", Type::Long, "-1"),
    ("retention.ms", Type::Long, "604800000"),
    ("segment.bytes", Type::Int, "1073741824"),
    ("segment.index.bytes", Type::Int, "10485760"),
    ("segment.jitter.ms", Type::Long, "0"),
    ("segment.ms", Type::Long, "604800000"),
    ("unclean.leader.election.enable", Type::Boolean, "false"),
];

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
    let entry = |(name, kind, default): &(&'static str, Type, &'static str)| {
        let set = get(settings, name);
        let value = set.clone().unwrap_or_else(|| (*default).to_owned());
        Entry { name, value, kind: *kind, default, set: set.is_some() }
    };
    TOPIC.iter().map(entry).collect()
}

fn get(settings: &Settings, name: &str) -> Option<String> {
    match name {
        "retention.ms" => settings.retention_ms.map(|ms| ms.to_string()),
        "retention.bytes" => settings.retention_bytes.map(|bytes| bytes.to_string()),
        "max.message.bytes" => settings.batch_bytes_max.map(|bytes| bytes.to_string()),
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
    let Some((_, kind, _)) = TOPIC.iter().find(|(known, ..)| *known == name) else {
        return Err(Error::InvalidSettings(format!("there is no topic config {name:?}")));
    };
    let bad = || Error::InvalidSettings(format!("{:?} is no value of {name}", value.unwrap_or_default()));
    let valid = value.is_none_or(|value| match kind {
        Type::Boolean => matches!(value, "true" | "false"),
        Type::Int => value.parse::<i32>().is_ok(),
        Type::Long => value.parse::<i64>().is_ok(),
        Type::Double => value.parse::<f64>().is_ok(),
        Type::String | Type::List => true,
    });
    if !valid {
        return Err(bad());
    }
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
    let mut words: Vec<&str> = value.split(',').map(str::trim).collect();
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
        let (_, kind, default) = TOPIC.iter().find(|(known, ..)| *known == name)?;
        let now = get(settings, name).unwrap_or_else(|| (*default).to_owned());
        matches!(kind, Type::List)
            .then(|| now.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    };
    let missing = || Error::InvalidSettings(format!("{name} is given no value"));
    match how {
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
    fn lists_are_changed_word_by_word() {
        let mut settings = Settings::default();
        change(&mut settings, "cleanup.policy", Change::Append, Some("compact")).unwrap();
        assert_eq!(settings.cleanup, Some(Cleanup::CompactDelete));
        change(&mut settings, "cleanup.policy", Change::Subtract, Some("delete")).unwrap();
        assert_eq!(settings.cleanup, Some(Cleanup::Compact));
        assert!(change(&mut settings, "retention.ms", Change::Append, Some("1")).is_err());
    }
}
