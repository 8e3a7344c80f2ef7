#!/usr/bin/env bash
# test/run.sh
#	  Runs tests against the installed extension, under prove.
#
# usage: run.sh [TEST...]
#
# A TEST is "regress" (the regression tests), a file test/t/*.pl, or a program
# test/unit/*_unit; without any all of them are run. The environment has PG_CONFIG,
# REGRESS and REGRESS_OPTS from the Makefile, and PROVE_FLAGS from the user.
#
# PostgreSQL does not run as root: there the tests run as user postgres, in a copy of
# what they need in a folder below TMPDIR, so that nothing in the source tree has
# to be readable or writable for it. The folder is kept when a test fails.

set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}
PG_CONFIG=$(command -v "$PG_CONFIG")
PROVE_FLAGS=${PROVE_FLAGS:---timer -j2}
SHOWN_LINES=150

tests_of()
{
	local file
	if [ $# -gt 0 ]
	then
		for file
		do
			[ "$file" = regress ] || [ -f "$file" ] || { echo "there is no test $file" >&2; exit 1; }
		done
		printf '%s\n' "$@"
		return
	fi
	[ -z "${REGRESS:-}" ] || echo regress
	for file in test/unit/*_unit test/t/*.pl
	do
		[ ! -f "$file" ] || echo "$file"
	done
}

make_folder()
{
	folder=$(mktemp -d "${TMPDIR:-/tmp}/tapdata-test-XXXXXX")
	cp -R "$top/test" "$folder/"
	[ ! -d "$top/expected" ] || cp -R "$top/expected" "$folder/"
	[ ! -d "$top/doc" ] || cp -R "$top/doc" "$folder/"
	[ ! -d "$top/connectors" ] || cp -R "$top/connectors" "$folder/"
	mkdir "$folder/tmp_check"
	user=()
	if [ "$(id -u)" -eq 0 ]
	then
		chown -R postgres: "$folder"
		user=(runuser -u postgres --)
	fi
}

# what PGXS sets for prove_installcheck
test_environment()
{
	local pgxs
	pgxs=$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")
	environment=(env TESTDIR="$folder" TESTDATADIR="$folder/tmp_check"
		TESTLOGDIR="$folder/tmp_check/log" TMPDIR="$folder/tmp_check" HOME="$folder"
		PATH="$("$PG_CONFIG" --bindir):$PATH" LC_ALL=C.UTF-8
		PG_CONFIG="$PG_CONFIG" PG_REGRESS="$pgxs/test/regress/pg_regress"
		REGRESS="${REGRESS:-}" REGRESS_OPTS="${REGRESS_OPTS:---inputdir=test}"
		PGPORT=65432 PERL5LIB="$folder/test/lib:$pgxs/test/perl")
}

# The end of the output is what one gets to see of a run elsewhere.
tell_failures()
{
	local failures=$folder/tmp_check/log/failures
	[ -s "$failures" ] || return 0
	echo "what the failed tests have left, the newest last:" >&2
	tail -n "$SHOWN_LINES" "$failures" >&2
}

main()
{
	local tests status=0
	cd "$top"
	make_folder
	cd "$folder"
	tests=$(tests_of "$@")
	[ -n "$tests" ] || { echo "there are no tests" >&2; exit 1; }
	mapfile -t tests < <(sed 's,^regress$,test/regress.sh,' <<<"$tests")
	test_environment

	# shellcheck disable=SC2086
	"${user[@]}" "${environment[@]}" prove $PROVE_FLAGS "${tests[@]}" </dev/null || status=$?
	if [ $status -eq 0 ]
	then
		rm -rf "$folder"
	else
		tell_failures
		echo "logs are in $folder/tmp_check" >&2
	fi
	exit $status
}

main "$@"
