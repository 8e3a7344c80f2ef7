# shellcheck shell=bash
# test/demo/common.sh
#	  Where a demo is kept, so that demo-stop finds it.

. "$(dirname "${BASH_SOURCE[0]}")/../services/common.sh"

services=$(cd "$(dirname "${BASH_SOURCE[0]}")/../services" && pwd)
state_file=${XDG_CACHE_HOME:-$HOME/.cache}/tapdata-demo

# stop_demo: true when there was one
stop_demo()
{
	local folder
	[ -f "$state_file" ] || return 1
	folder=$(cat "$state_file")
	if [ -d "$folder" ]
	then
		# PostgreSQL first: it would only complain that its source is gone
		[ ! -d "$folder/hub" ] || "$services/postgres.sh" stop "$folder/hub"
		[ ! -f "$folder/webhook.pid" ] || kill "$(cat "$folder/webhook.pid")" 2>/dev/null || :
		[ ! -d "$folder/wholesale" ] || "$services/postgres.sh" stop "$folder/wholesale"
		[ ! -d "$folder/kafka" ] || "$services/kafka.sh" stop "$folder/kafka"
		[ ! -d "$folder/source" ] || "$services/mariadb.sh" stop "$folder/source"
		rm -rf "$folder"
	fi
	rm -f "$state_file"
}
