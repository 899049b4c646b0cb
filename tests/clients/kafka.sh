#!/bin/sh
# Kafka clients: kcat, kafka-python and confluent-kafka.
set -u
[ "${BALLAST_KAFKA:-none}" != none ] || { echo "no Kafka listener"; exit 77; }
[ -n "${PYTHON:-}" ] || { echo "no Python clients"; exit 77; }
exec "$PYTHON" "$(dirname "$0")/kafka_clients.py" "$BALLAST_KAFKA" --skip-missing
