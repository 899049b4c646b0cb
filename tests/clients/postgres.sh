#!/bin/sh
# PostgreSQL's clients: psql and psycopg.
set -u
[ "${BALLAST_POSTGRES:-none}" != none ] || { echo "no PostgreSQL listener"; exit 77; }
[ -n "${PYTHON:-}" ] || { echo "no Python clients"; exit 77; }
command -v psql > /dev/null || { echo "no psql: Debian's package postgresql-client"; exit 77; }
exec "$PYTHON" "$(dirname "$0")/postgres.py" "postgresql://$BALLAST_POSTGRES"
