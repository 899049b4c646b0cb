"""Streams: made, filled by an idempotent producer with acks=all, read whole, deleted, and made anew."""

import os

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from turn import Turn, content

SERVER = os.environ["BALLAST_KAFKA"]
PARTITIONS = 3
BATCHES = 60
BATCH = 20
# Every second stream has the name of the one that was deleted before it.
NAMES = 2


def fill(turn, topic, number):
    """The sizes of what was sent, by partition."""
    sent = [[] for _ in range(PARTITIONS)]
    producer = KafkaProducer(bootstrap_servers=SERVER, acks="all", enable_idempotence=True, linger_ms=1)
    try:
        for batch in range(BATCHES):
            futures = []
            for _ in range(BATCH):
                partition, size = turn.dice.randrange(PARTITIONS), turn.dice.choice((10, 1000, 20_000))
                value = content(f"{number}.{partition}.{len(sent[partition])}", size)
                futures.append((partition, len(sent[partition]), producer.send(topic, value, partition=partition)))
                sent[partition].append(size)
            for partition, offset, future in futures:
                at = future.get(timeout=30).offset
                assert at == offset, f"{topic}-{partition}: acknowledged at {at}, not at {offset}"
            turn.done(BATCH)
            if not turn.goes_on():
                break
    finally:
        producer.close(timeout=30)
    return sent


def check(topic, number, sent):
    consumer = KafkaConsumer(bootstrap_servers=SERVER, group_id="soak", enable_auto_commit=False,
                             auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    for partition in partitions:
        assert ends[partition] == len(sent[partition.partition]), f"{partition} ends at {ends[partition]}"
    left = sum(len(sizes) for sizes in sent)
    position = [0] * PARTITIONS
    while left:
        found = consumer.poll(timeout_ms=30_000)
        assert found, f"{topic}: {left} records do not come"
        for partition, records in found.items():
            for record in records:
                expected = position[partition.partition]
                assert record.offset == expected, f"{partition}: {record.offset} follows {expected - 1}"
                size = sent[partition.partition][expected]
                value = content(f"{number}.{partition.partition}.{expected}", size)
                assert record.value == value, f"{partition}: {expected} is not what was sent"
                position[partition.partition] += 1
                left -= 1
    consumer.commit()
    consumer.close()


def main():
    turn = Turn()
    admin = KafkaAdminClient(bootstrap_servers=SERVER)
    for topic in admin.list_topics():
        if topic.startswith("soak-stream-"):
            admin.delete_topics([topic])
    number = 0
    alive = []
    while turn.goes_on():
        topic = f"soak-stream-{number % NAMES}"
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        alive.append((topic, number, fill(turn, topic, number)))
        check(*alive[-1])
        number += 1
        if len(alive) == NAMES:
            admin.delete_topics([alive.pop(0)[0]])
    for topic, number, sent in alive:
        check(topic, number, sent)
        admin.delete_topics([topic])
    turn.finish("streams")


main()
