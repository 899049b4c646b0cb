"""Databases under kills: PostgreSQL and MariaDB whose data lies in the mount.

`databases.py DATABASE run DIRECTORY` starts the database on the data in the mount (and makes it before, once), which
lets it recover from the last kill; compares it with the ledgers in DIRECTORY; prints `loaded` and writes until the
mount is gone; then stops the database by its process id, as whoever operates it would. `check` starts it, looks
at everything that it stores, and stops it in order.

Each client makes transfers between accounts, one transaction for each, and notes in a ledger of its own what it tries
and what was acknowledged. Beside them run pgbench or sysbench, whose tables have invariants of their own.
"""

import collections
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

from ledger import Ledger, content

MOUNT = os.environ["BALLAST_MOUNT"]
CLIENTS = 4
ACCOUNTS = 8
START_SECONDS = 120
QUERY_SECONDS = 120
STOP_SECONDS = 60
NOTICE_SECONDS = 30

TABLES = (
    "create table accounts (id int primary key, balance bigint not null)",
    "create table transfers (client int, number int, source int, target int, amount int, note text, "
    "primary key (client, number))",
    "insert into accounts values " + ", ".join(f"({account}, 0)" for account in range(ACCOUNTS)),
)


class Failed(Exception):
    """The database did not do what it was asked to."""


def absent(what):
    print(what)
    sys.exit(77)


def found(program, *directories):
    for directory in (None, *directories):
        if path := shutil.which(program, path=directory):
            return path
    return None


def mount_is_gone():
    try:
        os.statvfs(MOUNT)
        return not os.path.ismount(MOUNT)
    except OSError:
        return True


def transfer(client, number):
    """What the transaction with this number does: it follows from the number."""
    dice = content(client * 1_000_003 + number, 4)
    source, target = dice[0] % ACCOUNTS, dice[1] % ACCOUNTS
    note = content(number, 6000 if dice[2] % 16 == 0 else dice[2]).hex()
    return source, target, dice[3] + 1, note


