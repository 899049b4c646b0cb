"""Streams under kills: a producer with acks=all; every acknowledged record is there once, whole and in order."""

import os

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from ledger import content, main

SERVER = os.environ["BALLAST_KAFKA"]
BATCH = 8


def topic(generation):
    return f"crash.stream-{generation}"


def size(number):
    return (10, 1000, 20000)[number % 3] + number % 89


def write(ledger, generation):
    producer = KafkaProducer(
        bootstrap_servers=SERVER, acks="all", retries=0, max_in_flight_requests_per_connection=1,
        request_timeout_ms=5000, max_block_ms=5000, linger_ms=0, api_version=(2, 6),
    )
    while True:
        numbers = ledger.attempt(BATCH)
        sent = [
            producer.send(topic(generation), key=str(number).encode(), value=content(number, size(number)), partition=0)
            for number in numbers
        ]
        for number, future in zip(numbers, sent):
            future.get(timeout=5)
            ledger.acknowledged([number])


def check(ledger, generation):
    if not ledger.done:
        return
    consumer = KafkaConsumer(bootstrap_servers=SERVER, enable_auto_commit=False, api_version=(2, 6))
    partition = TopicPartition(topic(generation), 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    seen, last = set(), -1
    expected = 0
    while expected < end:
        records = consumer.poll(timeout_ms=60_000).get(partition, [])
        if not records:
            yield f"reading stops at offset {expected} of {end}"
            return
        for record in records:
            number = int(record.key)
            if record.offset != expected:
                yield f"offset {record.offset} follows {expected - 1}"
            expected = record.offset + 1
            if record.value != content(number, size(number)):
                yield f"record {number} is there and not whole"
            if number <= last:
                yield f"record {number} comes behind {last}"
            if number not in ledger.tried:
                yield f"nobody sent record {number}"
            last = number
            seen.add(number)
    for number in sorted(ledger.done - seen):
        yield f"record {number} was acknowledged and is not there"


main(write, check)
