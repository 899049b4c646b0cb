//! The Kafka protocol to streams
