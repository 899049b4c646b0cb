"""One snapshot cuts files, a stream and a table at one instant while all three are written.

One writer takes numbered steps in a fixed order: file k with fsync, record k acknowledged, row k committed, file
k + 1, … Whatever a snapshot shows must be a prefix of that history. Beside it a writer of each kind goes its own
way. A snapshot must show all that was acknowledged before it was asked for, and nothing that was begun after it was
answered. It is read twice by serving it: after the load, and after more was written, removed and settled.

It starts servers of its own, because serving a snapshot needs the bucket. Environment: BALLAST, the command.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import psycopg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

BALLAST = os.environ["BALLAST"]
SNAPSHOTS = 5
RECORD = 1000
# More than the log keeps before it settles, so that what snapshots need of it has to move.
BULK_BYTES = 160 << 20


def content(kind, number, size):
    seed = hashlib.sha256(f"{kind} {number}".encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def size(number):
    return (10, 3000, 40_000, 200_000)[number % 4]


class Server:
    """`ballast up` over the bucket of this test; the present, or a snapshot."""

    def __init__(self, directory, snapshot=None):
        self.mount = os.path.join(directory, "mount")
        any_port = "127.0.0.1:0"
        words = [BALLAST, "up", "--json", "--bucket", os.path.join(directory, "bucket"), "--mount", self.mount,
                 "--kafka", any_port, "--postgres", any_port, "--http", any_port]
        words += ["--snapshot", snapshot] if snapshot else []
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, f"{' '.join(words)} did not serve"
        listeners = json.loads(line)["listeners"]
        self.http, self.kafka, self.postgres = listeners["http"], listeners["kafka"], listeners["postgres"]

    def sql(self):
        host, port = self.postgres.rsplit(":", 1)
        return psycopg.connect(host=host, port=int(port), dbname="/", autocommit=True)

    def producer(self):
        return KafkaProducer(bootstrap_servers=self.kafka, acks="all", linger_ms=0)

    def ballast(self, *words):
        subprocess.run([BALLAST, *words], env={**os.environ, "BALLAST_SERVER": self.http}, check=True,
                       stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=60) == 0, "the server did not leave in order"


class Writer(threading.Thread):
    """Takes steps until it is told to stop. `begun` and `done` count steps."""

    def __init__(self, step):
        super().__init__()
        self.step, self.begun, self.done, self.failure = step, 0, 0, None
        self.stopping = False

    def run(self):
        try:
            while not self.stopping:
                self.begun += 1
                self.step(self.done)
                self.done += 1
        except Exception as error:  # shown by the check that all went well
            self.failure = error


def write_file(path, data):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)


def writers(server):
    """The writer of the history, then one of each kind. A history's step is a third of a round."""
    producer, rows = server.producer(), server.sql()

    def history(step):
        number, kind = divmod(step, 3)
        if kind == 0:
            write_file(os.path.join(server.mount, "history", str(number)), content("file", number, size(number)))
        elif kind == 1:
            producer.send("history-stream", content("record", number, size(number)), partition=0).get(timeout=30)
        else:
            rows.execute("insert into history_table values (%s, %s)", (number, content("row", number, 50).hex()))

    def files(number):
        with open(os.path.join(server.mount, "journal"), "r+b") as journal:
            journal.seek(number * RECORD)
            journal.write(content("journal", number, RECORD))
            journal.flush()
            os.fsync(journal.fileno())

    own_producer = server.producer()

    def streams(number):
        own_producer.send("own-stream", content("own", number, RECORD), partition=0).get(timeout=30)

    own_rows = server.sql()

    def tables(number):
        with own_rows.transaction():
            for part in (0, 1):
                own_rows.execute("insert into own_table values (%s, %s)", (2 * number + part, number))

    return [Writer(step) for step in (history, files, streams, tables)]


