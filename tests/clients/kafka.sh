#!/bin/sh
# Kafka clients: kcat, confluent-kafka and two versions of kafka-python.
set -u
[ "${BALLAST_KAFKA:-none}" != none ] || { echo "no Kafka listener"; exit 77; }
[ -n "${PYTHON:-}" ] || { echo "no Python clients"; exit 77; }
clients() { "$PYTHON" "$(dirname "$0")/kafka_clients.py" "$BALLAST_KAFKA" --skip-missing "$@"; }
failed=0
clients || failed=1
if [ -n "${PYTHON_OLDER:-}" ]; then
    PYTHONPATH=$PYTHON_OLDER clients python_ || failed=1
fi
exit $failed
