#!/usr/bin/env bash
# test/services/postgres_programs.sh
#	  Makes PostgreSQL's programs of another Debian release usable here.
#
# usage: postgres_programs.sh VERSION DIR
#
# Writes DIR/bin with a script for each program of that major version (17, 18), which
# runs the one in the folder that chroot.sh makes through the folder's own dynamic
# linker: neither root rights nor chroot(2) are needed. DIR can be the install_path of a
# PostgreSQL::Test::Cluster. Exits with 77 and a reason where the version is not there.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

find_programs()
{
	local release
	for release in trixie sid
	do
		usr=$TAPDATA_CACHE/$release/usr
		bin=$usr/lib/postgresql/$version/bin
		[ ! -x "$bin/initdb" ] || return 0
	done
	skip "there is no PostgreSQL $version in $TAPDATA_CACHE (test/services/chroot.sh makes it)"
}

find_linker()
{
	local library
	for library in "$usr"/lib*/ld-linux*.so.* "$usr"/lib/*/ld-linux*.so.*
	do
		[ ! -e "$library" ] || { linker=$library; break; }
	done
	libraries=$(printf '%s:' "$usr"/lib/*-linux-gnu*/ "$usr"/lib/*-linux-gnu*/systemd/ | sed 's/:$//')
}

# Programs look for each other beside the script. The server looks for its own
# files beside itself, and initdb has to be told where they are.
write_script()
{
	local name=$1 argv0='--argv0 "$0"' more=
	case $name in
		postgres | pg_config) argv0= ;;
		initdb) more="-L '$usr/share/postgresql/$version'" ;;
	esac
	printf '#!/bin/sh\nunset LD_LIBRARY_PATH\nexec "%s" --library-path "%s" %s "%s" %s "$@"\n' \
		"$linker" "$libraries" "$argv0" "$bin/$name" "$more" >"$dir/bin/$name"
	chmod 755 "$dir/bin/$name"
}

main()
{
	local program
	[ $# -eq 2 ] || die "usage: postgres_programs.sh VERSION DIR"
	version=$1
	find_programs
	find_linker
	mkdir -p "$2/bin"
	dir=$(cd "$2" && pwd)
	for program in initdb postgres pg_ctl pg_config pg_basebackup psql pg_isready pg_controldata pg_dump pg_rewind
	do
		write_script "$program"
	done
	"$dir/bin/postgres" --version >/dev/null 2>&1 ||
		skip "PostgreSQL $version of $usr does not run on this machine"
}

main "$@"
