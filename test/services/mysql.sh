#!/usr/bin/env bash
# test/services/mysql.sh
#	  Starts and stops a throw-away MySQL or MariaDB in a folder of its own.
#
# usage: mysql.sh start|stop|kill DIR [SERVER OPTION...]
#		 mysql.sh available
#		 mariadb.sh the same, for MariaDB
#
# start writes DIR/env (HOST, PORT, SOCKET, PID, FLAVOUR, VERSION, USER, PASSWORD)
# when the server answers; on a folder that was used before it starts the same
# data on the same port again. Options given at the end win over those here.
# available says nothing and succeeds, or exits with 77 and the reason.
#
# MySQL is that of the Debian folder which chroot.sh makes. It runs through the
# folder's own dynamic linker, so that neither root rights nor chroot(2) are needed.
# Servers listen on loopback only, as user mysql where we are root, else as ourselves.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

FLAVOUR=${FLAVOUR:-mysql}
USER_NAME=tap
USER_PASSWORD=secret
START_SECONDS=120
STOP_SECONDS=60

mysql_root=$TAPDATA_CACHE/sid

find_mariadb()
{
	server=$(PATH=$PATH:/usr/sbin command -v mariadbd) ||
		skip "MariaDB is not installed (package mariadb-server)"
	command -v mariadb-install-db >/dev/null ||
		skip "mariadb-install-db is not installed (package mariadb-server)"
	server_command=("$server")
	version=$("$server" --no-defaults --version | sed -E 's/.* Ver ([^ ]+).*/\1/')
}

find_mysql()
{
	local usr=$mysql_root/usr libraries
	[ -x "$usr/sbin/mysqld" ] ||
		skip "there is no MySQL in $mysql_root (test/services/chroot.sh sid makes it)"
	libraries=$(printf '%s:' "$usr"/lib/*-linux-gnu* "$usr"/lib/*-linux-gnu*/* "$usr"/lib/mysql* |
				sed 's/:$//')
	server=$usr/sbin/mysqld
	server_command=("$(echo "$usr"/lib*/ld-linux*.so.* | cut -d ' ' -f 1)"
		--library-path "$libraries" "$server")
	[ -e "${server_command[0]}" ] || server_command[0]=$(echo "$usr"/lib/*/ld-linux*.so.* | cut -d ' ' -f 1)
	# what the server would look for below /usr of this machine
	server_paths=(--basedir="$usr" --lc-messages-dir="$usr/share/mysql"
		--character-sets-dir="$usr/share/mysql/charsets"
		--plugin-dir="$(echo "$usr"/lib/mysql/plugin)")
	version=$("${server_command[@]}" --no-defaults --version 2>/dev/null |
			  sed -E 's/.* Ver ([^ ]+).*/\1/') ||
		skip "MySQL in $mysql_root does not run on this machine"
}

# In front of a command it runs that as the user a server should have, with exec, so
# that $! is the server's own pid.
server_user=()
[ "$(id -u)" -ne 0 ] || server_user=(setpriv --reuid mysql --regid mysql --init-groups)

give_to_server_user()
{
	[ "$(id -u)" -ne 0 ] || chown mysql: "$@"
}

# Options of every throw-away server: commits reach the operating system, not the disk.
common_options()
{
	options=(--no-defaults "${server_paths[@]}"
		--datadir="$dir/data" --socket="$socket" --pid-file="$dir/server.pid"
		--log-error="$dir/server.log" --port="$port" --bind-address=127.0.0.1
		--skip-name-resolve --server-id=1 --log-bin=binlog --binlog-row-metadata=FULL
		--innodb-flush-log-at-trx-commit=2 --sync-binlog=0
		--max-allowed-packet=1G --local-infile=ON)
	case $FLAVOUR in
		mariadb) options+=(--binlog-format=ROW --gtid-strict-mode=ON) ;;
		mysql) options+=(--mysqlx=0 --gtid-mode=ON --enforce-gtid-consistency=ON
			--performance-schema=OFF --secure-file-priv=) ;;
	esac
}

initialize()
{
	local log=$dir/initialize.log
	case $FLAVOUR in
		mariadb)
			"${server_user[@]}" mariadb-install-db --no-defaults --datadir="$dir/data" \
				--auth-root-authentication-method=normal --skip-test-db \
				>"$log" 2>&1
			;;
		mysql)
			"${server_user[@]}" "${server_command[@]}" --no-defaults "${server_paths[@]}" \
				--datadir="$dir/data" --initialize-insecure \
				>"$log" 2>&1
			;;
	esac || { cat "$log" >&2; die "the data folder of $FLAVOUR could not be made"; }
}

