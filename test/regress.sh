#!/usr/bin/env bash
# test/regress.sh
#	  Runs the regression tests in a server of their own and prints TAP.
#
# Called by run.sh in its run folder, with PG_CONFIG, PG_REGRESS, REGRESS (names) and
# REGRESS_OPTS in the environment. pg_regress prints TAP itself since PostgreSQL 16;
# for 15 its lines are turned into it.

set -euo pipefail

folder=$PWD/tmp_check/regress

# as long as all else waits for a server on a busy machine
export PGCTLTIMEOUT=${PGCTLTIMEOUT:-${PG_TEST_TIMEOUT_DEFAULT:-180}}

to_tap()
{
	awk '
		/^(ok|not ok) / { print; tests++; next }
		/^1\.\.[0-9]+$/ || /^#/ { next }
		/ \.\.\. (ok|FAILED)/ {
			tests++
			name = $1 == "test" ? $2 : $1
			print ($0 ~ /\.\.\. ok/ ? "ok " : "not ok ") tests " - " name
			next
		}
		{ print "# " $0 }
		END { print "1.." tests }'
}

status=0
"$PG_REGRESS" $REGRESS_OPTS --bindir="$($PG_CONFIG --bindir)" --outputdir=. \
	--temp-instance="$folder" --temp-config=test/regress.conf \
	--dbname=contrib_regression --no-locale --encoding=UTF8 \
	$REGRESS >"$PWD/tmp_check/regress.out" 2>&1 || status=$?
to_tap <"$PWD/tmp_check/regress.out"
if [ $status -ne 0 ]
then
	sed 's/^/# /' tmp_check/regress.out regression.diffs >&2 2>/dev/null || true
fi
exit $status
