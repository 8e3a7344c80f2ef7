#!/usr/bin/env bash
# test/services/registry.sh
#	  Starts and stops a throw-away schema registry in a folder of its own.
#
# usage: registry.sh start|stop|kill DIR
#		 registry.sh available
#		 registry.sh fetch
#
# It is Apicurio Registry, with its data in memory, which speaks the protocol of
# Confluent's registry below /apis/ccompat/v7. start writes DIR/env (HOST, PORT, PID, URL)
# when it answers; a start after a stop or a kill is on the same port, without data.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"

find_service()
{
	command -v curl >/dev/null || skip "curl is not installed (package curl)"
	need_jars registry
}

fetch_service()
{
	fetch_jars registry
}

answers()
{
	curl --silent --fail --max-time 2 --noproxy '*' --output /dev/null "$url/subjects"
}

start()
{
	local attempt port url
	for attempt in 1 2 3
	do
		port=$(choose_port PORT)
		url=http://127.0.0.1:$port/apis/ccompat/v7
		! launch java -Xmx384m "${JAVA_OPTIONS[@]}" -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$port" \
			-Dquarkus.log.level=WARN -jar "$JAVA_FOLDER"/registry/apicurio-registry-app-*-runner.jar || break
		[ "$attempt" -lt 3 ] || die "the registry stopped while starting"
	done
	cat >"$dir/env" <<-ENV
		HOST=127.0.0.1
		PORT=$port
		PID=$pid
		URL=$url
	ENV
}

java_main registry "$@"
