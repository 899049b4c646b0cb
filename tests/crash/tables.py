"""Tables under kills: transactions of three rows and a counter; each is there whole or not at all."""

import os

import psycopg
from ledger import main

HOST, PORT = os.environ["BALLAST_POSTGRES"].rsplit(":", 1)
ROWS = 3


def table(generation):
    return f'"/crash/table-{generation}"'


def connect():
    return psycopg.connect(host=HOST, port=int(PORT), dbname="/", connect_timeout=10, autocommit=True)


def write(ledger, generation):
    connection = connect()
    rows = table(generation)
    while True:
        [number] = ledger.attempt()
        with connection.transaction():
            for part in range(ROWS):
                connection.execute(f"insert into {rows} (id, tx, part) values (%s, %s, %s)",
                                   (number * ROWS + part, number, part))
            # One row that every transaction changes: row -1 counts those that committed.
            connection.execute(f"update {rows} set tx = tx + 1 where id = -1")
        ledger.acknowledged([number])


def check(ledger, generation):
    connection = connect()
    found = {}
    count = None
    for row, number, part in connection.execute(f"select id, tx, part from {table(generation)}").fetchall():
        if row == -1:
            count = number
            continue
        if row != number * ROWS + part:
            yield f"row {row} holds what belongs to {number}, {part}"
        found[number] = found.get(number, 0) + 1
    for number, rows in found.items():
        if rows != ROWS:
            yield f"transaction {number} is there with {rows} of {ROWS} rows"
        if number not in ledger.tried:
            yield f"nobody began transaction {number}"
    for number in sorted(ledger.done - found.keys()):
        yield f"transaction {number} was acknowledged and is not there"
    if count != len(found):
        yield f"{len(found)} transactions are there and {count} were counted"


main(write, check)
