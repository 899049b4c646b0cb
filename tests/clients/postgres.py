"""Checks a running server with PostgreSQL's own client and with psycopg.

Usage: python postgres.py postgresql://127.0.0.1:5432 [CHECK...]  (a CHECK is a part of a name)

Needs psql on the PATH and `pip install "psycopg[binary]"`. Makes and drops tables named clients_*. Exits with 1 if a
check fails; those behind it run all the same.
"""

import datetime
import decimal
import subprocess
import sys
import threading
import time
import traceback
import uuid

import psycopg

URL = sys.argv[1].rstrip("/")
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def connect(**options):
    return psycopg.connect(URL + "/", **options)


def psql(*commands, stdin=None, bare=True):
    """The output of psql, which stops at the first error; `bare` leaves out headings and footers."""
    words = ["psql", "-X", "-A", *(["-t"] if bare else []), "-v", "ON_ERROR_STOP=1", URL + "/"]
    for command in commands:
        words += ["-c", command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@check
def psql_runs_statements_and_describes():
    psql("DROP TABLE IF EXISTS clients_t")
    psql("CREATE TABLE clients_t (id int PRIMARY KEY, name text DEFAULT 'x', price numeric(8,2))")
    assert psql("INSERT INTO clients_t VALUES (1, 'one', 1.5), (2, 'two', 2.5)") == "INSERT 0 2"
    assert psql("SELECT * FROM clients_t") == "1|one|1.50\n2|two|2.50"
    assert psql("SELECT count(*), sum(price) FROM clients_t") == "2|4.00"
    assert "clients_t" in psql(r"\dt")
    described = psql(r"\d clients_t", bare=False)
    assert "numeric(8,2)" in described and "clients_t_pkey" in described, described
    assert psql("SELECT version()").startswith("PostgreSQL 15")
    psql(r"\l")
    psql(r"\dn")


@check
def psql_copies_both_ways():
    psql("TRUNCATE clients_t")
    psql(r"\copy clients_t (id, name) from pstdin csv", stdin='1,"a,b"\n2,c\n')
    assert psql(r"\copy clients_t (id, name) to stdout csv") == '1,"a,b"\n2,c'


@check
def every_type_goes_both_ways_as_text_and_binary():
    row = (
        1,
        "grüße",
        decimal.Decimal("1.500"),
        b"\0\1",
        uuid.UUID(int=5),
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 0, 0, 5, tzinfo=datetime.timezone.utc),
        datetime.datetime(1969, 12, 31, 23, 59, 59),
        2.5,
        True,
    )
    with connect(autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS clients_types")
        connection.execute(
            "CREATE TABLE clients_types (id int8 PRIMARY KEY, s text, n numeric(10,3), b bytea, u uuid, d date, "
            "tz timestamptz, ts timestamp, f float8, ok bool)"
        )
        for binary in (False, True):
            values = ", ".join(["%b" if binary else "%s"] * len(row))
            connection.execute("DELETE FROM clients_types")
            connection.execute(f"INSERT INTO clients_types VALUES ({values})", row)
            cursor = connection.cursor(binary=binary)
            assert cursor.execute("SELECT * FROM clients_types WHERE id = %s", (1,)).fetchone() == row
            # Through the planner as well.
            assert cursor.execute("SELECT DISTINCT * FROM clients_types WHERE id > %s", (0,)).fetchone() == row
        nulls = (2,) + (None,) * 9
        connection.execute(f"INSERT INTO clients_types VALUES ({', '.join(['%s'] * 10)})", nulls)
        assert connection.execute("SELECT * FROM clients_types WHERE id = 2").fetchone() == nulls


@check
def transactions_commit_roll_back_and_fail():
    with connect() as connection:
        connection.execute("DROP TABLE IF EXISTS clients_tx")
        connection.execute("CREATE TABLE clients_tx (id int PRIMARY KEY, v int)")
        connection.execute("INSERT INTO clients_tx VALUES (1, 10)")
        connection.commit()
        connection.execute("UPDATE clients_tx SET v = 99 WHERE id = %s", (1,))
        connection.rollback()
        assert connection.execute("SELECT v FROM clients_tx").fetchall() == [(10,)]
        try:
            connection.execute("INSERT INTO clients_tx VALUES (1, 0)")
            raise AssertionError("a duplicate key was accepted")
        except psycopg.errors.UniqueViolation as error:
            assert error.diag.message_detail == "Key (id)=(1) already exists."
        try:
            connection.execute("SELECT 1")
            raise AssertionError("a failed transaction went on")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        connection.rollback()


@check
def the_second_of_two_writers_gets_40001():
    with connect() as one, connect() as two:
        one.execute("UPDATE clients_tx SET v = v + 1 WHERE id = 1")
        two.execute("UPDATE clients_tx SET v = v + 1 WHERE id = 1")
        one.commit()
        try:
            two.commit()
            raise AssertionError("a lost update")
        except psycopg.errors.SerializationFailure:
            two.rollback()


@check
def upserts_returning_and_pipelines():
    with connect(autocommit=True) as connection:
        sql = "INSERT INTO clients_tx VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = clients_tx.v + excluded.v RETURNING v"
        first = connection.execute("SELECT v FROM clients_tx WHERE id = 1").fetchone()[0]
        assert connection.execute(sql, (1, 5)).fetchone() == (first + 5,)
        with connection.pipeline():
            for key in range(10, 60):
                connection.execute("INSERT INTO clients_tx VALUES (%s, %s)", (key, key))
        assert connection.execute("SELECT count(*) FROM clients_tx WHERE id >= 10").fetchone() == (50,)
        # A pipeline up to its sync is one transaction.
        try:
            with connection.pipeline():
                connection.execute("INSERT INTO clients_tx VALUES (100, 1)")
                connection.execute("INSERT INTO clients_tx VALUES (1, 1)")
            raise AssertionError("a duplicate key was accepted")
        except psycopg.errors.UniqueViolation:
            pass
        assert connection.execute("SELECT count(*) FROM clients_tx WHERE id = 100").fetchone() == (0,)


@check
def prepared_statements_are_forgotten_on_request():
    # psycopg itself does so after DROP and ROLLBACK, once it has prepared anything.
    with connect(autocommit=True, prepare_threshold=0) as connection:
        connection.execute("CREATE TABLE clients_forgotten (id int PRIMARY KEY)")
        connection.execute("INSERT INTO clients_forgotten VALUES (%s)", (1,))
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO clients_forgotten VALUES (%s)", (2,))
        assert connection.execute("SELECT id FROM clients_forgotten").fetchall() == [(1,)]
        connection.execute("DROP TABLE clients_forgotten")
        connection.execute("DISCARD ALL")
        try:
            connection.execute("DEALLOCATE nothing")
            raise AssertionError("a statement that is not there was forgotten")
        except psycopg.errors.InvalidSqlStatementName:
            pass


@check
def copy_streams_both_ways():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE clients_tx")
        with cursor.copy("COPY clients_tx (id, v) FROM STDIN") as copy:
            for key in range(5000):
                copy.write_row((key, key))
        connection.commit()
        with cursor.copy("COPY clients_tx TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 5000
        # One that the client gives up leaves nothing.
        try:
            with cursor.copy("COPY clients_tx (id, v) FROM STDIN") as copy:
                copy.write_row((9000, 1))
                raise KeyError
        except KeyError:
            connection.rollback()
        assert connection.execute("SELECT count(*) FROM clients_tx").fetchone() == (5000,)
        connection.commit()
        # It is answered with the code by which drivers know their own giving up.
        raw = connection.pgconn
        raw.exec_(b"COPY clients_tx (id, v) FROM STDIN")
        raw.put_copy_data(b"9001\t1\n")
        raw.put_copy_end(b"given up")
        assert raw.get_result().error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"
        assert raw.get_result() is None
        assert connection.execute("SELECT count(*) FROM clients_tx").fetchone() == (5000,)


@check
def a_running_query_can_be_cancelled():
    with connect(autocommit=True) as connection:
        timer = threading.Timer(0.5, connection.cancel)
        timer.start()
        try:
            connection.execute("SELECT count(*) FROM clients_tx a, clients_tx b, clients_tx c WHERE a.v + b.v + c.v < 0")
            raise AssertionError("the query was not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        finally:
            timer.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)


@check
def many_idle_connections_do_not_keep_another_out():
    idle = [connect() for _ in range(200)]
    assert connect().execute("SELECT 1").fetchone() == (1,)
    for connection in idle:
        connection.close()


def main():
    wanted, failed = sys.argv[2:], 0
    for function in CHECKS:
        if wanted and not any(text in function.__name__ for text in wanted):
            continue
        started = time.time()
        try:
            function()
            print(f"ok - {function.__name__} ({time.time() - started:.1f} s)", flush=True)
        except Exception as error:  # every failure is reported, whatever it is
            failed += 1
            print(f"not ok - {function.__name__}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
            traceback.print_exc()
    with connect(autocommit=True) as connection:
        for table in ("clients_t", "clients_types", "clients_tx"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
