//! Streams: partitions, offsets, groups and retention, without Kafka
