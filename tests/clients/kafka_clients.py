#!/usr/bin/env python3
"""What unmodified Kafka clients must be able to do.

usage: kafka_clients.py HOST:PORT [CASE...]  (a CASE is a part of a name)

Needs kafka-python, confluent-kafka and the program kcat; a client that is missing is named and skipped, and the
exit status is 2 unless --skip-missing is given. Exits with 1 if a case fails. Topics and groups have names of
their own per run, so that it can be run again on the same server.
"""

import os
import subprocess
import sys
import threading
import time
import uuid

RUN = uuid.uuid4().hex[:8]
CASES = []
MISSING = set()


def case(client):
    def add(function):
        CASES.append((client, function))
        return function
    return add


def name(text):
    return f"{text}-{RUN}"


def equal(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


# --- kcat ----------------------------------------------------------------------------------------------------

def kcat(broker, *arguments, input=None):
    command = ["timeout", "30", "kcat", "-b", broker, *arguments]
    done = subprocess.run(command, input=input, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@case("kcat")
def kcat_writes_and_reads_every_compression(broker):
    for codec in ["none", "gzip", "snappy", "lz4"]:
        topic = name(f"kcat.{codec}")
        lines = "".join(f"key{n}:value {n} {'x' * 200}\n" for n in range(500))
        kcat(broker, "-P", "-t", topic, "-p", "0", "-K:", "-z", codec, input=lines)
        read = kcat(broker, "-C", "-e", "-q", "-t", topic, "-p", "0", "-o", "beginning", "-K:")
        equal(read, lines)


@case("kcat")
def kcat_reads_from_any_offset(broker):
    topic = name("kcat.offsets")
    kcat(broker, "-P", "-t", topic, "-p", "0", input="".join(f"{n}\n" for n in range(100)))
    for offset in [0, 1, 50, 99]:
        read = kcat(broker, "-C", "-e", "-q", "-t", topic, "-p", "0", "-o", str(offset), "-c", "1", "-f", "%o %s\n")
        equal(read, f"{offset} {offset}\n")
    equal(kcat(broker, "-C", "-e", "-q", "-t", topic, "-p", "0", "-o", "-3", "-f", "%s "), "97 98 99 ")


@case("kcat")
def kcat_is_idempotent_on_request(broker):
    topic = name("kcat.idempotent")
    kcat(broker, "-P", "-t", topic, "-p", "0", "-X", "enable.idempotence=true", input="a\nb\nc\n")
    equal(kcat(broker, "-C", "-e", "-q", "-t", topic, "-p", "0", "-o", "beginning"), "a\nb\nc\n")


@case("kcat")
def kcat_accepts_a_path_and_echoes_it(broker):
    topic = name("kcatpath")
    kcat(broker, "-P", "-t", topic, "-p", "0", input="by name\n")
    kcat(broker, "-P", "-t", f"/{topic}", "-p", "0", input="by path\n")
    read = kcat(broker, "-C", "-e", "-q", "-t", f"/{topic}", "-p", "0", "-o", "beginning", "-f", "%t %s\n")
    equal(read, f"/{topic} by name\n/{topic} by path\n")


# --- confluent-kafka ------------------------------------------------------------------------------------------

def confluent_topic(broker, topic, partitions=1, config=None):
    from confluent_kafka.admin import AdminClient, NewTopic
    admin = AdminClient({"bootstrap.servers": broker})
    new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
    admin.create_topics([new])[topic].result(30)
    return admin


def confluent_consume(broker, topics, count, **config):
    from confluent_kafka import Consumer
    settings = {"bootstrap.servers": broker, "auto.offset.reset": "earliest", "group.id": name("confluent"), **config}
    consumer = Consumer(settings)
    consumer.subscribe(topics)
    messages, deadline = [], time.time() + 30
    while len(messages) < count and time.time() < deadline:
        message = consumer.poll(1)
        if message is not None:
            assert message.error() is None, message.error()
            messages.append(message)
    equal(len(messages), count)
    return consumer, messages


@case("confluent-kafka")
def confluent_produces_durably_and_a_group_reads_all_once(broker):
    from confluent_kafka import Producer
    topic = name("confluent.group")
    confluent_topic(broker, topic, partitions=3)
    for settings in [{"acks": "all"}, {"acks": 1}, {"enable.idempotence": True, "compression.type": "zstd"}]:
        failed = []
        producer = Producer({"bootstrap.servers": broker, "linger.ms": 5, **settings})
        for n in range(1000):
            producer.produce(topic, key=str(n), value=f"value {n}", on_delivery=lambda error, _: error and failed.append(error))
        equal(producer.flush(30), 0)
        equal(failed, [])
    consumer, messages = confluent_consume(broker, [topic], 3000)
    equal(len({(m.partition(), m.offset()) for m in messages}), 3000)
    consumer.commit(asynchronous=False)
    consumer.close()
    # The group goes on where it stopped.
    producer.produce(topic, key="after", value="after")
    producer.flush(30)
    consumer, messages = confluent_consume(broker, [topic], 1)
    equal(messages[0].key(), b"after")
    consumer.close()


@case("confluent-kafka")
def confluent_rebalances_between_two_members(broker):
    from confluent_kafka import Consumer, Producer
    topic, group = name("confluent.rebalance"), name("confluent.two")
    confluent_topic(broker, topic, partitions=4)
    settings = {"bootstrap.servers": broker, "group.id": group, "auto.offset.reset": "earliest", "session.timeout.ms": 6000}
    consumers = [Consumer(settings) for _ in range(2)]
    shares, stop = [set(), set()], threading.Event()

    def poll(index):
        def assigned(_, partitions):
            shares[index] = {p.partition for p in partitions}

        def revoked(_, partitions):
            shares[index] = shares[index] - {p.partition for p in partitions}
        consumers[index].subscribe([topic], on_assign=assigned, on_revoke=revoked)
        while not stop.is_set():
            consumers[index].poll(0.2)
    threads = [threading.Thread(target=poll, args=(index,)) for index in range(2)]
    [thread.start() for thread in threads]
    deadline = time.time() + 30
    while time.time() < deadline and not (len(shares[0]) == 2 and len(shares[1]) == 2):
        time.sleep(0.1)
    equal(sorted(shares[0] | shares[1]), [0, 1, 2, 3])
    equal(len(shares[0]), 2)
    stop.set()
    [thread.join() for thread in threads]
    consumers[0].close()
    # The one that is left gets everything.
    deadline = time.time() + 30
    while time.time() < deadline and len(consumers[1].assignment()) < 4:
        consumers[1].poll(0.2)
    equal(len(consumers[1].assignment()), 4)
    consumers[1].close()


@case("confluent-kafka")
def confluent_finds_offsets_by_time_and_watermarks(broker):
    from confluent_kafka import Consumer, Producer, TopicPartition
    topic = name("confluent.time")
    confluent_topic(broker, topic)
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 0})
    for n in range(10):
        producer.produce(topic, value=str(n), timestamp=1_000_000 + 1000 * n)
        producer.flush(30)
    consumer = Consumer({"bootstrap.servers": broker, "group.id": name("time")})
    equal(consumer.get_watermark_offsets(TopicPartition(topic, 0), 30), (0, 10))
    for wanted, time_ms in [(0, 0), (0, 1_000_000), (4, 1_003_001), (9, 1_009_000), (-1, 1_009_001)]:
        found = consumer.offsets_for_times([TopicPartition(topic, 0, time_ms)], 30)[0].offset
        equal(found, wanted)
    consumer.close()


