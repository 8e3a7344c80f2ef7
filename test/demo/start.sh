#!/usr/bin/env bash
# test/demo/start.sh
#	  Shows tapdata at work: a shop in MariaDB, followed by a hub in PostgreSQL, which
#	  publishes it to a second PostgreSQL database and to a webhook; then three more systems
#	  that the hub unites with it.
#
# All servers are the demo's own, in a temporary folder, and stay until stop.sh. The
# extension has to be installed ("make demo" does that first).

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/unify.sh"

bold='' dim='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]
then
	bold=$'\033[1m' dim=$'\033[2m' green=$'\033[32m' plain=$'\033[0m'
fi

step()
{
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

hub_sql()
{
	"$psql" -X -q -v ON_ERROR_STOP=1 "$@"
}

# Shows a statement as one would type it, and runs it.
run_sql()
{
	printf '%shub=# %s%s\n' "$dim" "$1" "$plain"
	hub_sql -c "$1" >/dev/null
}

start_servers()
{
	folder=$(mktemp -d "${TMPDIR:-/tmp}/tapdata-demo-XXXXXX")
	chmod 755 "$folder"
	mkdir -p "$(dirname "$state_file")"
	echo "$folder" >"$state_file"

	step "Starting a MariaDB and a PostgreSQL in $folder"
	"$services/mariadb.sh" start "$folder/source"
	"$services/postgres.sh" start "$folder/hub" shared_preload_libraries=tapdata \
		max_worker_processes=32 wal_level=logical
	source_env=$folder/source/env
	SOURCE_PORT=$(sed -n 's/^PORT=//p' "$source_env")
	SOURCE_SOCKET=$(sed -n 's/^SOCKET=//p' "$source_env")
	SOURCE_VERSION=$(sed -n 's/^VERSION=//p' "$source_env")
	PGHOST=$(sed -n 's/^HOST=//p' "$folder/hub/env")
	PGPORT=$(sed -n 's/^PORT=//p' "$folder/hub/env")
	PGUSER=postgres PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE SOURCE_SOCKET
	psql=$("${PG_CONFIG:-pg_config}" --bindir)/psql
	hub_sql -c 'CREATE DATABASE hub'
	PGDATABASE=hub
	echo "MariaDB $SOURCE_VERSION on port $SOURCE_PORT, PostgreSQL $(hub_sql -Atc 'SHOW server_version') on port $PGPORT"
}

load_shop()
{
	step "Loading a small shop into MariaDB"
	mariadb --no-defaults --default-character-set=utf8mb4 --socket="$SOURCE_SOCKET" --user=root \
		<"$here/shop.sql" >/dev/null
	mariadb --no-defaults --socket="$SOURCE_SOCKET" --user=root --table shop <<-SQL
		SELECT (SELECT count(*) FROM customers) AS customers, (SELECT count(*) FROM products) AS products,
			(SELECT count(*) FROM orders) AS orders, (SELECT count(*) FROM order_lines) AS order_lines;
	SQL
}

# progress PIPELINE: one line that is drawn over on a terminal, and printed once a
# change elsewhere.
progress()
{
	local pipeline=$1 state copied estimated percent shown='' line filled bar
	while :
	do
		IFS='|' read -r state copied estimated < <(hub_sql -Atc "
			SELECT state, coalesce(rows_copied, 0), greatest(rows_estimated, rows_copied, 1)
			  FROM tapdata.status WHERE name = '$pipeline'")
		case $state in
			failed | stopped)
				printf '\n'
				hub_sql -c "SELECT state, last_error FROM tapdata.status" >&2
				die "the pipeline is $state"
				;;
		esac
		percent=$((100 * copied / estimated))
		[ "$state" != streaming ] || percent=100
		filled=$(printf '%*s' $((percent * 40 / 100)) '')
		bar=$(printf '%-40s' "${filled// /#}")
		line=$(printf '[%s] %3d %%  %s rows, %s' "$bar" "$percent" "$copied" "$state")
		if [ -t 1 ]
		then
			printf '\r\033[K%s%s%s' "$green" "$line" "$plain"
		elif [ "$line" != "$shown" ]
		then
			printf '%s\n' "$line"
		fi
		shown=$line
		[ "$state" != streaming ] || break
		[ $SECONDS -lt $deadline ] || die "the shop was not copied within 5 minutes; see $folder/hub/server.log"
		sleep 0.1
	done
	[ ! -t 1 ] || printf '\n'
}

pull_shop()
{
	step "Pulling it into PostgreSQL: three lines of SQL"
	run_sql "CREATE EXTENSION tapdata;"
	run_sql "SELECT tapdata.connect('shop', 'mysql://tap:secret@127.0.0.1:$SOURCE_PORT/shop');"
	run_sql "SELECT tapdata.pull('shop_in', 'shop', ARRAY['shop.*']);"
	deadline=$((SECONDS + 300))
	progress shop_in
	hub_sql -c "SELECT source_table, hub_table, state, rows_copied FROM tapdata.tables ORDER BY 1" -P footer=off
}

# A webhook that writes to a file what it is sent.
start_webhook()
{
	perl "$here/webhook.pl" "$folder/webhook.port" "$folder/webhook.log" >"$folder/webhook.err" 2>&1 </dev/null &
	echo $! >"$folder/webhook.pid"
	deadline=$((SECONDS + 30))
	until [ -s "$folder/webhook.port" ]
	do
		[ $SECONDS -lt $deadline ] || die "the webhook did not start: $(cat "$folder/webhook.err")"
		sleep 0.05
	done
	WEBHOOK_PORT=$(cat "$folder/webhook.port")
	WEBHOOK_LOG=$folder/webhook.log
	export WEBHOOK_LOG
}

publish_shop()
{
	step "Publishing it: to another PostgreSQL database, and changes of orders and customers to a webhook"
	hub_sql -c 'CREATE DATABASE offload'
	start_webhook
	run_sql "SELECT tapdata.connect('offload', 'postgres://postgres@localhost:$PGPORT/offload', '{\"socket\": \"$PGHOST\"}');"
	run_sql "SELECT tapdata.publish('shop_out', 'offload', ARRAY['shop.*']);"
	deadline=$((SECONDS + 300))
	progress shop_out
	run_sql "SELECT tapdata.connect('hook', 'http://127.0.0.1:$WEBHOOK_PORT/shop');"
	run_sql "SELECT tapdata.publish('shop_hook', 'hook', ARRAY['shop.orders', 'shop.customers'], '{\"snapshot\": \"never\"}');"
	hub_sql -c "SELECT tapdata.wait('shop_hook')" >/dev/null
	hub_sql -c "SELECT name, direction, connection, state, tables, rows_copied FROM tapdata.status ORDER BY 1" -P footer=off
}

look_around()
{
	step "The hub keeps following. Look around:"
	cat <<-TEXT
		  $psql -h $PGHOST -p $PGPORT -U postgres hub
		      SELECT * FROM tapdata.status \\gx
		      SELECT * FROM tapdata.events;
		      SELECT status, count(*), sum(total) FROM shop.orders GROUP BY 1;
		the same rows in the other database, and what the webhook got:
		  $psql -h $PGHOST -p $PGPORT -U postgres offload
		  tail -f $WEBHOOK_LOG
		change the shop, and see it there:
		  mariadb --socket=$SOURCE_SOCKET --user=root shop
		and remove it all:
		  make demo-stop
	TEXT
}

# A failure leaves the servers and their logs to look at.
on_exit()
{
	local status=$?
	[ $status -eq 0 ] || [ -z "${folder:-}" ] ||
		say "the demo did not get to its end; what there is stays in $folder until: make demo-stop"
}

trap on_exit EXIT
if stop_demo
then
	say "removed the demo of before"
fi
start_servers
load_shop
pull_shop
publish_shop
step "Changing the shop in MariaDB, and watching the hub, the other database and the webhook"
psql=$psql bold=$bold dim=$dim green=$green plain=$plain perl "$here/changes.pl"
start_more_servers
pull_more
show_customers
change_more
look_around
