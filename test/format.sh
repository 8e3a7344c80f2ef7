#!/usr/bin/env bash
# test/format.sh
#	  Formats the C sources as PostgreSQL's own are, or checks that they are.
#
# usage: format.sh [--check]
#
# Runs pg_bsd_indent with pgindent's options over src/, connectors/ and the C files
# of test/. The names of types, which it has to be told, are read from the
# headers of PostgreSQL, of the client libraries, and from the sources themselves.

set -euo pipefail
cd "$(dirname "$0")/.."

INDENT=${PG_BSD_INDENT:-pg_bsd_indent}
OPTIONS=(-bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l79
	-lp -lpl -nip -npro -sac -tpg -ts4)
# typedefs of the C library, and names that are typedefs in some header only
ALWAYS="bool FILE size_t ssize_t off_t time_t pid_t va_list sigset_t socklen_t iconv_t
	int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t uintptr_t"
# words that the search takes for names of types
NEVER="date interval timestamp ANY other string type text"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

header_files()
{
	find "$(${PG_CONFIG:-pg_config} --includedir-server)" -name '*.h'
	find /usr/include/mariadb /usr/include/curl /usr/include/*/curl /usr/include/zlib.h \
		/usr/include/zstd.h /usr/include/librdkafka/rdkafka.h /usr/include/postgresql/libpq-fe.h -name '*.h' 2>/dev/null || true
}

write_typedefs()
{
	{
		header_files | xargs cat
		cat "${files[@]}"
	} | perl -0777 -ne '
		s{/\*.*?\*/}{}gs;
		print "$1\n" while /^\}\s*(?:pg_attribute_\w+\(\)\s*)?(\w+)\s*;/mg;
		print "$1\n" while /\btypedef\b[^;{}]*?(\w+)\s*;/g;
		print "$1\n" while /\btypedef\b[^;{}]*?\(\s*\*?\s*(\w+)\s*\)\s*\(/g;' >"$work/found"
	{
		grep -vxF "$(printf '%s\n' $NEVER)" "$work/found"
		printf '%s\n' $ALWAYS
	} | sort -u >"$work/typedefs"
}

# The * of a type that stands alone on its line, as result of a function, takes one space.
formatted()
{
	"$INDENT" "${OPTIONS[@]}" -U"$work/typedefs" <"$1" 2>"$work/errors" |
		sed -E 's/^([A-Za-z_][A-Za-z_0-9 ]*[A-Za-z_0-9])[[:space:]]+(\*+)$/\1 \2/' ||
		{ echo "$1: $INDENT cannot make sense of it" >&2; return 1; }
	[ ! -s "$work/errors" ] || { echo "$1:" >&2; cat "$work/errors" >&2; return 1; }
}

main()
{
	local file differing=0
	command -v "$INDENT" >/dev/null || {
		echo "pg_bsd_indent is missing: test/services/install.sh format" >&2
		exit 1
	}
	mapfile -t files < <(git ls-files -c -o --exclude-standard \
		'src/*.[ch]' 'connectors/*.[ch]' 'test/*.[ch]')
	write_typedefs
	for file in "${files[@]}"
	do
		formatted "$file" >"$work/formatted"
		cmp -s "$file" "$work/formatted" && continue
		differing=$((differing + 1))
		if [ "${1:-}" = --check ]
		then
			diff -u --label "$file" --label "$file, formatted" "$file" "$work/formatted" || true
		else
			cat "$work/formatted" >"$file"
			echo "formatted $file"
		fi
	done
	[ "${1:-}" != --check ] && return
	[ $differing -eq 0 ] || { echo "$differing of ${#files[@]} files are not formatted; run: make indent" >&2; exit 1; }
	echo "${#files[@]} files are formatted"
}

main "$@"
