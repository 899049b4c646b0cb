#!/bin/sh
# One tree: what is made in one way is seen in every other.
set -u
failed=0
check() {
    what=$1
    shift
    if said=$("$@" 2>&1); then echo "ok - $what"; else echo "not ok - $what: $said"; failed=1; fi
}

streams_show_in_the_mount() {
    "$BALLAST" create stream --parents /one/stream && [ -d "$BALLAST_MOUNT/one/stream" ] \
        && printf 'first\nsecond\n' > "$BALLAST_MOUNT/one/stream/append" \
        && [ "$(grep -c '"value":' "$BALLAST_MOUNT/one/stream/tail.ndjson")" = 2 ]
}

one_line_is_one_record() {
    tail="$BALLAST_MOUNT/one/stream/tail.ndjson"
    # The program in the middle closes a descriptor that it has inherited.
    { printf 'third '; sh -c 'printf line'; printf '\nfourth'; } > "$BALLAST_MOUNT/one/stream/append"
    # A line without an end comes after the last close.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        grep -q fourth "$tail" && break
        sleep 0.1
    done
    [ "$(grep -o '"value":"[^"]*"' "$tail" | cut -d'"' -f4)" = "$(printf 'first\nsecond\nthird line\nfourth')" ]
}

removal_of_a_tree_fails_safe() {
    ! rm -rf "$BALLAST_MOUNT/one" 2> /dev/null && [ "$("$BALLAST" ls /one)" = stream ] \
        && ! "$BALLAST" rm -r /one 2> /dev/null && [ "$("$BALLAST" ls /one)" = stream ]
}

rmdir_drops_a_stream() {
    rmdir "$BALLAST_MOUNT/one/stream" && [ -z "$("$BALLAST" ls /one)" ]
}

kafka_topics_are_streams() {
    echo record | kcat -P -b "$BALLAST_KAFKA" -t plain.topic && [ "$("$BALLAST" stat --json /plain.topic | grep -c '"kind": "stream"')" = 1 ] \
        && "$BALLAST" create stream --parents /deep/er/stream && echo record | kcat -P -b "$BALLAST_KAFKA" -t deep.er.stream \
        && [ "$(kcat -C -q -e -b "$BALLAST_KAFKA" -t /deep/er/stream)" = record ]
}

sql_tables_are_in_the_tree() {
    sql() { psql -qAt -h "${BALLAST_POSTGRES%:*}" -p "${BALLAST_POSTGRES##*:}" "$@"; }
    "$BALLAST" create directory -p /bars && sql -d bars -c 'create table drinks (name text primary key, price int)' \
        && [ "$("$BALLAST" stat --json /bars/drinks | grep -c '"kind": "table"')" = 1 ] \
        && "$BALLAST" create table /bars/guests 'id int primary key, name text' \
        && sql -d / -c "insert into \"/bars/guests\" values (1, 'Ann')" && [ "$(sql -d bars -c 'select name from guests')" = Ann ]
}

if [ -n "${BALLAST_MOUNT:-}" ]; then
    check "a stream shows in the mount" streams_show_in_the_mount
    check "a line is one record, whoever writes its parts" one_line_is_one_record
    check "removing a tree with a stream in it fails safe" removal_of_a_tree_fails_safe
    check "rmdir drops a stream" rmdir_drops_a_stream
fi
if [ "${BALLAST_KAFKA:-none}" != none ] && command -v kcat > /dev/null; then
    check "a topic is a stream, and a stream a topic" kafka_topics_are_streams
fi
if [ "${BALLAST_POSTGRES:-none}" != none ] && command -v psql > /dev/null; then
    check "a table of SQL is in the tree, and a table of the tree in SQL" sql_tables_are_in_the_tree
fi
exit $failed
