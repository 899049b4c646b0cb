#!/bin/sh
# Programs of every day on the mount.
set -u
[ -n "${BALLAST_MOUNT:-}" ] || { echo "this machine cannot mount"; exit 77; }
failed=0
check() {
    what=$1
    shift
    if said=$("$@" 2>&1); then echo "ok - $what"; else echo "not ok - $what: $said"; failed=1; fi
}

copies_keep_everything() {
    mkdir from && echo text > from/file && ln -s file from/link && ln from/file from/hard && chmod 640 from/file \
        && touch -d '2001-02-03 04:05:06' from/file && mkdir from/empty || return 1
    cp -a from "$BALLAST_MOUNT/copied" && diff -r from "$BALLAST_MOUNT/copied" || return 1
    [ "$(stat -c '%a %Y %h' from/file)" = "$(stat -c '%a %Y %h' "$BALLAST_MOUNT/copied/file")" ]
}

archives_unpack() {
    tar -cf archive.tar from && mkdir "$BALLAST_MOUNT/unpacked" && tar -xf archive.tar -C "$BALLAST_MOUNT/unpacked" \
        && diff -r from "$BALLAST_MOUNT/unpacked/from" && tar -cf again.tar -C "$BALLAST_MOUNT/unpacked" from
}

repositories_clone_and_commit() {
    command -v git > /dev/null || return 0
    git init -q origin && (cd origin && seq 1000 > numbers && git add . && git -c user.name=n -c user.email=e commit -qm one) \
        || return 1
    git clone -q origin "$BALLAST_MOUNT/clone" && cd "$BALLAST_MOUNT/clone" && seq 2000 > numbers \
        && git -c user.name=n -c user.email=e commit -qam two && git gc -q && git fsck --strict
}

sqlite_keeps_its_transactions() {
    "${PYTHON:-python3}" - "$BALLAST_MOUNT/database" <<'PYTHON'
import sqlite3, sys
for mode in ("delete", "wal"):
    path = f"{sys.argv[1]}-{mode}"
    database = sqlite3.connect(path)
    assert database.execute(f"pragma journal_mode = {mode}").fetchone() == (mode,)
    database.execute("create table t (id integer primary key, text)")
    for batch in range(20):
        with database:
            database.executemany("insert into t (text) values (?)", [("x" * 500,)] * 50)
    database.close()
    database = sqlite3.connect(path)
    assert database.execute("select count(*) from t").fetchone() == (1000,)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
PYTHON
}

holes_stay_holes() {
    truncate -s 1G "$BALLAST_MOUNT/sparse" && printf end | dd of="$BALLAST_MOUNT/sparse" bs=1 seek=900000000 conv=notrunc status=none \
        && [ "$(stat -c %s "$BALLAST_MOUNT/sparse")" = 1073741824 ] && [ "$(stat -c %b "$BALLAST_MOUNT/sparse")" -lt 10000 ] \
        && [ "$(tail -c +900000001 "$BALLAST_MOUNT/sparse" | head -c 3)" = end ]
}

renames_replace() {
    echo old > "$BALLAST_MOUNT/a" && echo new > "$BALLAST_MOUNT/b" && mv "$BALLAST_MOUNT/b" "$BALLAST_MOUNT/a" \
        && [ "$(cat "$BALLAST_MOUNT/a")" = new ] && [ ! -e "$BALLAST_MOUNT/b" ]
}

deleted_files_stay_readable_while_open() {
    echo kept > "$BALLAST_MOUNT/open" && exec 3< "$BALLAST_MOUNT/open" && rm "$BALLAST_MOUNT/open" \
        && [ ! -e "$BALLAST_MOUNT/open" ] && read -r text <&3 && exec 3<&- && [ "$text" = kept ]
}

check "cp -a keeps everything" copies_keep_everything
check "tar packs and unpacks" archives_unpack
check "git clones, commits and collects" repositories_clone_and_commit
check "SQLite keeps its transactions" sqlite_keeps_its_transactions
check "holes stay holes" holes_stay_holes
check "a rename replaces" renames_replace
check "a deleted file stays readable while it is open" deleted_files_stay_readable_while_open
exit $failed
