#!/usr/bin/env bash
# test/services/kafka.sh
#	  Starts and stops a throw-away Apache Kafka of one node in a folder of its own.
#
# usage: kafka.sh start|stop|kill DIR [NAME=VALUE...]
#		 kafka.sh available
#		 kafka.sh fetch
#		 kafka.sh tool CLASS [ARGUMENT...]
#
# start writes DIR/env (HOST, PORT, CONTROLLER_PORT, PID, VERSION) when the broker answers; on
# a folder that was used before it starts the same data on the same ports again. Settings at
# the end win over those here. kill is without mercy. available says nothing and
# succeeds, or exits with 77 and the reason. fetch gets the jars of the broker, and of the
# other Java programs that tests use, from Maven Central. tool runs one of Kafka's command
# line tools, as org.apache.kafka.tools.TopicCommand.
#
# The node is broker and controller at once (KRaft).

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"

find_service()
{
	command -v kcat >/dev/null || skip "kcat is not installed (package kcat)"
	need_jars kafka tools
}

fetch_service()
{
	fetch_jars kafka tools connect registry
}

# kafka_java CLASS ARGUMENT...: in kafka_command
kafka_java()
{
	kafka_command=(java -Xmx512m "${JAVA_OPTIONS[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
		-cp "$JAVA_FOLDER/kafka/*" "$@")
}

# Everything in one copy, and nothing kept waiting for members that will never come.
write_settings()
{
	cat >"$dir/server.properties" <<-PROPERTIES
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller_port
		listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
		advertised.listeners=PLAINTEXT://127.0.0.1:$port
		controller.listener.names=CONTROLLER
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT
		log.dirs=$dir/data
		num.partitions=1
		offsets.topic.num.partitions=1
		offsets.topic.replication.factor=1
		transaction.state.log.num.partitions=1
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.num.partitions=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		group.initial.rebalance.delay.ms=0
		broker.session.timeout.ms=3000
		broker.heartbeat.interval.ms=500
		log.index.size.max.bytes=1048576
		num.network.threads=2
		num.io.threads=4
	PROPERTIES
	printf '%s\n' "$@" >>"$dir/server.properties"
	[ "$(id -u)" -ne 0 ] || chown postgres: "$dir/server.properties"
}

format()
{
	kafka_java kafka.tools.StorageTool format --cluster-id dGFwZGF0YS10ZXN0LTAwMQ --config "$dir/server.properties"
	"${server_user[@]}" "${kafka_command[@]}" >"$dir/format.log" 2>&1 ||
		{ cat "$dir/format.log" >&2; die "the data folder of Kafka could not be made"; }
}

answers()
{
	kcat -b "127.0.0.1:$port" -L -m 1 2>/dev/null | grep -q '^  broker 1 at'
}

start()
{
	local attempt port controller_port version
	for attempt in 1 2 3
	do
		port=$(choose_port PORT)
		controller_port=$(choose_port CONTROLLER_PORT)
		write_settings "$@"
		[ -d "$dir/data" ] || format
		kafka_java kafka.Kafka "$dir/server.properties"
		! launch "${kafka_command[@]}" || break
		[ "$attempt" -lt 3 ] && grep -qs 'Address already in use' "$dir/server.log" ||
			die "Kafka stopped while starting"
	done
	version=$(basename "$JAVA_FOLDER"/kafka/kafka-clients-*.jar .jar)
	cat >"$dir/env" <<-ENV
		HOST=127.0.0.1
		PORT=$port
		CONTROLLER_PORT=$controller_port
		PID=$pid
		VERSION=${version#kafka-clients-}
	ENV
}

if [ "${1:-}" = tool ]
then
	need_jars tools
	shift
	exec java -Xmx256m "${JAVA_OPTIONS[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
		-cp "$JAVA_FOLDER/tools/*" "$@"
fi
java_main kafka "$@"
