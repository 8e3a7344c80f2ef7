#!/usr/bin/env bash
# test/services/chroot.sh
#	  Makes a folder with another Debian release, for the servers this one lacks.
#
# usage: chroot.sh sid|trixie [PACKAGE...]
#
# The folder is $TAPDATA_CACHE/NAME (/var/cache/tapdata/NAME). A file .complete
# in it lists the packages that are there; a second run with the same packages
# only reads it. The mirror and apt's settings are the machine's own. Exits with
# 77 and a reason where there are no root rights or no network.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

suite=${1:-}
folder=$TAPDATA_CACHE/$suite
marker=$folder/.complete

default_packages()
{
	local libraries="gcc make libc6-dev libmariadb-dev libcurl4-openssl-dev librdkafka-dev libzstd-dev zlib1g-dev"
	local tests="libdbi-perl libdbd-mariadb-perl libipc-run-perl openssl procps"
	case $suite in
		sid) echo mysql-server-core mysql-client-core postgresql-18 postgresql-server-dev-18 $libraries $tests ;;
		trixie) echo mariadb-server mariadb-client postgresql-17 postgresql-server-dev-17 $libraries $tests ;;
		*) die "usage: chroot.sh sid|trixie [PACKAGE...]" ;;
	esac
}

is_complete()
{
	local package
	[ -f "$marker" ] || return 1
	for package
	do
		grep -qxF "$package" "$marker" || return 1
	done
}

# The Debian mirror this machine uses; nothing elsewhere, where debootstrap's own is right.
mirror()
{
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" { print $2; exit }'
}

in_chroot()
{
	in_folder "$folder" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
}

bootstrap()
{
	[ ! -x "$folder/usr/bin/apt-get" ] || [ -d "$folder/debootstrap" ] || return 0
	say "making a Debian $suite folder in $folder (about 500 MB to download, once)"
	as_root mkdir -p "$TAPDATA_CACHE"
	# shellcheck disable=SC2046
	as_root debootstrap --variant=minbase "$suite" "$folder" $(mirror) >&2 </dev/null ||
		skip "debootstrap of Debian $suite failed; is there a network, and a Debian mirror in apt's sources?"
}

# Proxies, certificates and the like that apt needs here it needs in the folder too.
configure()
{
	apt-config dump | grep -E '^Acquire::(http|https|Check-)' |
		as_root tee "$folder/etc/apt/apt.conf.d/90machine" >/dev/null || true
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$folder/usr/sbin/policy-rc.d" >/dev/null
	as_root chmod 755 "$folder/usr/sbin/policy-rc.d"
	[ ! -f /etc/resolv.conf ] || as_root cp -L /etc/resolv.conf "$folder/etc/resolv.conf"
	as_root mkdir -p "$folder/etc/postgresql-common"
	echo "create_main_cluster = false" |
		as_root tee "$folder/etc/postgresql-common/createcluster.conf" >/dev/null
}

install_packages()
{
	say "installing in $folder: $*"
	in_chroot dpkg --force-confold --configure -a >&2 || true
	in_chroot apt-get -q update >&2 ||
		skip "the package lists of Debian $suite cannot be fetched"
	in_chroot apt-get -o DPkg::Lock::Timeout=900 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold \
		-y -q --no-install-recommends install "$@" >&2 ||
		skip "the packages of Debian $suite cannot be installed"
	in_chroot apt-get clean
}

main()
{
	[ $# -gt 0 ] || die "usage: chroot.sh sid|trixie [PACKAGE...]"
	shift
	[ $# -gt 0 ] || set -- $(default_packages)
	is_complete "$@" && return 0
	can_root || skip "a Debian $suite folder needs root or sudo, once"
	"$here/install.sh" chroot || skip "debootstrap is missing and cannot be installed"

	# two runs at once must not write into the same folder
	as_root mkdir -p "$TAPDATA_CACHE"
	as_root touch "$TAPDATA_CACHE/.lock"
	exec 9<"$TAPDATA_CACHE/.lock"
	flock 9
	is_complete "$@" && return 0

	bootstrap
	configure
	install_packages "$@"
	{ [ ! -f "$marker" ] || cat "$marker"; printf '%s\n' "$@"; } | sort -u |
		as_root tee "$marker.new" >/dev/null
	as_root mv "$marker.new" "$marker"
}

main "$@"
