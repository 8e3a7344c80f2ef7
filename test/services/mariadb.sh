#!/usr/bin/env bash
# test/services/mariadb.sh
#	  Starts and stops a throw-away MariaDB; see mysql.sh.
FLAVOUR=mariadb exec "$(dirname "$0")/mysql.sh" "$@"
