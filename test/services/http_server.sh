#!/usr/bin/env bash
# test/services/http_server.sh
#	  Starts and stops a throw-away HTTP server that records requests and fails on request.
#
# usage: http_server.sh start|stop|kill DIR [webhook|bulk|clickhouse|api] [tls|client-tls]
#		 http_server.sh available|fetch [clickhouse]
#
# What it does with requests is said in http_server.py. bulk is a recorded contract of the
# _bulk of Elasticsearch, for refusals that a real server cannot be told to make. clickhouse is
# the engine of ClickHouse itself (the Python package chdb, from PyPI, in a folder of the
# cache) behind an HTTP interface of this server's. tls makes a certificate in
# DIR/tls; client-tls wants one of the client, too.
#
# start writes DIR/env (HOST, PORT, PID, URL, CA) when it answers; a start after a stop or a
# kill is on the same port, with what was stored before.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"

# the newest of which only ClickHouse itself has to be fetched
CHDB=chdb-core==26.9.0
CHDB_FOLDER=$TAPDATA_CACHE/chdb
PYTHON=/usr/bin/python3

has_chdb()
{
	[ "$(cat "$CHDB_FOLDER/.complete" 2>/dev/null)" = "$CHDB" ]
}

find_service()
{
	[ -x $PYTHON ] || skip "Python is not installed (package python3)"
	[ "${mode:-}" != clickhouse ] || has_chdb ||
		skip "ClickHouse's engine is not in $CHDB_FOLDER (test/services/http_server.sh fetch clickhouse gets it)"
}

fetch_service()
{
	local work
	[ "${mode:-}" = clickhouse ] || return 0
	! has_chdb || return 0
	$PYTHON -m pip --version >/dev/null 2>&1 || skip "pip is not installed (package python3-pip)"
	can_root || skip "the folder $CHDB_FOLDER needs root or sudo, once"
	say "fetching ClickHouse's engine ($CHDB) from PyPI"
	work=$(mktemp -d)
	$PYTHON -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
		--target "$work/chdb" $CHDB >&2 ||
		{ rm -rf "$work"; skip "$CHDB cannot be fetched; is there a network?"; }
	echo $CHDB >"$work/chdb/.complete"
	chmod -R a+rX "$work/chdb"
	as_root mkdir -p "$TAPDATA_CACHE"
	as_root rm -rf "${CHDB_FOLDER:?}"
	as_root mv "$work/chdb" "$CHDB_FOLDER"
	rm -rf "$work"
}

# One authority that signed the server, and a client.
make_certificates()
{
	local folder=$dir/tls name
	mkdir "$folder"
	(
		cd "$folder"
		openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=tapdata tests' -keyout ca.key -out ca.pem
		for name in server client
		do
			openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr
			openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out $name.crt \
				-extfile <(printf 'subjectAltName = DNS:localhost')
		done
		chmod 644 ./*.key
	) >"$dir/certificate.log" 2>&1 || { cat "$dir/certificate.log" >&2; die "no certificate could be made"; }
}

answers()
{
	# the port is open when the server is ready
	(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

start()
{
	local attempt port tls=${2:-} scheme=http
	[ -z "$tls" ] || scheme=https
	[ -z "$tls" ] || [ -d "$dir/tls" ] || make_certificates
	for attempt in 1 2 3
	do
		port=$(choose_port PORT)
		[ "$(id -u)" -ne 0 ] || chown -R postgres: "$dir"
		! launch env PYTHONPATH="$CHDB_FOLDER" PYTHONDONTWRITEBYTECODE=1 $PYTHON "$here/http_server.py" \
			"$port" "$dir" "${mode:-webhook}" "${tls:-clear}" "$dir/tmp" || break
		[ "$attempt" -lt 3 ] || die "the HTTP server stopped while starting"
	done
	cat >"$dir/env" <<-ENV
		HOST=127.0.0.1
		PORT=$port
		PID=$pid
		URL=$scheme://127.0.0.1:$port
		CA=$dir/tls/ca.pem
	ENV
}

mode=
case ${1:-} in
	available | fetch) mode=${2:-} ;;
	start) mode=${3:-webhook} ;;
esac
java_main http_server "$@"
