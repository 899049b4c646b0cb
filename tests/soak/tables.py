"""Tables: made, filled, updated and thinned out by transactions, compared with a model, dropped, and made anew."""

import os

import psycopg
from turn import Turn, content

HOST, PORT = os.environ["BALLAST_POSTGRES"].rsplit(":", 1)
TRANSACTIONS = 300
KEYS = 2000
# Every second table has the name of the one that was dropped before it.
NAMES = 2


def transact(connection, turn, table, rows, number):
    """One transaction; one in ten is rolled back."""
    dice = turn.dice
    after = dict(rows)
    with connection.transaction(force_rollback=dice.randrange(10) == 0) as transaction:
        for step in range(dice.randrange(1, 8)):
            key = dice.randrange(KEYS)
            value = content(f"{number}.{step}", dice.randrange(1, 2000)).hex()[: dice.randrange(1, 2000)]
            if key not in after:
                connection.execute(f"insert into {table} (id, n, v) values (%s, %s, %s)", (key, step, value))
                after[key] = (step, value)
            elif dice.randrange(3):
                connection.execute(f"update {table} set n = n + 1, v = %s where id = %s", (value, key))
                after[key] = (after[key][0] + 1, value)
            else:
                connection.execute(f"delete from {table} where id = %s", (key,))
                del after[key]
    turn.done()
    return rows if transaction.force_rollback else after


def check(connection, table, rows):
    found = {key: (n, v) for key, n, v in connection.execute(f"select id, n, v from {table}").fetchall()}
    wrong = [key for key in rows.keys() | found.keys() if rows.get(key) != found.get(key)]
    assert not wrong, f"{table}: rows {sorted(wrong)[:10]} are not as they were committed"


def main():
    turn = Turn()
    connection = psycopg.connect(host=HOST, port=int(PORT), dbname="/", autocommit=True)
    number = 0
    alive = []
    while turn.goes_on():
        table = f"soak_table_{number % NAMES}"
        connection.execute(f"create table {table} (id int primary key, n int, v text)")
        rows = {}
        for transaction in range(TRANSACTIONS):
            rows = transact(connection, turn, table, rows, f"{number}.{transaction}")
            if not turn.goes_on():
                break
        check(connection, table, rows)
        alive.append((table, rows))
        number += 1
        if len(alive) == NAMES:
            old, rows = alive.pop(0)
            check(connection, old, rows)
            connection.execute(f"drop table {old}")
    for table, rows in alive:
        check(connection, table, rows)
        connection.execute(f"drop table {table}")
    turn.finish("tables")


main()
