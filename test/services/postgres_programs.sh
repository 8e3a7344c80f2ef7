#!/usr/bin/env bash
# test/services/postgres_programs.sh
#	  Makes PostgreSQL's programs of another major version usable here.
#
# usage: postgres_programs.sh VERSION DIR
#		 postgres_programs.sh fetch
#
# Writes DIR/bin with a script for each program of that major version. 17 and 18 are in the
# folders that chroot.sh makes, and run through the folder's own dynamic linker: neither root
# rights nor chroot(2) are needed. 13, 14 and 16 are servers from Maven Central, which fetch
# gets once; they bring their libraries along, but no clients: these are of those folders, or
# this machine's. DIR can be the install_path of a PostgreSQL::Test::Cluster. Exits with 77 and
# a reason where the version is not there.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
. "$here/java.sh"
JAVA_POM=$here/postgres/pom.xml

# ---------------------------------------------------------------------
# Of another Debian release.
# ---------------------------------------------------------------------

# find_programs VERSION: false where it is not there
find_programs()
{
	local release
	for release in trixie sid
	do
		usr=$TAPDATA_CACHE/$release/usr
		bin=$usr/lib/postgresql/$1/bin
		[ ! -x "$bin/initdb" ] || { find_linker; return 0; }
	done
	return 1
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

# write_script NAME LINES
write_script()
{
	printf '#!/bin/sh\n%s\n' "$2" >"$dir/bin/$1"
	chmod 755 "$dir/bin/$1"
}

# Programs look for each other beside the script. The server looks for its own
# files beside itself, and initdb has to be told where they are.
write_linked()
{
	local name=$1 argv0='--argv0 "$0"' more=
	case $name in
		postgres | pg_config) argv0= ;;
		initdb) more="-L '$usr/share/postgresql/$version'" ;;
	esac
	write_script "$name" "unset LD_LIBRARY_PATH
exec \"$linker\" --library-path \"$libraries\" $argv0 \"$bin/$name\" $more \"\$@\""
}

write_debian()
{
	local program
	find_programs "$version" ||
		skip "there is no PostgreSQL $version in $TAPDATA_CACHE (test/services/chroot.sh makes it)"
	for program in initdb postgres pg_ctl pg_config pg_basebackup psql pg_isready pg_controldata pg_dump pg_rewind
	do
		write_linked "$program"
	done
}

# ---------------------------------------------------------------------
# From Maven Central.
# ---------------------------------------------------------------------

# Clients may be newer than the server, but pg_basebackup no older.
write_embedded()
{
	local program own=$JAVA_FOLDER/postgres$version/bin
	has_jars "postgres$version" ||
		skip "there is no PostgreSQL $version in $JAVA_FOLDER (test/services/postgres_programs.sh fetch gets it)"
	for program in initdb postgres pg_ctl
	do
		write_script "$program" "unset LD_LIBRARY_PATH
exec \"$own/$program\" \"\$@\""
	done
	for program in psql pg_isready pg_basebackup pg_dump
	do
		if find_programs 18 || find_programs 17
		then
			write_linked "$program"
		else
			write_script "$program" "exec \"$(command -v "$program")\" \"\$@\""
		fi
	done
	write_script pg_config "[ \"\$*\" = --version ] || { echo 'only its version is known' >&2; exit 1; }
\"$own/postgres\" --version | sed -E 's/^postgres \(PostgreSQL\)/PostgreSQL/'"
}

main()
{
	if [ "${1:-}" = fetch ]
	then
		fetch_jars postgres13 postgres14 postgres16
		return
	fi
	[ $# -eq 2 ] || die "usage: postgres_programs.sh VERSION DIR, or postgres_programs.sh fetch"
	version=$1
	mkdir -p "$2/bin"
	dir=$(cd "$2" && pwd)
	case $version in
		13 | 14 | 16) write_embedded ;;
		*) write_debian ;;
	esac
	"$dir/bin/postgres" --version >/dev/null 2>&1 ||
		skip "PostgreSQL $version of the folder $TAPDATA_CACHE does not run on this machine"
}

main "$@"
