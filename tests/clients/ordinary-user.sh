#!/bin/sh
# An ordinary user mounts through fusermount3, and a server that was killed is replaced.
set -u
user=nobody
[ -n "${BALLAST_MOUNT:-}" ] || { echo "no mount"; exit 77; }
command -v fusermount3 > /dev/null || { echo "no fusermount3"; exit 77; }
if [ "$(id -u)" = 0 ]; then
    # In a namespace of its own the FUSE device is open to all users, as distributions leave it.
    unshare -m true 2> /dev/null || { echo "no mount namespace"; exit 77; }
    place=$(mktemp -d)
    trap 'rm -rf "$place"' EXIT
    mkdir "$place/work" && mknod -m 666 "$place/fuse" c 10 229 2> /dev/null || { echo "no device can be made"; exit 77; }
    cp "$BALLAST" "$0" "$place/" && chmod 755 "$place" && chown "$user" "$place/work"
    # shellcheck disable=SC2016 # The inner shell expands them.
    unshare -m sh -c 'mount --bind "$1/fuse" /dev/fuse && cd "$1/work" && exec setpriv --reuid="$2" --regid="$3" \
        --clear-groups env BALLAST="$1/ballast" sh "../$4"' sh "$place" "$user" "$(id -g "$user")" "$(basename "$0")"
    exit
fi
[ -w /dev/fuse ] || { echo "/dev/fuse is closed to $(id -un)"; exit 77; }
mkdir tree bucket || exit 1

failed=0
server=
trap '[ -z "$server" ] || kill -9 "$server" 2> /dev/null' EXIT
check() {
    what=$1
    shift
    if "$@" > checked 2>&1; then echo "ok - $what"; else echo "not ok - $what: $(cat checked)"; failed=1; fi
}

start() {
    rm -f said # The last server's word must not be taken for this one's.
    "$BALLAST" up --bucket bucket --mount tree --http 127.0.0.1:0 --kafka none --postgres none > said 2>&1 &
    server=$!
    tries=0
    until grep -q '^ready' said 2> /dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] && kill -0 "$server" || { cat said; return 1; }
        sleep 0.1
    done
}

write() { echo hello > tree/hello.txt && sync tree/hello.txt && [ "$(stat -c %u tree/hello.txt)" = "$(id -u)" ]; }
read_again() { [ "$(cat tree/hello.txt)" = hello ]; }
kill_it() { kill -9 "$server" && ! wait "$server" && server= && ! ls tree && grep -q " $PWD/tree " /proc/mounts; }
stop() { kill "$server" && wait "$server" && server= && ! grep -q " $PWD/tree " /proc/mounts; }

check "an ordinary user mounts a tree" start
check "what they write is theirs" write
check "a killed server leaves a dead mount" kill_it
check "the next server replaces it" start
check "what was synced is there" read_again
check "a server that stops takes its mount along" stop
exit "$failed"