class Database:
    """A database whose data lies in the mount, and everything else of it in `directory`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.data = os.path.join(MOUNT, self.name)
        self.made = self.directory / f"{self.name}.made"
        self.log = self.directory / f"{self.name}.log"
        self.own = self.directory / "own"
        self.user = next((user for user in (*self.users, "nobody") if known(user)), None) if os.geteuid() == 0 else None
        self.server = None

    def spawn(self, words, **how):
        """Starts a program in a session of its own; a database does not run as root."""
        if self.user:
            how["user"], how["group"], how["extra_groups"] = self.user, group_of(self.user), ()
        # Where temporary files are, that user may not be allowed to.
        environment = dict(os.environ, TMPDIR=str(self.own))
        return subprocess.Popen([str(word) for word in words], cwd="/", start_new_session=True, env=environment, **how)

    def run(self, words, seconds=QUERY_SECONDS, **how):
        program = self.spawn(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, **how)
        try:
            # A database that falls over warns clients that have all their rows.
            said, warned = program.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            raise Failed(f"{words[0]} did not end in {seconds} s") from None
        if program.returncode:
            raise Failed(f"{' '.join(map(str, words))} left with {program.returncode}: {(said + warned)[-2000:]}")
        return said

    def make(self):
        """Makes the data directory and the tables. What an earlier attempt left half done goes first."""
        if self.made.exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        os.mkdir(self.data, 0o700)
        self.own.mkdir(exist_ok=True)
        if self.user:
            shutil.chown(self.data, self.user, group_of(self.user))
            shutil.chown(self.own, self.user, group_of(self.user))
        self.initialise()
        self.start()
        self.prepare()
        for table in TABLES:
            self.query(table)
        self.stop()
        self.made.touch()

    def start(self):
        with open(self.log, "ab") as log:
            self.server = self.spawn(self.server_words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(Failed):
                self.query("select 1", seconds=10)
                return
            if self.server.poll() is not None or mount_is_gone():
                raise Failed(f"{self.name} did not start: {self.last_words()}")
            time.sleep(0.05)
        raise Failed(f"{self.name} did not start in {START_SECONDS} s: {self.last_words()}")

    def last_words(self):
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self):
        """An orderly end: it must come, and with 0."""
        self.server.send_signal(self.stop_signal)
        try:
            status = self.server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not stop in {STOP_SECONDS} s") from None
        if status:
            raise Failed(f"{self.name} stopped with {status}: {self.last_words()}")

    def end(self):
        """The end after the mount has gone, whatever state it is in."""
        if self.server is None:
            return
        if self.server.poll() is None:
            self.server.send_signal(self.quit_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(10)
        # Its children too: they are of its group. A last one would hold on to memory that the next start wants.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def ledger(self, client):
        return Ledger(str(self.directory / f"{self.name}-{client}.ledger"))

    def write(self, client):
        """Transfers until the database or the mount is gone."""
        ledger = self.ledger(client)
        session = self.spawn(self.client_words(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)
        with contextlib.suppress(BrokenPipeError), session:
            while True:
                [number] = ledger.attempt()
                source, target, amount, note = transfer(client, number)
                # Always in the order of the accounts, so that nobody waits in a circle.
                changes = sorted([(source, -amount), (target, amount)])
                updates = [f"update accounts set balance = balance + {change} where id = {account};"
                           for account, change in changes]
                session.stdin.write(
                    f"begin; insert into transfers values ({client}, {number}, {source}, {target}, {amount}, '{note}'); "
                    f"{' '.join(updates)} commit; select 'done {number}';\n")
                session.stdin.flush()
                if session.stdout.readline().strip() != f"done {number}":
                    break
                ledger.acknowledged([number])
            session.kill()

    def compare(self):
        """What is wrong with the transfers, against the ledgers."""
        balances = collections.Counter()
        there = collections.defaultdict(set)
        rows = self.query("select client, number, source, target, amount, note from transfers")
        for client, number, source, target, amount, note in rows:
            row = client, number = int(client), int(number)
            there[client].add(number)
            if (int(source), int(target), int(amount), note) != transfer(*row):
                yield f"transfer {number} of client {client} is there and not whole"
            balances[int(source)] -= int(amount)
            balances[int(target)] += int(amount)
        acknowledged = 0
        for client in range(CLIENTS):
            ledger = self.ledger(client)
            acknowledged += len(ledger.done)
            for number in sorted(ledger.done - there[client]):
                yield f"transfer {number} of client {client} was acknowledged and is not there"
            for number in sorted(there[client] - ledger.tried):
                yield f"nobody made transfer {number} of client {client}"
        for account, balance in self.query("select id, balance from accounts"):
            if int(balance) != balances[int(account)]:
                yield f"account {account} has {balance}, and its transfers add up to {balances[int(account)]}"
        yield from self.compare_load()
        print(f"{self.name}: {acknowledged} acknowledged transfers compared")


class PostgreSQL(Database):
    name = "postgresql"
    users = ("postgres",)
    stop_signal = signal.SIGINT
    quit_signal = signal.SIGQUIT

    def __init__(self, directory):
        super().__init__(directory)
        own = sorted(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        self.programs = {}
        for program in ("postgres", "initdb", "psql", "pgbench", "pg_amcheck", "pg_dump"):
            self.programs[program] = found(program, *own) or absent(f"{program} (package postgresql)")
        # Programs in the PATH may be links to where PostgreSQL looks for the rest of itself.
        self.connection = ["-h", self.own, "-p", "5432", "-U", "ballast"]

    def initialise(self):
        self.run([self.programs["initdb"], "-D", self.data, "-A", "trust", "-U", "ballast", "-E", "UTF8",
                  "--locale=C", "--data-checksums"])

    def prepare(self):
        self.query("create extension amcheck")
        self.run([self.programs["pgbench"], *self.connection, "-q", "-i", "-s", "2", "postgres"])

    def server_words(self):
        # Small checkpoints, so that kills meet them.
        settings = {"listen_addresses": "", "unix_socket_directories": self.own, "port": 5432,
                    "checkpoint_timeout": "30s", "max_wal_size": "64MB", "shared_buffers": "16MB"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [os.path.realpath(self.programs["postgres"]), "-D", self.data, *words]

    def client_words(self):
        return [self.programs["psql"], *self.connection, "-d", "postgres", "-X", "-q", "-A", "-t", "-F", "\t",
                "-v", "ON_ERROR_STOP=1"]

    def query(self, sql, seconds=QUERY_SECONDS):
        said = self.run([*self.client_words(), "-c", sql], seconds)
        return [line.split("\t") for line in said.splitlines()]

    def load(self):
        return [self.programs["pgbench"], *self.connection, "-n", "-c", "2", "-T", "3600", "postgres"]

    def compare_load(self):
        sums = ("select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), "
                "(select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history)")
        [balances] = self.query(sums)
        if len(set(balances)) != 1:
            yield f"pgbench's balances do not agree: {balances}"

    def look_at_all(self):
        """Every page of every relation, every index against its table, and a dump of everything."""
        self.run([self.programs["pg_amcheck"], *self.connection, "--all", "--heapallindexed"])
        self.run([self.programs["pg_dump"], *self.connection, "-f", "/dev/null", "postgres"])


class MariaDB(Database):
    name = "mariadb"
    users = ("mysql", "mariadb")
    stop_signal = signal.SIGTERM
    quit_signal = signal.SIGKILL

    def __init__(self, directory):
        super().__init__(directory)
        self.programs = {}
        for program in ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump"):
            self.programs[program] = found(program, "/usr/sbin") or absent(f"{program} (package mariadb-server)")
        self.sysbench = found("sysbench") or absent("sysbench (package sysbench)")
        self.socket = self.own / "mariadb.sock"
        self.connection = ["--no-defaults", f"--socket={self.socket}", "-uroot"]

    def initialise(self):
        self.run([self.programs["mariadb-install-db"], "--no-defaults", f"--datadir={self.data}",
                  "--auth-root-authentication-method=normal", "--skip-test-db"])

    def prepare(self):
        self.run([self.programs["mariadb"], *self.connection, "-e", "create database ballast"])
        self.run([*self.sysbench_words(), "prepare"])

    def server_words(self):
        return [self.programs["mariadbd"], "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}",
                f"--pid-file={self.own / 'mariadb.pid'}", "--skip-networking", "--innodb-buffer-pool-size=32M",
                "--innodb-log-file-size=16M"]

    def client_words(self):
        return [self.programs["mariadb"], *self.connection, "--batch", "--skip-column-names", "--unbuffered", "ballast"]

    def query(self, sql, seconds=QUERY_SECONDS):
        # The tests of the start come before there is a database of ours.
        words = [self.programs["mariadb"], *self.connection, "--batch", "--skip-column-names"]
        said = self.run([*words, "-e", sql if sql == "select 1" else f"use ballast; {sql}"], seconds)
        return [line.split("\t") for line in said.splitlines()]

    def sysbench_words(self):
        return [self.sysbench, "oltp_write_only", "--db-driver=mysql", f"--mysql-socket={self.socket}",
                "--mysql-user=root", "--mysql-db=ballast", "--tables=2", "--table-size=5000", "--threads=2",
                "--time=3600"]

    def load(self):
        return [*self.sysbench_words(), "run"]

    def compare_load(self):
        for table in ("sbtest1", "sbtest2"):
            # Each of its transactions removes a row and puts it back.
            [[rows]] = self.query(f"select count(*) from {table}")
            if rows != "5000":
                yield f"{table} has {rows} rows of 5000"

    def look_at_all(self):
        """Every page and index of every table, and a dump of everything."""
        tables = {f"{schema}.{table}": options for schema, table, options in self.query(
            "select table_schema, table_name, create_options from information_schema.tables where "
            "table_type = 'BASE TABLE' and table_schema not in ('information_schema', 'performance_schema')")}
        said = self.query(f"check table {', '.join(tables)} extended")
        for table, options in tables.items():
            messages = [(sort.lower(), text) for name, _, sort, text in said if name == table]
            if ("status", "OK") not in messages or not all(allowed(*message, options) for message in messages):
                raise Failed(f"check table {table} ({options}): {messages}")
        self.run([self.programs["mariadb-dump"], *self.connection, "--single-transaction", "--result-file=/dev/null",
                  "ballast"])


def allowed(sort, text, options):
    """Whether MariaDB may say this of a table whose files are whole."""
    if sort == "warning":
        # A table that is not transactional notes in its file that it is open for writing, and a hard end of the
        # database leaves the note, on any file system: MariaDB recovers none of these tables. The statistics of
        # the optimizer are such tables of Aria.
        return text.endswith("closed the table properly") and "transactional=0" in options
    return sort == "note" or (sort, text) == ("status", "OK")


def known(user):
    import pwd
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(user)
    return None


def group_of(user):
    return known(user).pw_gid


def run(database):
    database.make()
    database.start()
    problems = list(database.compare())
    if problems:
        return problems
    print("loaded", flush=True)
    writers = [threading.Thread(target=database.write, args=[client]) for client in range(CLIENTS)]
    load = database.spawn(database.load(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
    for writer in writers:
        writer.start()
    end = None
    while any(writer.is_alive() for writer in writers):
        time.sleep(0.05)
        if end is None and mount_is_gone():
            end = time.monotonic() + NOTICE_SECONDS
        if end is not None and time.monotonic() > end:
            # What clings to a dead database goes with it.
            database.end()
    load.kill()
    load.wait()
    if not mount_is_gone():
        raise Failed(f"{database.name} fell over although the mount is there: {database.last_words()}")
    return []


def check(database):
    database.start()
    problems = list(database.compare())
    database.look_at_all()
    database.stop()
    return problems


def main():
    name, verb, directory = sys.argv[1:]
    database = {"postgresql": PostgreSQL, "mariadb": MariaDB}[name](directory)
    try:
        problems = {"run": run, "check": check}[verb](database)
    except (Failed, OSError) as failure:
        # Without the mount it could not but fail.
        problems = [] if mount_is_gone() else [str(failure)]
    finally:
        database.end()
    for problem in problems[:20]:
        print(f"not ok - {problem}")
    sys.exit(1 if problems else 0)


main()