@case("confluent-kafka")
def confluent_administers(broker):
    from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
    from confluent_kafka.admin import (AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                       ResourceType)
    topic = name("confluent.admin")
    admin = confluent_topic(broker, topic, 2, {"retention.ms": "60000", "segment.bytes": "1048576"})
    try:
        admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
        raise AssertionError("a topic was made twice")
    except KafkaException as error:
        equal(error.args[0].name(), "TOPIC_ALREADY_EXISTS")
    resource = ConfigResource(ResourceType.TOPIC, topic)
    configs = admin.describe_configs([resource])[resource].result(30)
    equal((configs["retention.ms"].value, configs["cleanup.policy"].value), ("60000", "delete"))
    assert len(configs) > 20, "a topic has all of Kafka's configs"
    entry = ConfigEntry("retention.ms", "70000", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([change])[change].result(30)
    configs = admin.describe_configs([resource])[resource].result(30)
    equal((configs["retention.ms"].value, configs["segment.bytes"].value), ("70000", "1048576"))
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(30)
    equal(len(admin.list_topics(topic, 30).topics[topic].partitions), 5)
    consumer, _ = confluent_consume(broker, [topic], 0)
    consumer.close()
    cluster = admin.describe_cluster().result(30)
    equal(len(cluster.nodes), 1)
    group = name("confluent.admingroup")
    offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, 7)])
    admin.alter_consumer_group_offsets([offsets])[group].result(30)
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    equal([(p.topic, p.partition, p.offset) for p in listed.topic_partitions], [(topic, 1, 7)])
    assert group in {g.group_id for g in admin.list_consumer_groups().result(30).valid}
    equal(admin.describe_consumer_groups([group])[group].result(30).state.name, "EMPTY")
    admin.delete_consumer_groups([group])[group].result(30)
    admin.delete_topics([topic])[topic].result(30)
    assert topic not in admin.list_topics(timeout=30).topics


