//! What a consumer tells the leader of its group, as far as it matters here: the streams that it reads.
//!
//! Version (2 bytes), number of topics (4), each behind its length (2); then the consumer's own data, and from later
//! versions on the partitions that it had and in which generation. Source: ConsumerProtocolSubscription.json of Apache
//! Kafka.

use std::collections::BTreeSet;

/// The protocol type of groups whose members talk like this.
pub(super) const CONSUMER: &str = "consumer";

/// The topics of a subscription; `None` if the bytes are none.
pub(super) fn topics(subscription: &[u8]) -> Option<BTreeSet<&str>> {
    let (_, mut rest) = subscription.split_first_chunk::<2>()?;
    let (count, tail) = rest.split_first_chunk::<4>()?;
    rest = tail;
    let mut topics = BTreeSet::new();
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (topic, tail) = tail.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        topics.insert(std::str::from_utf8(topic).ok()?);
        rest = tail;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_read_as_far_as_its_topics() {
        let two = b"\0\x03\0\0\0\x02\0\x01b\0\x02aaand more";
        assert_eq!(topics(two).map(|topics| topics.into_iter().collect()), Some(vec!["aa", "b"]));
        assert_eq!(topics(b"\0\0\0\0\0\0").map(|topics| topics.len()), Some(0));
        for length in 0..two.len() - 8 {
            assert_eq!(topics(&two[..length]), None, "cut at {length}");
        }
        for bad in [&b"topics"[..], b"\0\0\xff\xff\xff\xff", b"\0\0\0\0\0\x01\xff\xff"] {
            assert_eq!(topics(bad), None);
        }
    }
}