# Either client speaks to either server.
client()
{
	"$(command -v mariadb || command -v mysql)" --no-defaults --socket="$socket" --user=root --batch --skip-column-names "$@"
}

create_user()
{
	client <<-SQL
		SET sql_log_bin = 0;
		DROP USER IF EXISTS ''@'localhost';
		CREATE USER '$USER_NAME'@'%' IDENTIFIED BY '$USER_PASSWORD';
		GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '$USER_NAME'@'%';
	SQL
	touch "$dir/users-made"
}

show_log()
{
	tail -n 20 "$dir/server.out" "$dir/server.log" >&2
}

answers()
{
	kill -0 "$pid" 2>/dev/null || return 0
	client -e 'SELECT 1' >/dev/null 2>&1
}

launch()
{
	"${server_user[@]}" setsid "${server_command[@]}" "${options[@]}" "$@" \
		</dev/null >>"$dir/server.out" 2>&1 &
	pid=$!
	wait_until $START_SECONDS answers ||
		{ kill -9 "$pid"; show_log; die "$FLAVOUR did not answer within $START_SECONDS seconds"; }
	kill -0 "$pid" 2>/dev/null
}

write_env()
{
	cat >"$dir/env" <<-ENV
		HOST=127.0.0.1
		PORT=$port
		SOCKET=$socket
		PID=$pid
		FLAVOUR=$FLAVOUR
		VERSION=$version
		USER=$USER_NAME
		PASSWORD=$USER_PASSWORD
	ENV
}

# The paths of unix sockets are limited to 107 characters, those of test folders are not.
choose_socket()
{
	socket=$dir/socket
	[ ${#socket} -le 100 ] && return
	[ -f "$dir/socket-folder" ] || mktemp -d /tmp/tapdata-XXXXXX >"$dir/socket-folder"
	give_to_server_user "$(cat "$dir/socket-folder")"
	socket=$(cat "$dir/socket-folder")/socket
}

start()
{
	local attempt
	find_"$FLAVOUR"
	[ ! -f "$dir/env" ] || port=$(sed -n 's/^PORT=//p' "$dir/env")
	mkdir -p "$dir"
	give_to_server_user "$dir"
	choose_socket

	# of its own: a MariaDB that starts removes the temporary tables of others from there
	[ -d "$dir/tmp" ] || "${server_user[@]}" mkdir "$dir/tmp"
	export TMPDIR=$dir/tmp
	[ -d "$dir/data" ] || { "${server_user[@]}" mkdir "$dir/data"; initialize; }
	for attempt in 1 2 3
	do
		[ -f "$dir/env" ] || port=$(free_port)
		common_options
		launch "$@" && break
		[ "$attempt" -lt 3 ] && grep -qs 'Address already in use' "$dir/server.log" ||
			{ show_log; die "$FLAVOUR stopped while starting"; }
	done
	[ -f "$dir/users-made" ] || create_user
	write_env
}

is_gone()
{
	! kill -0 "$1" 2>/dev/null
}

# end SIGNAL: sends it to the server of the folder and waits until it is gone
end()
{
	local pid
	[ -f "$dir/env" ] || return 0
	pid=$(sed -n 's/^PID=//p' "$dir/env")
	grep -qa "$dir/data" "/proc/$pid/cmdline" 2>/dev/null || return 0
	kill "-$1" "$pid"
	wait_until $STOP_SECONDS is_gone "$pid" ||
		die "the server with pid $pid did not stop within $STOP_SECONDS seconds"
}

stop()
{
	end TERM
	[ ! -f "$dir/socket-folder" ] || rm -rf "$(cat "$dir/socket-folder")"
	rm -f "$dir/socket-folder"
}

main()
{
	local action=${1:-} usage="usage: $FLAVOUR.sh start|stop|kill DIR [OPTION...], or $FLAVOUR.sh available"
	server_paths=()
	case $action in
		available) find_"$FLAVOUR"; return ;;
		start | stop | kill) [ $# -ge 2 ] || die "$usage" ;;
		*) die "$usage" ;;
	esac
	[ "$action" != start ] || mkdir -p "$2"
	dir=$(cd "$2" && pwd) || die "there is no folder $2"
	shift 2
	case $action in
		start) start "$@" ;;
		stop) stop ;;
		kill) end KILL ;;
	esac
}

main "$@"