@case("confluent-kafka")
def confluent_deletes_records(broker):
    from confluent_kafka import Producer, TopicPartition
    topic = name("confluent.delete")
    admin = confluent_topic(broker, topic)
    producer = Producer({"bootstrap.servers": broker})
    for n in range(10):
        producer.produce(topic, value=str(n))
        producer.flush(30)
    partition = TopicPartition(topic, 0, 6)
    deleted = admin.delete_records([partition])
    equal([future.result(30).low_watermark for future in deleted.values()], [6])
    consumer, messages = confluent_consume(broker, [topic], 4, **{"group.id": name("confluent.deleted")})
    equal([m.value() for m in messages], [b"6", b"7", b"8", b"9"])
    consumer.close()


@case("confluent-kafka")
def confluent_keeps_a_static_member_over_a_restart(broker):
    from confluent_kafka import Producer
    topic, group = name("confluent.static"), name("confluent.staticgroup")
    confluent_topic(broker, topic, 2)
    producer = Producer({"bootstrap.servers": broker})
    [producer.produce(topic, value=str(n)) for n in range(10)]
    producer.flush(30)
    settings = {"group.id": group, "group.instance.id": "one", "session.timeout.ms": 30000}
    consumer, _ = confluent_consume(broker, [topic], 10, **settings)
    consumer.commit(asynchronous=False)
    consumer.close()
    producer.produce(topic, value="after")
    producer.flush(30)
    started = time.time()
    consumer, messages = confluent_consume(broker, [topic], 1, **settings)
    assert time.time() - started < 10, "the restarted member waited for its own session to end"
    equal(messages[0].value(), b"after")
    consumer.close()


# --- kafka-python ---------------------------------------------------------------------------------------------

