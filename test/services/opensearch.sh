#!/usr/bin/env bash
# test/services/opensearch.sh
#	  Starts and stops a throw-away OpenSearch of one node in a folder of its own.
#
# usage: opensearch.sh start|stop|kill DIR [NAME=VALUE...]
#		 opensearch.sh available
#		 opensearch.sh fetch
#
# start writes DIR/env (HOST, PORT, PID, URL, VERSION) when it answers; settings are those of
# opensearch.yml. A start after a stop or a kill is on the same port, with its data.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"
JAVA_POM=$here/opensearch/pom.xml

find_service()
{
	command -v curl >/dev/null || skip "curl is not installed (package curl)"
	need_jars opensearch
}

fetch_service()
{
	fetch_jars opensearch
}

opensearch_version()
{
	basename "$JAVA_FOLDER"/opensearch/opensearch-core-*.jar .jar | sed 's/^opensearch-core-//'
}

# A module has a class loader, and a folder, of its own; nothing may be in both.
write_module()
{
	local module=$dir/modules/transport-netty4
	mkdir -p "$module" "$dir/plugins" "$dir/logs" "$dir/data"
	# no links: it may read nothing outside of its folder
	cp "$JAVA_FOLDER"/opensearch/netty-*.jar "$JAVA_FOLDER"/opensearch/transport-netty4-*.jar "$module/"
	cat >"$module/plugin-descriptor.properties" <<-PROPERTIES
		name=transport-netty4
		description=HTTP and transport
		version=$(opensearch_version)
		opensearch.version=$(opensearch_version)
		java.version=11
		classname=org.opensearch.transport.Netty4Plugin
		has.native.controller=false
	PROPERTIES
	printf 'grant {\n  permission java.security.AllPermission;\n};\n' >"$module/plugin-security.policy"
}

write_settings()
{
	local setting
	mkdir -p "$dir/config"
	cat >"$dir/config/log4j2.properties" <<-PROPERTIES
		rootLogger.level = warn
		rootLogger.appenderRef.console.ref = console
		appender.console.type = Console
		appender.console.name = console
		appender.console.layout.type = PatternLayout
		appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
	PROPERTIES
	cat >"$dir/config/opensearch.yml" <<-YAML
		cluster.name: tapdata-test
		node.name: node
		network.host: 127.0.0.1
		http.port: $port
		transport.port: 0
		discovery.type: single-node
		cluster.routing.allocation.disk.threshold_enabled: false
	YAML
	for setting
	do
		printf '%s: %s\n' "${setting%%=*}" "${setting#*=}" >>"$dir/config/opensearch.yml"
	done
}

answers()
{
	curl --silent --fail --max-time 2 --noproxy '*' --output /dev/null "$url/_cluster/health"
}

opensearch_command()
{
	local jar classpath=
	for jar in "$JAVA_FOLDER"/opensearch/*.jar
	do
		case $(basename "$jar") in
			netty-* | transport-netty4-*) ;;
			*) classpath=$classpath:$jar ;;
		esac
	done
	command=(java -Xms256m -Xmx512m "${JAVA_OPTIONS[@]}" -Djava.security.manager=allow
		-Dlog4j2.disable.jmx=true -Dopensearch.distribution.type=tar -Dopensearch.path.home="$dir"
		-Dopensearch.path.conf="$dir/config" -cp "${classpath#:}" org.opensearch.bootstrap.OpenSearch)
}

start()
{
	local attempt port url command
	[ -d "$dir/modules" ] || write_module
	for attempt in 1 2 3
	do
		port=$(choose_port PORT)
		url=http://127.0.0.1:$port
		write_settings "$@"
		[ "$(id -u)" -ne 0 ] || chown -R postgres: "$dir"
		opensearch_command
		! launch "${command[@]}" || break
		[ "$attempt" -lt 3 ] || die "OpenSearch stopped while starting"
	done
	cat >"$dir/env" <<-ENV
		HOST=127.0.0.1
		PORT=$port
		PID=$pid
		URL=$url
		VERSION=$(opensearch_version)
	ENV
}

# an orderly stop takes half a minute, and every answer was on disk before
[ "${1:-}" != stop ] || set -- kill "${@:2}"
java_main opensearch "$@"
