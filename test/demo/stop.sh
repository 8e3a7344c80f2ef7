#!/usr/bin/env bash
# test/demo/stop.sh
#	  Stops the servers of the demo and removes its folder.

set -euo pipefail
. "$(dirname "$0")/common.sh"

if stop_demo
then
	say "the demo is stopped and its folder removed"
else
	say "no demo is running"
fi
