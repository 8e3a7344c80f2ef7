#!/usr/bin/env bash
# test/services/install.sh
#	  Installs the Debian or Ubuntu packages that building and testing need.
#
# usage: install.sh GROUP...	(build, test, demo, bench, format, fuzz, chroot, all)
#
# Says first what it is about to install, installs only what is missing, and
# starts no service: a policy-rc.d stands in the way while apt runs, and is
# taken away afterwards if it was ours.

set -euo pipefail
. "$(dirname "$0")/common.sh"

POLICY=/usr/sbin/policy-rc.d
policy_is_ours=no

# The major version to build against: the one whose pg_config is asked for, the
# newest with its headers installed, or what the distribution's metapackage means.
postgres_major()
{
	local config=${PG_CONFIG:-pg_config} major
	if command -v "$config" >/dev/null 2>&1 && [ -f "$("$config" --pgxs)" ]
	then
		"$config" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'
		return
	fi
	major=$(apt-cache depends postgresql 2>/dev/null |
			sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
	[ -n "$major" ] || die "apt does not know the package postgresql; run apt-get update, or is this not Debian or Ubuntu?"
	echo "$major"
}

packages_of()
{
	case $1 in
		build)
			echo gcc make libc6-dev "postgresql-$2" "postgresql-server-dev-$2" \
				libmariadb-dev libcurl4-openssl-dev librdkafka-dev libzstd-dev zlib1g-dev
			;;
		test)
			echo mariadb-server mariadb-client libdbi-perl libdbd-mariadb-perl \
				libipc-run-perl openssl perl procps util-linux \
				kcat maven default-jre-headless curl python3 python3-pip gnucobol3 zstd xz-utils
			;;
		demo)
			echo mariadb-server mariadb-client procps util-linux \
				kcat maven default-jre-headless openssl gnucobol3
			;;
		bench)
			echo mariadb-server mariadb-client libdbi-perl libdbd-mariadb-perl libdbd-pg-perl \
				procps util-linux kcat maven default-jre-headless gnucobol3
			;;
		format) echo pg-bsd-indent ;;
		fuzz) echo clang ;;
		chroot) echo debootstrap debian-archive-keyring ;;
		all)
			local group
			for group in build test format chroot
			do
				packages_of "$group" "$2"
			done
			;;
		*) die "unknown group \"$1\"; known are build, test, demo, bench, format, fuzz, chroot and all" ;;
	esac
}

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of()
{
	local package
	for package
	do
		is_installed "$package" || echo "$package"
	done | sort -u
}

forbid_services()
{
	[ -e "$POLICY" ] && return
	policy_is_ours=yes
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
	as_root chmod 755 "$POLICY"
}

allow_services()
{
	[ $policy_is_ours = no ] || as_root rm -f "$POLICY"
}

install_packages()
{
	trap allow_services EXIT
	forbid_services
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
		-y -q --no-install-recommends install "$@" </dev/null >&2
}

main()
{
	[ $# -gt 0 ] || die "usage: install.sh build|test|demo|bench|format|fuzz|chroot|all ..."
	command -v dpkg-query >/dev/null 2>&1 ||
		die "this is not Debian or Ubuntu; install by hand what README.md lists under "By hand""

	local major group wanted missing
	major=$(postgres_major) || {
		can_root || die "package lists are missing and there are no root rights to fetch them; run apt-get update"
		as_root apt-get -q update >&2
		major=$(postgres_major)
	}
	wanted=$(for group; do packages_of "$group" "$major"; done)
	# shellcheck disable=SC2086
	missing=$(missing_of $wanted)
	[ -n "$missing" ] || return 0

	# shellcheck disable=SC2086
	say "installing Debian packages:" $missing
	can_root || die "packages are missing and there are no root rights; as root, run: apt-get install" $missing
	# shellcheck disable=SC2086
	install_packages $missing || {
		say "that failed; once more with fresh package lists"
		as_root apt-get -q update >&2
		install_packages $missing
	}
}

main "$@"
