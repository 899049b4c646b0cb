#!/bin/sh
# Apache Kafka's own client in Java: fetched by Maven once, into the cache.
set -u
[ "${BALLAST_KAFKA:-none}" != none ] || { echo "no Kafka listener"; exit 77; }
for program in javac mvn; do
    command -v $program > /dev/null || { echo "no $program: Debian's packages default-jdk-headless and maven"; exit 77; }
done
source=$(cd "$(dirname "$0")/java" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ballast/java/$(cksum < "$source/pom.xml" | tr ' ' -)
if [ ! -e "$cache/complete" ]; then
    if said=$(mvn -q -B -f "$source/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache" 2>&1); then
        touch "$cache/complete"
    else
        echo "$said" | tail -5 >&2
        echo "Maven could not fetch Apache Kafka's client"
        exit 77
    fi
fi
exec java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$cache/*" "$source/KafkaClients.java" "$BALLAST_KAFKA"
