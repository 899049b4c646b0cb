"""Files: create, overwrite, truncate, append, rename and delete, each made durable; a model knows every byte.

Directories are filled one after another, and the one before the last is removed with all that is in it.
"""

import os
import shutil

from turn import Turn, content

MOUNT = os.environ["BALLAST_MOUNT"]
FILES = 24
SIZE_MAX = 2 << 20
OPERATIONS_PER_DIRECTORY = 400


class Directory:
    def __init__(self, number):
        self.path = os.path.join(MOUNT, f"soak-files-{number}")
        self.files = {}
        os.mkdir(self.path)

    def change(self, turn, number):
        dice = turn.dice
        name = f"{dice.randrange(FILES)}"
        path = os.path.join(self.path, name)
        before = self.files.get(name)
        if before is None:
            after = content(number, dice.choice((10, 3000, 70_000, dice.randrange(SIZE_MAX))))
            write(path, os.O_CREAT | os.O_EXCL, 0, after)
        else:
            after = getattr(self, dice.choice(("overwrite", "truncate", "append", "remove", "replace")))(
                dice, path, before, number)
        if after is None:
            del self.files[name]
        else:
            self.files[name] = after
        turn.done()

    def overwrite(self, dice, path, before, number):
        begin = dice.randrange(len(before) + 1)
        piece = content(number, dice.randrange(1, 200_000))
        write(path, 0, begin, piece)
        return before[:begin] + piece + before[begin + len(piece):]

    def truncate(self, dice, path, before, number):
        size = dice.randrange(len(before) + 5000)
        with open(path, "r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())
        return before[:size] + bytes(max(0, size - len(before)))

    def append(self, dice, path, before, number):
        if len(before) > SIZE_MAX:
            return self.truncate(dice, path, before, number)
        piece = content(number, dice.randrange(1, 100_000))
        write(path, os.O_APPEND, len(before), piece)
        return before + piece

    def remove(self, dice, path, before, number):
        os.unlink(path)
        return None

    def replace(self, dice, path, before, number):
        after = content(number, dice.randrange(SIZE_MAX))
        write(path + ".new", os.O_CREAT, 0, after)
        os.rename(path + ".new", path)
        return after

    def check(self):
        names = set(os.listdir(self.path))
        assert names == self.files.keys(), f"{self.path} holds {sorted(names)}, not {sorted(self.files)}"
        for name, expected in self.files.items():
            with open(os.path.join(self.path, name), "rb") as file:
                found = file.read()
            assert found == expected, f"{self.path}/{name} holds something else ({len(found)} of {len(expected)} bytes)"


def write(path, flags, offset, piece):
    file = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        written = os.pwrite(file, piece, offset)
        assert written == len(piece), f"{path}: {written} of {len(piece)} bytes written"
        os.fsync(file)
    finally:
        os.close(file)


def main():
    turn = Turn()
    number = 0
    alive = []
    while turn.goes_on():
        if number % OPERATIONS_PER_DIRECTORY == 0:
            alive.append(Directory(number))
            if len(alive) > 2:
                old = alive.pop(0)
                old.check()
                shutil.rmtree(old.path)
        turn.dice.choice(alive).change(turn, number)
        number += 1
    for directory in alive:
        directory.check()
        shutil.rmtree(directory.path)
    turn.finish("files")


main()
