#!/usr/bin/env bash
# test/services/postgres.sh
#	  Starts and stops a throw-away PostgreSQL in a folder of its own.
#
# usage: postgres.sh start|stop DIR [NAME=VALUE...]
#
# The settings go to postgresql.conf when the folder is made. start writes DIR/env
# (HOST, PORT, PID); HOST is a folder with a unix socket that only the server's user
# and root may use; nobody is let in by TCP. The server runs as user postgres where we
# are root, else as ourselves.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

server_user=()
[ "$(id -u)" -ne 0 ] || server_user=(setpriv --reuid postgres --regid postgres --init-groups)

as_server_user()
{
	(cd "$dir" && "${server_user[@]}" "$@")
}

initialize()
{
	local setting
	as_server_user "$bin/initdb" -D "$dir/data" -U postgres --auth-local=trust \
		--auth-host=reject \
		--no-locale -E UTF8 --no-sync >"$dir/initdb.log" 2>&1 ||
		{ cat "$dir/initdb.log" >&2; die "initdb failed"; }
	{
		echo "port = $(free_port)"
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$socket_folder'"
		echo "unix_socket_permissions = 0700"
		for setting
		do
			echo "${setting%%=*} = '${setting#*=}'"
		done
	} >>"$dir/data/postgresql.conf"
}

# The paths of unix sockets are limited to 107 characters.
choose_socket_folder()
{
	socket_folder=$dir
	[ ${#dir} -le 85 ] && return
	[ -f "$dir/socket-folder" ] || mktemp -d /tmp/tapdata-XXXXXX >"$dir/socket-folder"
	socket_folder=$(cat "$dir/socket-folder")
	[ "$(id -u)" -ne 0 ] || chown postgres: "$socket_folder"
}

start()
{
	[ "$(id -u)" -ne 0 ] || chown postgres: "$dir"
	choose_socket_folder
	[ -d "$dir/data" ] || initialize "$@"
	as_server_user "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 120 start \
		</dev/null >"$dir/start.log" 2>&1 ||
		{ tail -n 20 "$dir/server.log" "$dir/start.log" >&2; die "PostgreSQL did not start"; }
	cat >"$dir/env" <<-ENV
		HOST=$socket_folder
		PORT=$(sed -n 4p "$dir/data/postmaster.pid")
		PID=$(head -n 1 "$dir/data/postmaster.pid")
	ENV
}

stop()
{
	[ ! -f "$dir/data/postmaster.pid" ] ||
		as_server_user "$bin/pg_ctl" -D "$dir/data" -m fast -w -t 120 stop >"$dir/start.log" 2>&1 ||
		{ cat "$dir/start.log" >&2; die "PostgreSQL did not stop"; }
	[ ! -f "$dir/socket-folder" ] || rm -rf "$(cat "$dir/socket-folder")"
	rm -f "$dir/socket-folder"
}

main()
{
	local action=${1:-} config
	[ $# -ge 2 ] || die "usage: postgres.sh start|stop DIR [NAME=VALUE...]"
	config=$(command -v "${PG_CONFIG:-pg_config}") || die "there is no pg_config"
	bin=$("$config" --bindir)
	[ "$action" != start ] || mkdir -p "$2"
	dir=$(cd "$2" && pwd) || die "there is no folder $2"
	shift 2
	case $action in
		start) start "$@" ;;
		stop) stop ;;
		*) die "usage: postgres.sh start|stop DIR [NAME=VALUE...]" ;;
	esac
}

main "$@"
