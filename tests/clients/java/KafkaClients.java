// What Apache Kafka's own Java client must be able to do.
//
// usage: java -cp 'LIBS/*' KafkaClients.java HOST:PORT [CASE...]
//
// Prints `ok - case` or `not ok - case: why` for each and leaves with 1 if one failed. Topics and groups have names of
// their own per run, so that it can be run again on the same server.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.AppInfoParser;

public class KafkaClients {
    static final String RUN = UUID.randomUUID().toString().substring(0, 8);
    /** How long anything may take on a machine that is busy. */
    static final Duration LIMIT = Duration.ofSeconds(60);
    static String broker;

    interface Case {
        void run() throws Exception;
    }

    public static void main(String[] arguments) {
        broker = arguments[0];
        var wanted = List.of(arguments).subList(1, arguments.length);
        var cases = new LinkedHashMap<String, Case>();
        cases.put("java_administers_topics", KafkaClients::administers);
        cases.put("java_produces_idempotently_with_every_compression", KafkaClients::produces);
        cases.put("java_is_refused_what_a_record_may_not_be", KafkaClients::refuses);
        cases.put("java_lists_offsets_by_end_and_by_time", KafkaClients::listsOffsets);
        cases.put("java_waits_for_a_record_and_gets_it_at_once", KafkaClients::longPoll);
        cases.put("java_rebalances_a_group_without_a_gap_or_a_repeat", () -> rebalances("range", RangeAssignor.class));
        cases.put("java_rebalances_cooperatively", () -> rebalances("cooperative", CooperativeStickyAssignor.class));
        cases.put("java_continues_where_its_group_stopped", KafkaClients::continues);
        cases.put("java_keeps_a_static_member_over_a_restart", KafkaClients::staticMember);
        cases.put("java_administers_groups", KafkaClients::administersGroups);
        boolean failed = false;
        for (var entry : cases.entrySet()) {
            String name = entry.getKey();
            if (!wanted.isEmpty() && wanted.stream().noneMatch(name::contains)) continue;
            long started = System.nanoTime();
            try {
                entry.getValue().run();
                double seconds = (System.nanoTime() - started) / 1e9;
                System.out.printf("ok - %s (kafka-clients %s, %.1f s)%n", name, AppInfoParser.getVersion(), seconds);
            } catch (Throwable error) {
                failed = true;
                System.out.printf("not ok - %s: %s%n", name, error);
                if (System.getenv("VERBOSE") != null) error.printStackTrace();
            }
        }
        System.exit(failed ? 1 : 0);
    }

    // --- topics --------------------------------------------------------------------------------------------------