def records(server, topic):
    """The number of records; each must be what was sent."""
    kind = "record" if topic == "history-stream" else "own"
    consumer = KafkaConsumer(bootstrap_servers=server.kafka, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    count = 0
    while count < end:
        found = consumer.poll(timeout_ms=20_000).get(partition, [])
        assert found, f"{topic}: reading stops at {count} of {end}"
        for record in found:
            expected = content(kind, count, size(count) if kind == "record" else RECORD)
            assert (record.offset, record.value) == (count, expected), f"{topic}: record {count} is not what was sent"
            count += 1
    consumer.close()
    return count


def read(server):
    """How far each writer had come, by what is there. Steps of the history, then records of each kind."""
    directory = os.path.join(server.mount, "history")
    names = sorted(map(int, os.listdir(directory)))
    assert names == list(range(len(names))), f"files are missing: {names}"
    whole = 0
    for number in names:
        with open(os.path.join(directory, str(number)), "rb") as file:
            found = file.read()
        if found == content("file", number, size(number)):
            whole += 1
        else:
            assert number == names[-1], f"file {number} of {len(names)} is not what was synced"
    sent = records(server, "history-stream")
    with server.sql() as sql:
        rows = sql.execute("select id, v from history_table order by id").fetchall()
        assert rows == [(number, content("row", number, 50).hex()) for number in range(len(rows))], "rows differ"
        own = sql.execute("select id, n from own_table order by id").fetchall()
    assert own == [(row, row // 2) for row in range(len(own))] and len(own) % 2 == 0, "half a transaction is there"
    with open(os.path.join(server.mount, "journal"), "rb") as file:
        journal = file.read()
    kept = len(journal) // RECORD
    if journal[(kept - 1) * RECORD : kept * RECORD] != content("journal", kept - 1, RECORD):
        kept -= 1  # written and not yet synced
    for number in range(kept):
        assert journal[number * RECORD : (number + 1) * RECORD] == content("journal", number, RECORD), f"journal {number}"
    # A prefix: file k, record k, row k, file k + 1, …
    assert whole >= sent >= len(rows) and whole - len(rows) <= 1, f"{whole} files, {sent} records, {len(rows)} rows"
    assert len(names) == whole or whole == len(rows), f"file {whole} is begun before row {len(rows)} was there"
    return [whole + sent + len(rows), kept, records(server, "own-stream"), len(own) // 2]


def main():
    with tempfile.TemporaryDirectory(dir=".") as directory:
        check(os.path.abspath(directory))


def check(directory):
    server = Server(directory)
    server.ballast("create", "stream", "/history-stream")
    server.ballast("create", "stream", "/own-stream")
    with server.sql() as sql:
        sql.execute("create table history_table (id int primary key, v text)")
        sql.execute("create table own_table (id int primary key, n int)")
    os.mkdir(os.path.join(server.mount, "history"))
    os.mknod(os.path.join(server.mount, "journal"))
    all_writers = writers(server)
    for writer in all_writers:
        writer.start()
    bounds = {}
    for number in range(SNAPSHOTS):
        time.sleep(1)
        least = [writer.done for writer in all_writers]
        server.ballast("snapshot", "create", f"s{number}")
        bounds[f"s{number}"] = least, [writer.begun for writer in all_writers]
    for writer in all_writers:
        writer.stopping = True
    for writer in all_writers:
        writer.join()
    failures = [str(writer.failure) for writer in all_writers if writer.failure]
    assert not failures, f"a client saw an error: {failures}"
    written = [writer.done for writer in all_writers]
    assert read(server) == written, "the present is not what was acknowledged"
    server.stop()
    print(f"ok - {written[0]} steps of one history, and {written[1:]} of each kind, were acknowledged and are there")
    first = {}
    for name, (least, most) in bounds.items():
        server = Server(directory, name)
        first[name] = read(server)
        server.stop()
        within = all(low <= found <= high for low, found, high in zip(least, first[name], most))
        assert within, f"{name} shows {first[name]}, not between {least} and {most}"
    assert len({tuple(found) for found in first.values()}) == SNAPSHOTS, f"snapshots are alike: {first}"
    steps = ", ".join(str(found[0]) for found in first.values())
    print(f"ok - each of {SNAPSHOTS} snapshots shows a prefix of the history ({steps} steps) at its own instant")
    server = Server(directory)
    for name in os.listdir(os.path.join(server.mount, "history")):
        os.unlink(os.path.join(server.mount, "history", name))
    os.rmdir(os.path.join(server.mount, "history-stream"))
    with server.sql() as sql:
        sql.execute("drop table history_table")
        sql.execute("update own_table set n = -1")
    with open(os.path.join(server.mount, "bulk"), "wb") as file:
        for part in range(BULK_BYTES >> 20):
            file.write(content("bulk", part, 1 << 20))
        file.flush()
        os.fsync(file.fileno())
    server.stop()
    for name, found in first.items():
        server = Server(directory, name)
        again = read(server)
        server.stop()
        assert again == found, f"{name} showed {found} and shows {again}"
    print("ok - they show the same after all of it was removed and more was written")
    bucket = os.path.join(directory, "bucket")
    said = subprocess.run([BALLAST, "fsck", bucket], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    print("ok - fsck finds nothing")


try:
    main()
except AssertionError as error:
    print(f"not ok - {error}")
    sys.exit(1)