@case("kafka-python")
def python_produces_and_consumes_in_a_group(broker):
    import kafka
    from kafka import KafkaConsumer, KafkaProducer
    topic = name("python.group")
    producers = {"all": {"acks": "all"}, "gzip": {"acks": 1, "compression_type": "gzip"},
                 "none": {"acks": 0}, "idempotent": {"enable_idempotence": True}}
    if kafka.__version__.startswith("2.2."):
        # It never writes these to its socket: KafkaClient.send (client_async.py:619 of 2.2.15) wakes a connection
        # only for a future that is not done, and with acks=0 BrokerConnection._send has ended it already.
        del producers["none"]
    for kind, settings in producers.items():
        producer = KafkaProducer(bootstrap_servers=broker, linger_ms=5, **settings)
        sent = [producer.send(topic, key=str(n).encode(), value=f"{kind} {n}".encode()) for n in range(200)]
        producer.flush(30)
        [future.get(30) for future in sent]
        producer.close()
    consumer = KafkaConsumer(topic, bootstrap_servers=broker, group_id=name("python"), auto_offset_reset="earliest",
                             consumer_timeout_ms=15000)
    wanted = {f"{kind} {n}" for kind in producers for n in range(200)}
    records = [record for _, record in zip(range(len(wanted)), consumer)]
    read = [record.value.decode() for record in records]
    equal(sorted(wanted.difference(read)), [])
    equal(len({(r.partition, r.offset) for r in records}), len(wanted))
    consumer.commit()
    equal(sum(consumer.committed(p) or 0 for p in consumer.assignment()), len(wanted))
    consumer.close()


@case("kafka-python")
def python_seeks_by_time_and_offset(broker):
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    topic = name("python.seek")
    producer = KafkaProducer(bootstrap_servers=broker)
    for n in range(20):
        producer.send(topic, value=str(n).encode(), partition=0, timestamp_ms=5_000_000 + n)
    producer.flush(30)
    consumer = KafkaConsumer(bootstrap_servers=broker, consumer_timeout_ms=15000)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    equal(consumer.beginning_offsets([partition])[partition], 0)
    equal(consumer.end_offsets([partition])[partition], 20)
    found = consumer.offsets_for_times({partition: 5_000_007})[partition]
    equal((found.offset, found.timestamp), (7, 5_000_007))
    equal(consumer.offsets_for_times({partition: 6_000_000})[partition], None)
    consumer.seek(partition, 13)
    equal(next(consumer).value, b"13")
    consumer.close()


@case("kafka-python")
def python_administers(broker):
    from kafka.admin import KafkaAdminClient
    admin = KafkaAdminClient(bootstrap_servers=broker)
    topic = name("python.admin")
    try:
        from kafka.admin import NewTopic
        admin.create_topics([NewTopic(topic, 3, 1)])
    except ImportError:
        admin.create_topics({topic: {"num_partitions": 3, "replication_factor": 1}})
    assert topic in admin.list_topics()
    described = admin.describe_topics([topic])
    equal(len(described[0]["partitions"]), 3)
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()


# --- running ---------------------------------------------------------------------------------------------------

def version(client):
    """The client's version; None if it is not installed."""
    try:
        if client == "kcat":
            subprocess.run(["kcat", "-V"], capture_output=True)
            return ""
        if client == "confluent-kafka":
            import confluent_kafka
            return confluent_kafka.__version__
        import kafka
        return kafka.__version__
    except (ImportError, FileNotFoundError):
        return None


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("-")]
    if not arguments:
        sys.exit(__doc__)
    broker, wanted = arguments[0], arguments[1:]
    failed = 0
    for client, function in CASES:
        if wanted and not any(text in function.__name__ for text in wanted):
            continue
        if version(client) is None:
            MISSING.add(client)
            continue
        started = time.time()
        try:
            function(broker)
            client = f"{client} {version(client)}".strip()
            print(f"ok - {function.__name__} ({client}, {time.time() - started:.1f} s)", flush=True)
        except Exception as error:  # every failure is reported, whatever it is
            failed += 1
            print(f"not ok - {function.__name__}: {type(error).__name__}: {error}", flush=True)
            if os.environ.get("VERBOSE"):
                import traceback
                traceback.print_exc()
    for client in sorted(MISSING):
        print(f"not run: all cases of {client}: it is not installed")
    sys.exit(1 if failed else 2 if MISSING and "--skip-missing" not in sys.argv else 0)


if __name__ == "__main__":
    main()
