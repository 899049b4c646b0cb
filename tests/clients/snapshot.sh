#!/bin/sh
# One snapshot cuts files, a stream and a table at one instant while all three are written.
set -u
[ -n "${BALLAST_MOUNT:-}" ] || { echo "no mount"; exit 77; }
[ -n "${PYTHON:-}" ] || { echo "no Python clients"; exit 77; }
exec "$PYTHON" "$(dirname "$0")/snapshot.py"
