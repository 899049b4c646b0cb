"""What the writers of a soak share: how long they work, bytes that follow from a number, a seed."""

import hashlib
import random
import sys
import time


class Turn:
    """`KIND.py SECONDS SEED`: work for so long; every choice follows from the seed."""

    def __init__(self):
        self.end = time.monotonic() + float(sys.argv[1])
        self.dice = random.Random(int(sys.argv[2]))
        self.operations = 0

    def goes_on(self):
        return time.monotonic() < self.end

    def done(self, count=1):
        self.operations += count

    def finish(self, kind):
        print(f"ok - {kind}: {self.operations} operations, all as expected, all removed")


def content(number, size):
    """Bytes that depend on the number alone and do not compress to nothing."""
    block = b"".join(hashlib.sha256(f"{number}.{part}".encode()).digest() for part in range(32))
    return (block * (size // len(block) + 1))[:size]
