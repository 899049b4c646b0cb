//! Errors in Kafka's words: the one place.

use ballast_streams::Error;
use ballast_types::ErrorKind;
use kafka_protocol::ResponseError as Code;

/// The code of an error of streams or groups.
pub(crate) fn code(error: &Error) -> Code {
    match error {
        Error::NotFound(_) | Error::UnknownPartition(_) => Code::UnknownTopicOrPartition,
        // At "unknown" a producer whose topic cannot be made would ask again until its time is up.
        Error::InvalidName(_) | Error::NoDirectory(_) => Code::InvalidTopicException,
        Error::InvalidPartitions(_) => Code::InvalidPartitions,
        Error::InvalidSettings(_) => Code::InvalidConfig,
        Error::OffsetOutOfRange { .. } => Code::OffsetOutOfRange,
        Error::DamagedBatch(_) => Code::CorruptMessage,
        Error::InvalidBatch(_) => Code::InvalidRecord,
        Error::Transactional => Code::TransactionalIdAuthorizationFailed,
        Error::BatchTooLarge { .. } => Code::MessageTooLarge,
        Error::InvalidTimestamp { .. } => Code::InvalidTimestamp,
        Error::OutOfOrderSequence { .. } => Code::OutOfOrderSequenceNumber,
        Error::FencedProducer { .. } => Code::InvalidProducerEpoch,
        Error::InvalidGroup(_) => Code::InvalidGroupId,
        Error::GroupNotFound(_) => Code::GroupIdNotFound,
        Error::GroupNotEmpty(_) => Code::NonEmptyGroup,
        Error::GroupFull => Code::GroupMaxSizeReached,
        Error::UnknownMember => Code::UnknownMemberId,
        Error::MemberIdRequired(_) => Code::MemberIdRequired,
        Error::InvalidMember(_) => Code::InvalidRequest,
        Error::FencedInstance => Code::FencedInstanceId,
        Error::IllegalGeneration => Code::IllegalGeneration,
        Error::RebalanceInProgress => Code::RebalanceInProgress,
        Error::InconsistentProtocol => Code::InconsistentGroupProtocol,
        Error::InvalidSessionTimeout(_) => Code::InvalidSessionTimeout,
        Error::OffsetMetadataTooLong => Code::OffsetMetadataTooLarge,
        Error::GroupSubscribed => Code::GroupSubscribedToTopic,
        Error::Exhausted(_) => Code::ThrottlingQuotaExceeded,
        Error::Corrupt(_) => Code::KafkaStorageError,
        // Clients ask for the leader again and come back.
        Error::Stopping => Code::NotLeaderOrFollower,
        Error::Tree(_) | Error::Store(_) => code_of_kind(error.kind()),
    }
}

fn code_of_kind(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::UnknownTopicOrPartition,
        ErrorKind::AlreadyExists => Code::TopicAlreadyExists,
        // A read or a change met settling or another change: the client tries again.
        ErrorKind::Conflict => Code::NotLeaderOrFollower,
        ErrorKind::Invalid => Code::InvalidRequest,
        ErrorKind::Denied => Code::TopicAuthorizationFailed,
        ErrorKind::Exhausted => Code::KafkaStorageError,
        ErrorKind::Unavailable | ErrorKind::Fenced => Code::NotLeaderOrFollower,
        ErrorKind::Corrupt => Code::KafkaStorageError,
        ErrorKind::Unsupported => Code::UnsupportedVersion,
    }
}

/// The number on the wire, and a line in the log where a person should look.
pub(crate) fn number(error: &Error) -> i16 {
    if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Exhausted) {
        tracing::warn!(%error, "a Kafka request failed");
    }
    code(error).code()
}

/// Whether clients should come again: the server stops, another change was faster, or the disk wants somebody's help.
pub(crate) fn passes(error: &Error) -> bool {
    matches!(code(error), Code::NotLeaderOrFollower | Code::KafkaStorageError)
}

/// As [`number`], where the request is about groups or offsets: there, consumers end at codes that are about partitions.
/// At this one all of them look for the coordinator and ask again; Apache Kafka answers the same errors with it.
pub(crate) fn group_number(error: &Error) -> i16 {
    let number = number(error);
    if passes(error) { Code::NotCoordinator.code() } else { number }
}

/// As [`group_number`], for clients that have no coordinator to look for: they ask again here.
pub(crate) fn loading_number(error: &Error) -> i16 {
    let number = number(error);
    if passes(error) { Code::CoordinatorLoadInProgress.code() } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_sends_clients_of_groups_to_the_coordinator_again() {
        let conflict = Error::Store(ballast_store::Error::Conflict);
        for error in [Error::Stopping, Error::Corrupt("x".into()), conflict] {
            assert_eq!(group_number(&error), Code::NotCoordinator.code(), "{error}");
        }
        assert_eq!(loading_number(&Error::Stopping), Code::CoordinatorLoadInProgress.code());
        for number in [group_number, loading_number] {
            assert_eq!(number(&Error::IllegalGeneration), Code::IllegalGeneration.code());
        }
    }
}
