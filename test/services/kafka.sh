#!/usr/bin/env bash
# test/services/kafka.sh
#	  Starts and stops a throw-away Apache Kafka of one node in a folder of its own.
#
# usage: kafka.sh start|stop|kill DIR [NAME=VALUE...]
#		 kafka.sh available
#		 kafka.sh fetch
#		 kafka.sh tool CLASS [ARGUMENT...]
#
# start writes DIR/env (HOST, PORT, SECURE_PORT, CONTROLLER_PORT, PID, VERSION, USER, PASSWORD,
# CA) when the broker answers; on a folder that was used before it starts the same data on the
# same ports again. SECURE_PORT wants TLS, by a certificate of the authority CA, and the user's
# password by PLAIN or SCRAM-SHA-256. Settings at the end win over those here; "joins=PORT" as the
# first makes it a second broker, for the node with that CONTROLLER_PORT. kill is without mercy. available says nothing and
# succeeds, or exits with 77 and the reason. fetch gets the jars of the broker, and of the
# other Java programs that tests use, from Maven Central. tool runs one of Kafka's command
# line tools, as org.apache.kafka.tools.TopicCommand.
#
# The node is broker and controller at once (KRaft), a second one broker alone.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"

USER_NAME=tap
USER_PASSWORD='se cr@t/1'

find_service()
{
	local program
	for program in kcat openssl
	do
		command -v $program >/dev/null || skip "$program is not installed (package $program)"
	done
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

# The broker's key, and the certificate of an authority that exists for it alone.
make_certificate()
{
	local folder=$dir/tls
	mkdir "$folder"
	(
		cd "$folder"
		openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=tapdata tests' -keyout ca.key -out ca.pem
		openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout broker.key -out broker.csr
		openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out broker.crt \
			-extfile <(printf 'subjectAltName = DNS:localhost, IP:127.0.0.1')
		cat broker.key broker.crt >broker.pem
	) >"$dir/certificate.log" 2>&1 || { cat "$dir/certificate.log" >&2; die "no certificate could be made"; }
	[ "$(id -u)" -ne 0 ] || chown -R postgres: "$folder"
}

# Everything in one copy, and nothing kept waiting for members that will never come.
write_settings()
{
	cat >"$dir/server.properties" <<-PROPERTIES
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller_port
		listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure_port,CONTROLLER://127.0.0.1:$controller_port
		advertised.listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure_port
		controller.listener.names=CONTROLLER
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
		listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
		listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$USER_NAME="$USER_PASSWORD";
		listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
		ssl.keystore.type=PEM
		ssl.keystore.location=$dir/tls/broker.pem
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
	[ -z "$joins" ] || cat >>"$dir/server.properties" <<-PROPERTIES
		process.roles=broker
		node.id=$node
		controller.quorum.voters=1@127.0.0.1:$joins
		listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure_port
	PROPERTIES
	printf '%s\n' "$@" >>"$dir/server.properties"
	[ "$(id -u)" -ne 0 ] || chown postgres: "$dir/server.properties"
}

format()
{
	local users=(--add-scram "SCRAM-SHA-256=[name=$USER_NAME,password=$USER_PASSWORD]")

	# they are the controller's
	[ -z "$joins" ] || users=()
	kafka_java kafka.tools.StorageTool format --cluster-id dGFwZGF0YS10ZXN0LTAwMQ --config "$dir/server.properties" \
		"${users[@]}"
	"${server_user[@]}" "${kafka_command[@]}" >"$dir/format.log" 2>&1 ||
		{ cat "$dir/format.log" >&2; die "the data folder of Kafka could not be made"; }
}

answers()
{
	kcat -b "127.0.0.1:$port" -L -m 1 2>/dev/null | grep -q "^  broker $node at"
}

start()
{
	local attempt port secure_port controller_port version joins= node=1
	case ${1:-} in
		joins=*) joins=${1#joins=}; node=2; shift ;;
	esac
	[ -d "$dir/tls" ] || make_certificate
	for attempt in 1 2 3
	do
		port=$(choose_port PORT)
		secure_port=$(choose_port SECURE_PORT)
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
		SECURE_PORT=$secure_port
		CONTROLLER_PORT=$controller_port
		PID=$pid
		VERSION=${version#kafka-clients-}
		USER=$USER_NAME
		PASSWORD=$USER_PASSWORD
		CA=$dir/tls/ca.pem
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
