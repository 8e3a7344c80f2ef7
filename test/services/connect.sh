#!/usr/bin/env bash
# test/services/connect.sh
#	  Starts and stops a throw-away Kafka Connect worker with connectors of Debezium's: the
#	  JDBC sink and the source for PostgreSQL.
#
# usage: connect.sh start|stop|kill DIR BROKER CONNECTOR.properties...
#		 connect.sh available
#		 connect.sh fetch
#
# BROKER is host:port. Each file describes one connector, as Debezium documents it. start
# writes DIR/env (HOST, PORT, PID, URL) when the worker's own HTTP interface answers.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"

find_service()
{
	command -v curl >/dev/null || skip "curl is not installed (package curl)"
	need_jars connect
}

fetch_service()
{
	fetch_jars connect
}

answers()
{
	curl --silent --fail --max-time 2 --noproxy '*' --output /dev/null "$url/connectors"
}

# Converters are given by each connector.
write_settings()
{
	cat >"$dir/worker.properties" <<-PROPERTIES
		bootstrap.servers=$1
		listeners=http://127.0.0.1:$port
		key.converter=org.apache.kafka.connect.json.JsonConverter
		value.converter=org.apache.kafka.connect.json.JsonConverter
		offset.storage.file.filename=$dir/offsets
		offset.flush.interval.ms=1000
		plugin.discovery=service_load
	PROPERTIES
	[ "$(id -u)" -ne 0 ] || chown postgres: "$dir/worker.properties"
}

start()
{
	local port url broker=$1
	shift
	port=$(choose_port PORT)
	url=http://127.0.0.1:$port
	write_settings "$broker"
	launch java -Xmx512m "${JAVA_OPTIONS[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
		-cp "$JAVA_FOLDER/connect/*" org.apache.kafka.connect.cli.ConnectStandalone \
		"$dir/worker.properties" "$@" || die "Kafka Connect stopped while starting"
	cat >"$dir/env" <<-ENV
		HOST=127.0.0.1
		PORT=$port
		PID=$pid
		URL=$url
	ENV
}

java_main connect "$@"
