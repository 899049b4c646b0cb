//! What is advertised: every request that is answered, in which versions, and its shape.
//!
//! A version stands here only if a test sends it. Source of the shapes: the message definitions of Apache Kafka.

use crate::shape::{Field, Kind, Shape};
use Kind::{Blob, Fixed, Fixeds, List, Text, Texts};
use kafka_protocol::messages::ApiKey;

pub(crate) struct Api {
    pub key: ApiKey,
    /// What is answered.
    pub min: i16,
    pub max: i16,
    pub shape: Shape,
}

impl Api {
    pub fn find(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key as i16 == key)
    }

    /// The lowest version that clients are told. Released versions of librdkafka stop compressing when Produce starts
    /// above 0, so that 0 to 2 are told and not answered, as Apache Kafka does.
    pub fn told_min(&self) -> i16 {
        if self.key == ApiKey::Produce { 0 } else { self.min }
    }
}

const fn all(kind: Kind) -> Field {
    Field { from: 0, to: i16::MAX, kind }
}

const fn from(from: i16, kind: Kind) -> Field {
    Field { from, to: i16::MAX, kind }
}

const fn to(to: i16, kind: Kind) -> Field {
    Field { from: 0, to, kind }
}

const fn within(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

const UUID: Kind = Fixed(16);
const NEVER: i16 = i16::MAX;

const fn api(key: ApiKey, min: i16, max: i16, flexible: i16, fields: &'static [Field]) -> Api {
    Api { key, min, max, shape: Shape { flexible, fields } }
}

const TEXT_AND_BLOB: &[Field] = &[all(Text), all(Blob)];
const CONFIGS: &[Field] = &[all(Text), all(Text)];
const TOPIC_AND_PARTITIONS: &[Field] = &[all(Text), all(Fixeds(4))];

pub(crate) static APIS: &[Api] = &[
    api(
        ApiKey::Produce,
        3,
        12,
        9,
        &[
            all(Text),
            all(Fixed(2)),
            all(Fixed(4)),
            all(List(&[to(12, Text), from(13, UUID), all(List(&[all(Fixed(4)), all(Blob)]))])),
        ],
    ),
    api(
        ApiKey::Fetch,
        4,
        17,
        12,
        &[
            to(14, Fixed(4)),
            all(Fixed(4)),
            all(Fixed(4)),
            all(Fixed(4)),
            all(Fixed(1)),
            from(7, Fixed(8)),
            all(List(&[
                to(12, Text),
                from(13, UUID),
                all(List(&[
                    all(Fixed(4)),
                    from(9, Fixed(4)),
                    all(Fixed(8)),
                    from(12, Fixed(4)),
                    from(5, Fixed(8)),
                    all(Fixed(4)),
                ])),
            ])),
            from(7, List(&[to(12, Text), from(13, UUID), all(Fixeds(4))])),
            from(11, Text),
        ],
    ),
    api(
        ApiKey::ListOffsets,
        1,
        10,
        6,
        &[
            all(Fixed(4)),
            from(2, Fixed(1)),
            all(List(&[all(Text), all(List(&[all(Fixed(4)), from(4, Fixed(4)), all(Fixed(8))]))])),
            from(10, Fixed(4)),
        ],
    ),
    api(
        ApiKey::Metadata,
        0,
        13,
        9,
        &[all(List(&[from(10, UUID), all(Text)])), from(4, Fixed(1)), within(8, 10, Fixed(1)), from(8, Fixed(1))],
    ),
    api(
        ApiKey::OffsetCommit,
        2,
        9,
        8,
        &[
            all(Text),
            all(Fixed(4)),
            all(Text),
            from(7, Text),
            to(4, Fixed(8)),
            all(List(&[all(Text), all(List(&[all(Fixed(4)), all(Fixed(8)), from(6, Fixed(4)), all(Text)]))])),
        ],
    ),
    api(
        ApiKey::OffsetFetch,
        1,
        9,
        6,
        &[
            to(7, Text),
            to(7, List(TOPIC_AND_PARTITIONS)),
            from(8, List(&[all(Text), from(9, Text), from(9, Fixed(4)), all(List(TOPIC_AND_PARTITIONS))])),
            from(7, Fixed(1)),
        ],
    ),
    api(ApiKey::FindCoordinator, 0, 6, 3, &[to(3, Text), from(1, Fixed(1)), from(4, Texts)]),
    api(
        ApiKey::JoinGroup,
        0,
        9,
        6,
        &[
            all(Text),
            all(Fixed(4)),
            from(1, Fixed(4)),
            all(Text),
            from(5, Text),
            all(Text),
            all(List(TEXT_AND_BLOB)),
            from(8, Text),
        ],
    ),
    api(ApiKey::Heartbeat, 0, 4, 4, &[all(Text), all(Fixed(4)), all(Text), from(3, Text)]),
    api(ApiKey::LeaveGroup, 0, 5, 4, &[all(Text), to(2, Text), from(3, List(&[all(Text), all(Text), from(5, Text)]))]),
    api(
        ApiKey::SyncGroup,
        0,
        5,
        4,
        &[all(Text), all(Fixed(4)), all(Text), from(3, Text), from(5, Text), from(5, Text), all(List(TEXT_AND_BLOB))],
    ),
    api(ApiKey::DescribeGroups, 0, 6, 5, &[all(Texts), from(3, Fixed(1))]),
    api(ApiKey::ListGroups, 0, 5, 3, &[from(4, Texts), from(5, Texts)]),
    api(ApiKey::ApiVersions, 0, 4, 3, &[from(3, Text), from(3, Text)]),
    api(
        ApiKey::CreateTopics,
        2,
        7,
        5,
        &[
            all(List(&[
                all(Text),
                all(Fixed(4)),
                all(Fixed(2)),
                all(List(&[all(Fixed(4)), all(Fixeds(4))])),
                all(List(CONFIGS)),
            ])),
            all(Fixed(4)),
            all(Fixed(1)),
        ],
    ),
    api(ApiKey::DeleteTopics, 1, 6, 4, &[from(6, List(&[all(Text), all(UUID)])), to(5, Texts), all(Fixed(4))]),
    api(
        ApiKey::DeleteRecords,
        0,
        2,
        2,
        &[all(List(&[all(Text), all(List(&[all(Fixed(4)), all(Fixed(8))]))])), all(Fixed(4))],
    ),
    api(ApiKey::InitProducerId, 0, 5, 2, &[all(Text), all(Fixed(4)), from(3, Fixed(10))]),
    api(
        ApiKey::OffsetForLeaderEpoch,
        2,
        4,
        4,
        &[from(3, Fixed(4)), all(List(&[all(Text), all(List(&[all(Fixed(4)), all(Fixed(4)), all(Fixed(4))]))]))],
    ),
    api(
        ApiKey::DescribeConfigs,
        1,
        4,
        4,
        &[all(List(&[all(Fixed(1)), all(Text), all(Texts)])), all(Fixed(1)), from(3, Fixed(1))],
    ),
    api(ApiKey::AlterConfigs, 0, 2, 2, &[all(List(&[all(Fixed(1)), all(Text), all(List(CONFIGS))])), all(Fixed(1))]),
    api(ApiKey::DescribeLogDirs, 1, 4, 2, &[all(List(TOPIC_AND_PARTITIONS))]),
    api(
        ApiKey::CreatePartitions,
        0,
        3,
        2,
        &[all(List(&[all(Text), all(Fixed(4)), all(List(&[all(Fixeds(4))]))])), all(Fixed(4)), all(Fixed(1))],
    ),
    api(ApiKey::DeleteGroups, 0, 2, 2, &[all(Texts)]),
    api(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        1,
        &[all(List(&[all(Fixed(1)), all(Text), all(List(&[all(Text), all(Fixed(1)), all(Text)]))])), all(Fixed(1))],
    ),
    api(ApiKey::OffsetDelete, 0, 0, NEVER, &[all(Text), all(List(&[all(Text), all(List(&[all(Fixed(4))]))]))]),
    api(ApiKey::DescribeCluster, 0, 2, 0, &[all(Fixed(1)), from(1, Fixed(1)), from(2, Fixed(1))]),
];

#[cfg(test)]
#[path = "apis_tests.rs"]
mod tests;
