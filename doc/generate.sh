#!/usr/bin/env bash
# doc/generate.sh
#	  Writes doc/options.md and doc/views.md from the installed extension ("make docs").
#
# usage: generate.sh [--check]
#
# A throw-away server is asked: option tables of the core and of the connectors, settings,
# and the comments on views and functions. With --check nothing is written; it fails when
# a page is not what it would be.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../test/services/common.sh"

services=$here/../test/services
psql=$("${PG_CONFIG:-pg_config}" --bindir)/psql

sql()
{
	"$psql" -X -q -At -v ON_ERROR_STOP=1 "$@"
}

# escaped EXPRESSION: SQL that gives its text as the cell of a table in Markdown
escaped()
{
	printf "replace(replace(%s, '|', '\\|'), '*', '\\*')" "$1"
}

# option_table CONNECTOR SCOPE TITLE: an empty connector means the core; nothing without rows
option_table()
{
	local rows
	rows=$(sql -v connector="$1" -v scope="$2" <<-SQL
		SELECT format('| \`%s\` | %s | %s | %s |', name, coalesce($(escaped '"values"'), type),
				coalesce('\`' || default_value || '\`', ''),
				$(escaped help) || CASE WHEN secret THEN ' (never shown)' ELSE '' END)
		  FROM tapdata.connector_options(nullif(:'connector', ''))
		 WHERE :'scope' = ANY (scope);
	SQL
	)
	[ -n "$rows" ] || return 0
	printf '\n## %s\n\n| option | value | default | |\n| --- | --- | --- | --- |\n%s\n' "$3" "$rows"
}

settings_table()
{
	printf '\n## Settings of the server\n\n'
	printf 'In `postgresql.conf`. Where nothing else is said a reload is enough.\n\n'
	printf '| setting | default | value | |\n| --- | --- | --- | --- |\n'
	sql <<-SQL
		SELECT format('| \`%s\` | \`%s\` | %s | %s%s%s |', name, current_setting(name),
				coalesce(min_val || ' to ' || max_val || coalesce(' ' || unit, ''),
						CASE vartype WHEN 'bool' THEN 'boolean' ELSE vartype END),
				$(escaped short_desc), coalesce(' ' || $(escaped extra_desc), ''),
				CASE context WHEN 'postmaster' THEN ' Needs a restart.' ELSE '' END)
		  FROM pg_settings WHERE name LIKE 'tapdata.%' ORDER BY name;
	SQL
}

options_page()
{
	cat <<-'TEXT'
		# Options and settings

		<!-- made by doc/generate.sh; do not edit -->

		Options are given as JSON, `'{"workers": 4}'`, those of a connection also in its URI, behind a question
		mark: `mysql://tap@db1/shop?ssl_mode=require&heartbeat=5`. They are checked when they are given: an
		unknown one is an error that lists the valid ones. `tapdata.alter_connection()` and
		`tapdata.alter_pipeline()` change single options; a null takes one away.
		`SELECT * FROM tapdata.connector_options()` has what every connection and pipeline takes,
		`tapdata.connector_options('mysql')` what a connector takes besides.
	TEXT
	local connector connectors
	option_table '' connection 'Every connection'
	option_table '' pull 'Every pull pipeline'
	option_table '' publish 'Every publish pipeline'
	connectors=$(sql -c "SELECT name FROM tapdata.connectors WHERE name NOT LIKE 'fake%' ORDER BY name")
	for connector in $connectors
	do
		option_table "$connector" connection "Connections of connector $connector"
		option_table "$connector" pull "Pull pipelines from connector $connector"
		option_table "$connector" publish "Publish pipelines to connector $connector"
	done
	settings_table
}

views_page()
{
	cat <<-'TEXT'
		# Views and functions

		<!-- made by doc/generate.sh; do not edit -->

		All are in schema `tapdata`. Whoever has `USAGE` on the schema may read the views and call the
		functions; each shows what the user may see, and does what the user may do: [security.md](security.md).
	TEXT
	sql <<-SQL
		SELECT format(E'\n## tapdata.%s\n\n%s.\n\n| column | type | |\n| --- | --- | --- |\n%s', c.relname,
				upper(left(obj_description(c.oid), 1)) || substr(obj_description(c.oid), 2),
				string_agg(format('| \`%s\` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod),
						$(escaped 'col_description(c.oid, a.attnum)')), E'\n' ORDER BY a.attnum))
		  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		 WHERE c.relnamespace = 'tapdata'::regnamespace AND c.relkind = 'v'
		 GROUP BY c.oid, c.relname
		 ORDER BY array_position(ARRAY['status', 'tables', 'events', 'dead_letters', 'pipelines',
				'connections', 'connectors']::name[], c.relname), c.relname;
	SQL
	printf '\n## Functions\n\n| function | returns | |\n| --- | --- | --- |\n'
	sql <<-SQL
		SELECT format('| \`%s(%s)\` | %s | %s |', proname,
				regexp_replace(pg_get_function_arguments(oid), ',? ?OUT .*', ''),
				CASE WHEN proretset THEN 'rows' ELSE pg_get_function_result(oid) END,
				$(escaped "obj_description(oid, 'pg_proc')"))
		  FROM pg_proc
		 WHERE pronamespace = 'tapdata'::regnamespace AND proname NOT LIKE 'masked\_%'
		   AND obj_description(oid, 'pg_proc') NOT LIKE 'rows of %'
		 ORDER BY oid;
	SQL
}

# write_page FILE COMMAND: whole or not at all
write_page()
{
	# not with "||", which would let an error inside of the command pass
	"$2" >"$folder/page"
	if [ $check = yes ]
	then
		cmp -s "$folder/page" "$here/$1" || { say "doc/$1 is out of date; run: make docs"; status=1; }
	else
		cat "$folder/page" >"$here/$1"
	fi
}

clean_up()
{
	"$services/postgres.sh" stop "$folder/server" || true
	rm -rf "$folder"
}

main()
{
	check=no status=0
	[ "${1:-}" != --check ] || check=yes
	folder=$(mktemp -d)
	chmod 755 "$folder"
	trap clean_up EXIT
	"$services/postgres.sh" start "$folder/server" shared_preload_libraries=tapdata
	PGHOST=$(sed -n 's/^HOST=//p' "$folder/server/env")
	PGPORT=$(sed -n 's/^PORT=//p' "$folder/server/env")
	export PGHOST PGPORT PGUSER=postgres PGDATABASE=postgres
	sql -c 'CREATE EXTENSION tapdata'
	write_page options.md options_page
	write_page views.md views_page
	exit $status
}

main "$@"
