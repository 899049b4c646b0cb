"""What a writer tried and what was acknowledged to it: one line before each attempt, one after.

The ledger lies outside the tree, so that it outlives the server. A number is never tried twice.
"""

import hashlib
import sys


class Ledger:
    def __init__(self, path):
        self.path = path
        self.tried, self.done = set(), set()
        try:
            with open(path) as lines:
                for line in lines:
                    word, number = line.split()
                    (self.tried if word == "try" else self.done).add(int(number))
        except FileNotFoundError:
            pass
        self.next = max(self.tried, default=-1) + 1
        self.file = None

    def _write(self, word, numbers):
        if self.file is None:
            self.file = open(self.path, "a")
        self.file.write("".join(f"{word} {number}\n" for number in numbers))
        self.file.flush()

    def attempt(self, count=1):
        """The next `count` numbers, written down as tried."""
        numbers = list(range(self.next, self.next + count))
        self.next += count
        self._write("try", numbers)
        return numbers

    def acknowledged(self, numbers):
        self._write("done", numbers)


def content(number, size):
    """Bytes that depend on the number alone, so that a piece of another write shows."""
    seed = hashlib.sha256(str(number).encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def main(write, check):
    """`KIND.py write|check LEDGER GENERATION`."""
    verb, path, generation = sys.argv[1:4]
    if verb == "write":
        write(Ledger(path), generation)
        return
    ledger = Ledger(path)
    problems = list(check(ledger, generation))
    for problem in problems[:20]:
        print(f"not ok - {problem}")
    if not problems:
        print(f"ok - {len(ledger.done)} acknowledged of {len(ledger.tried)} tried are there")
    sys.exit(1 if problems else 0)
