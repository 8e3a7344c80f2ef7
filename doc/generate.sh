#!/usr/bin/env bash
# doc/generate.sh
#	  Writes doc/options.md from the option tables of the core and of the connectors.
#
# Needs a server that has the extension installed (it need not be preloaded), named by
# the usual PGHOST, PGPORT and PGUSER; works in a schema that it rolls back.

set -euo pipefail
cd "$(dirname "$0")"

query()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "${PGDATABASE:-postgres}" <<-SQL
		SET client_min_messages = warning;
		BEGIN;
		DO \$\$ BEGIN
		  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'tapdata') THEN
		    CREATE EXTENSION tapdata;
		  END IF;
		END \$\$;
		$1;
		ROLLBACK;
	SQL
}

# options of one connector (an SQL literal, or NULL for the core) and scope as rows
rows()
{
	query "SELECT format('| \`%s\` | %s | %s | %s%s |', name,
			coalesce(\"values\", type),
			coalesce('\`' || default_value || '\`', ''),
			replace(help, '|', '\\|'),
			CASE WHEN secret THEN ' (never shown)' ELSE '' END)
		FROM tapdata.connector_options($1) WHERE '$2' = ANY (scope)"
}

section()
{
	local body
	body=$(rows "$2" "$3")
	[ -n "$body" ] || return 0
	printf '\n### %s\n\n| option | value | default | meaning |\n| --- | --- | --- | --- |\n%s\n' "$1" "$body"
}

{
	cat <<-'HEAD'
		# Options

		Made by `doc/generate.sh` from the tables in the code; the same rows are in
		`tapdata.connector_options(connector)`. Options are given as JSON,
		`'{"workers": 4}'`, those of a connection also in its URI, `?connect_timeout=5`.
		An unknown option is an error that lists the valid ones.
		`tapdata.alter_connection()` and `tapdata.alter_pipeline()` change single options;
		a null takes one away.

		## Every connector
	HEAD
	section 'tapdata.connect' NULL connection
	section 'tapdata.pull' NULL pull
	section 'tapdata.publish' NULL publish
	for connector in $(query "SELECT name FROM tapdata.connectors WHERE name <> 'fake' ORDER BY name")
	do
		printf '\n## %s\n\n%s\n' "$connector" \
			"$(query "SELECT description FROM tapdata.connectors WHERE name = '$connector'")"
		section 'tapdata.connect' "'$connector'" connection
		section 'tapdata.pull' "'$connector'" pull
		section 'tapdata.publish' "'$connector'" publish
	done
} >options.md.new
mv options.md.new options.md