    static void administers() throws Exception {
        String topic = name("java.admin");
        try (var admin = admin()) {
            var config = Map.of("retention.ms", "60000");
            var created = admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(config)));
            get(created.all());
            equal(3, get(created.numPartitions(topic)));
            fails(TopicExistsException.class, () -> get(admin.createTopics(List.of(topic(topic, 1))).all()));
            fails(InvalidTopicException.class, () -> get(admin.createTopics(List.of(topic("a b", 1))).all()));
            String planned = name("java.planned");
            get(admin.createTopics(List.of(topic(planned, 1)), new CreateTopicsOptions().validateOnly(true)).all());
            equal(false, get(admin.listTopics().names()).contains(planned));
            equal(true, get(admin.listTopics().names()).contains(topic));
            var described = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
            equal(List.of(0, 1, 2), described.partitions().stream().map(TopicPartitionInfo::partition).toList());
            equal(get(created.topicId(topic)), described.topicId());
            var byId = TopicCollection.ofTopicIds(List.of(described.topicId()));
            equal(topic, get(admin.describeTopics(byId).allTopicIds()).get(described.topicId()).name());
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            var change = new AlterConfigOp(new ConfigEntry("retention.ms", "70000"), AlterConfigOp.OpType.SET);
            get(admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all());
            equal("70000", get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value());
            get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all());
            equal(5, get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size());
            equal(1, get(admin.describeCluster().nodes()).size());
            get(admin.deleteTopics(byId).all());
            fails(UnknownTopicIdException.class, () -> get(admin.describeTopics(byId).allTopicIds()));
            fails(UnknownTopicOrPartitionException.class, () -> get(admin.describeTopics(List.of(topic)).allTopicNames()));
            fails(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(topic)).all()));
        }
    }

    // --- producers -------------------------------------------------------------------------------------------------

    static void produces() throws Exception {
        String topic = name("java.produce");
        create(topic, 1);
        var wanted = new ArrayList<String>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            // Five batches in flight, as it is by default.
            var settings = Map.<String, Object>of(
                "acks", "all", "enable.idempotence", true, "compression.type", codec, "linger.ms", 1, "batch.size", 2000);
            try (var producer = producer(settings)) {
                var sent = new ArrayList<Future<RecordMetadata>>();
                for (int n = 0; n < 1000; n++) {
                    String value = codec + " " + n + " " + "x".repeat(100);
                    wanted.add(value);
                    var headers = List.<org.apache.kafka.common.header.Header>of(
                        new org.apache.kafka.common.header.internals.RecordHeader("codec", codec.getBytes()));
                    sent.add(producer.send(new ProducerRecord<>(topic, 0, 1000L + n, "key " + n, value, headers)));
                }
                for (int n = 0; n < sent.size(); n++) {
                    equal((long) (wanted.size() - 1000 + n), get(sent.get(n)).offset());
                }
            }
        }
        var records = readAll(topic, 1, wanted.size());
        equal(wanted, records.stream().map(ConsumerRecord::value).toList());
        for (int n = 0; n < records.size(); n++) {
            var record = records.get(n);
            equal((long) n, record.offset());
            equal(1000L + n % 1000, record.timestamp());
            equal(TimestampType.CREATE_TIME, record.timestampType());
            equal("key " + n % 1000, record.key());
            equal(record.value().split(" ")[0], new String(record.headers().lastHeader("codec").value()));
        }
    }

    static void refuses() throws Exception {
        String topic = name("java.refused");
        try (var admin = admin()) {
            var small = Map.of("max.message.bytes", "1000");
            get(admin.createTopics(List.of(topic(topic, 1).configs(small))).all());
        }
        try (var producer = producer(Map.of("enable.idempotence", true))) {
            fails(RecordTooLargeException.class, () -> get(producer.send(new ProducerRecord<>(topic, "x".repeat(2000)))));
            // The producer goes on.
            equal(0L, get(producer.send(new ProducerRecord<>(topic, "small"))).offset());
        }
    }

    // --- consumers -------------------------------------------------------------------------------------------------

    static void listsOffsets() throws Exception {
        String topic = name("java.offsets");
        create(topic, 2);
        var full = new TopicPartition(topic, 0);
        var empty = new TopicPartition(topic, 1);
        try (var producer = producer(Map.of())) {
            for (int n = 0; n < 10; n++) {
                get(producer.send(new ProducerRecord<>(topic, 0, 1_000_000L + 1000 * n, null, "" + n)));
            }
        }
        try (var admin = admin(); var consumer = consumer(Map.of())) {
            equal(Map.of(full, 0L, empty, 0L), consumer.beginningOffsets(List.of(full, empty)));
            equal(Map.of(full, 10L, empty, 0L), consumer.endOffsets(List.of(full, empty)));
            var found = consumer.offsetsForTimes(Map.of(full, 1_003_001L));
            equal(4L, found.get(full).offset());
            equal(1_004_000L, found.get(full).timestamp());
            equal(null, consumer.offsetsForTimes(Map.of(full, 1_009_001L)).get(full));
            equal(null, consumer.offsetsForTimes(Map.of(empty, 0L)).get(empty));
            equal(10L, listed(admin, full, OffsetSpec.latest()));
            equal(0L, listed(admin, full, OffsetSpec.earliest()));
            equal(9L, listed(admin, full, OffsetSpec.maxTimestamp()));
            equal(4L, listed(admin, full, OffsetSpec.forTimestamp(1_003_001)));
            equal(-1L, listed(admin, full, OffsetSpec.forTimestamp(1_009_001)));
            equal(6L, get(admin.deleteRecords(Map.of(full, RecordsToDelete.beforeOffset(6))).all().thenApply(
                done -> 6L)));
            equal(6L, listed(admin, full, OffsetSpec.earliest()));
            consumer.assign(List.of(full));
            consumer.seekToBeginning(List.of(full));
            equal(6L, consumer.position(full, LIMIT));
            consumer.seek(full, 8);
            equal(List.of("8", "9"), poll(consumer, 2).stream().map(ConsumerRecord::value).toList());
        }
    }

    static long listed(Admin admin, TopicPartition partition, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
    }

    /** A fetch that waits is answered by the append: the record is there although the wait has not ended. */
    static void longPoll() throws Exception {
        String topic = name("java.longpoll");
        create(topic, 2);
        // Far beyond the limit of the case: only the append can end a fetch.
        var patient = Map.<String, Object>of("fetch.max.wait.ms", 240_000, "request.timeout.ms", 300_000);
        var consumer = consumer(patient);
        try (var producer = producer(Map.of("linger.ms", 0))) {
            consumer.assign(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)));
            consumer.seekToBeginning(consumer.assignment());
            equal(0, consumer.poll(Duration.ofMillis(300)).count());
            for (int n = 0; n < 20; n++) {
                get(producer.send(new ProducerRecord<>(topic, n % 2, null, "" + n)));
                equal(List.of("" + n), poll(consumer, 1).stream().map(ConsumerRecord::value).toList());
            }
        } finally {
            // It would wait for its last fetch.
            consumer.close(CloseOptions.timeout(Duration.ZERO));
        }
    }

    /** A member of a group on a thread of its own; it commits whatever it has read before it gives it away. */
    static class Worker implements AutoCloseable {
        final List<String> read = Collections.synchronizedList(new ArrayList<>());
        final Set<TopicPartition> owned = ConcurrentHashMap.newKeySet();
        final AtomicBoolean stopping = new AtomicBoolean();
        final CompletableFuture<Void> done = new CompletableFuture<>();

        Worker(String topic, Map<String, Object> settings) {
            var thread = new Thread(() -> {
                try (var consumer = consumer(settings)) {
                    consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                            owned.addAll(partitions);
                        }

                        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                            consumer.commitSync(LIMIT);
                            owned.removeAll(partitions);
                        }

                        public void onPartitionsLost(Collection<TopicPartition> partitions) {
                            throw new AssertionError("partitions were lost: " + partitions);
                        }
                    });
                    while (!stopping.get()) {
                        consumer.poll(Duration.ofMillis(100)).forEach(record -> read.add(record.value()));
                    }
                    consumer.commitSync(LIMIT);
                    done.complete(null);
                } catch (Throwable error) {
                    done.completeExceptionally(error);
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        public void close() throws Exception {
            stopping.set(true);
            get(done);
        }
    }

    /** Members come and go while records are written: each record is read by exactly one of them, once. */
    static void rebalances(String kind, Class<?> assignor) throws Exception {
        String topic = name("java." + kind);
        create(topic, 4);
        var settings = Map.<String, Object>of(
            "group.id", name("java-" + kind), "partition.assignment.strategy", assignor.getName(),
            "session.timeout.ms", 45_000, "heartbeat.interval.ms", 300);
        int count = 0;
        var first = new Worker(topic, settings);
        var second = new Worker(topic, settings);
        try (var producer = producer(Map.of("linger.ms", 2))) {
            count = write(producer, topic, count, 2000);
            await("two members share four partitions", () -> first.owned.size() == 2 && second.owned.size() == 2);
            count = write(producer, topic, count, 2000);
            second.close();
            count = write(producer, topic, count, 2000);
            await("the one that stayed has all", () -> first.owned.size() == 4);
            var third = new Worker(topic, settings);
            count = write(producer, topic, count, 2000);
            await("a third shares again", () -> first.owned.size() == 2 && third.owned.size() == 2);
            count = write(producer, topic, count, 2000);
            int all = count;
            await("everything is read", () -> first.read.size() + second.read.size() + third.read.size() >= all);
            first.close();
            third.close();
            var read = Stream.of(first, second, third).flatMap(worker -> worker.read.stream()).sorted().toList();
            equal(IntStream.range(0, all).mapToObj(n -> "" + n).sorted().toList(), read);
        }
        try (var admin = admin()) {
            var committed = get(admin.listConsumerGroupOffsets((String) settings.get("group.id"))
                .partitionsToOffsetAndMetadata());
            equal((long) count, committed.values().stream().mapToLong(OffsetAndMetadata::offset).sum());
        }
    }

    static int write(Producer<String, String> producer, String topic, int from, int count) throws Exception {
        var sent = new ArrayList<Future<RecordMetadata>>();
        for (int n = from; n < from + count; n++) sent.add(producer.send(new ProducerRecord<>(topic, "key " + n, "" + n)));
        for (var future : sent) get(future);
        return from + count;
    }

    static void continues() throws Exception {
        String topic = name("java.continues");
        create(topic, 1);
        var settings = Map.<String, Object>of("group.id", name("java-continues"), "max.poll.records", 7);
        try (var producer = producer(Map.of())) {
            write(producer, topic, 0, 50);
        }
        var read = new ArrayList<String>();
        for (int round = 0; round < 3; round++) {
            try (var consumer = consumer(settings)) {
                consumer.subscribe(List.of(topic));
                poll(consumer, 7).forEach(record -> read.add(record.value()));
                consumer.commitSync(Map.of(
                    new TopicPartition(topic, 0), new OffsetAndMetadata(read.size(), "after " + read.size())));
            }
        }
        equal(IntStream.range(0, 21).mapToObj(n -> "" + n).toList(), read);
        try (var consumer = consumer(settings)) {
            var partition = new TopicPartition(topic, 0);
            equal("after 21", consumer.committed(Set.of(partition), LIMIT).get(partition).metadata());
        }
    }

    static void staticMember() throws Exception {
        String topic = name("java.static");
        create(topic, 1);
        var settings = Map.<String, Object>of("group.id", name("java-static"), "group.instance.id", "one",
            "session.timeout.ms", 45_000, "max.poll.records", 5);
        try (var producer = producer(Map.of()); var admin = admin()) {
            write(producer, topic, 0, 10);
            var generations = new HashSet<Integer>();
            for (int round = 0; round < 2; round++) {
                try (var consumer = consumer(settings)) {
                    consumer.subscribe(List.of(topic));
                    poll(consumer, 5);
                    consumer.commitSync();
                    generations.add(consumer.groupMetadata().generationId());
                    equal("one", consumer.groupMetadata().groupInstanceId().get());
                }
            }
            equal(1, generations.size());
        }
    }

    static void administersGroups() throws Exception {
        String topic = name("java.groups");
        String group = name("java-groups");
        create(topic, 1);
        var partition = new TopicPartition(topic, 0);
        try (var admin = admin()) {
            try (var producer = producer(Map.of())) {
                write(producer, topic, 0, 5);
            }
            try (var consumer = consumer(Map.of("group.id", group))) {
                consumer.subscribe(List.of(topic));
                poll(consumer, 5);
                consumer.commitSync();
                var described = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
                equal(GroupState.STABLE, described.groupState());
                equal(Set.of(partition), described.members().iterator().next().assignment().topicPartitions());
                fails(GroupNotEmptyException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
            }
            var listed = get(admin.listGroups().all());
            equal(1L, listed.stream().filter(found -> found.groupId().equals(group)).count());
            equal(GroupState.EMPTY, get(admin.describeConsumerGroups(List.of(group)).all()).get(group).groupState());
            get(admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(3))).all());
            var offsets = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
            equal(3L, offsets.get(partition).offset());
            get(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all());
            get(admin.deleteConsumerGroups(List.of(group)).all());
            fails(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
        }
    }

    // --- what the cases share --------------------------------------------------------------------------------------

    static String name(String text) {
        return text + "-" + RUN;
    }

    static Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", broker));
    }

    static NewTopic topic(String name, int partitions) {
        return new NewTopic(name, partitions, (short) 1);
    }

    static void create(String topic, int partitions) throws Exception {
        try (var admin = admin()) {
            get(admin.createTopics(List.of(topic(topic, partitions))).all());
        }
    }

    static Producer<String, String> producer(Map<String, Object> settings) {
        var all = new HashMap<String, Object>(settings);
        all.put("bootstrap.servers", broker);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    static Consumer<String, String> consumer(Map<String, Object> settings) {
        var all = new HashMap<String, Object>(settings);
        all.put("bootstrap.servers", broker);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", false);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    static List<ConsumerRecord<String, String>> readAll(String topic, int partitions, int count) {
        try (var consumer = consumer(Map.of())) {
            consumer.assign(IntStream.range(0, partitions).mapToObj(n -> new TopicPartition(topic, n)).toList());
            consumer.seekToBeginning(consumer.assignment());
            return poll(consumer, count);
        }
    }

    /** Polls until there are `count` records; more are a failure. */
    static List<ConsumerRecord<String, String>> poll(Consumer<String, String> consumer, int count) {
        var records = new ArrayList<ConsumerRecord<String, String>>();
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (records.size() < count && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(500)).forEach(records::add);
        }
        equal(count, records.size());
        return records;
    }

    static <T> T get(Future<T> future) throws Exception {
        try {
            return future.get(LIMIT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException error) {
            throw error.getCause() instanceof Exception cause ? cause : error;
        }
    }

    static void await(String what, BooleanSupplierThatThrows holds) throws Exception {
        long deadline = System.nanoTime() + LIMIT.toNanos();
        while (!holds.get()) {
            if (System.nanoTime() > deadline) throw new AssertionError("it never happened: " + what);
            Thread.sleep(20);
        }
    }

    interface BooleanSupplierThatThrows {
        boolean get() throws Exception;
    }

    static void fails(Class<?> wanted, Case run) throws Exception {
        try {
            run.run();
        } catch (Exception error) {
            equal(wanted, error.getClass());
            return;
        }
        throw new AssertionError("it was not refused with " + wanted.getSimpleName());
    }

    static void equal(Object wanted, Object got) {
        if (!Objects.equals(wanted, got)) {
            var shown = new String[] {String.valueOf(got), String.valueOf(wanted)};
            for (int n = 0; n < 2; n++) if (shown[n].length() > 400) shown[n] = shown[n].substring(0, 400) + "…";
            throw new AssertionError("got " + shown[0] + ", wanted " + shown[1]);
        }
    }
}
