"""Files under kills: whole files by rename, and a journal that grows by appends, each made durable by fsync."""

import contextlib
import os

from ledger import content, main

MOUNT = os.environ["BALLAST_MOUNT"]
RECORD = 100


def place(generation):
    return os.path.join(MOUNT, f"crash-{generation}")


def size(number):
    """From a byte to beyond what is kept in the inode, and now and then several blocks."""
    return (1, 100, 5000, 70000)[number % 4] + number % 97


def sync(path):
    directory = os.open(path, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def write(ledger, generation):
    directory = place(generation)
    os.makedirs(directory, exist_ok=True)
    sync(MOUNT)
    journal = os.open(os.path.join(directory, "journal"), os.O_WRONLY | os.O_CREAT)
    while True:
        [number] = ledger.attempt()
        if number % 3 == 0:
            os.pwrite(journal, content(number, RECORD), number // 3 * RECORD)
            os.fdatasync(journal)
        else:
            temporary = os.path.join(directory, "temporary")
            with open(temporary, "wb") as file:
                file.write(content(number, size(number)))
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, os.path.join(directory, str(number)))
            sync(directory)
            if number % 5 == 4:
                # Not `exists` first: it answers no as well when the server is gone.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, str(number - 3)))
                sync(directory)
        ledger.acknowledged([number])


def check(ledger, generation):
    directory = place(generation)
    if not ledger.done:
        return
    names = set(os.listdir(directory))
    with open(os.path.join(directory, "journal"), "rb") as file:
        journal = file.read()
    for number in sorted(ledger.tried):
        done = number in ledger.done
        if number % 3 == 0:
            there = journal[number // 3 * RECORD : (number // 3 + 1) * RECORD]
            if done and there != content(number, RECORD):
                yield f"journal record {number} was acknowledged and is not there"
            continue
        # Whoever was removed was removed by the attempt three later.
        removed = (number + 3) % 5 == 4 and (number + 3) % 3 != 0 and number + 3 in ledger.tried
        if str(number) in names:
            if removed and number + 3 in ledger.done:
                yield f"file {number} was removed and is back"
            with open(os.path.join(directory, str(number)), "rb") as file:
                if file.read() != content(number, size(number)):
                    yield f"file {number} is there and not whole"
        elif done and not removed:
            yield f"file {number} was acknowledged and is not there"
    strange = names - {"journal", "temporary"} - {str(number) for number in ledger.tried}
    for name in strange:
        yield f"nobody made {name}"


main(write, check)
