# shellcheck shell=bash
# test/services/common.sh
#	  What the service scripts share: messages, root rights, free ports.
#
# Sourced, never run. Exit code 77 means "cannot be had here", as in automake.

TAPDATA_CACHE=${TAPDATA_CACHE:-/var/cache/tapdata}
SKIP=77

say()
{
	printf '%s\n' "$*" >&2
}

die()
{
	say "error: $*"
	exit 1
}

# skip REASON: the caller can go on without what was asked for
skip()
{
	say "skip: $*"
	exit $SKIP
}

# as_root COMMAND...: runs it as root, through sudo where we are not
as_root()
{
	if [ "$(id -u)" -eq 0 ]
	then
		"$@"
	else
		sudo "$@"
	fi
}

# can_root: whether as_root works; sudo may ask for a password on a terminal only
can_root()
{
	[ "$(id -u)" -eq 0 ] && return 0
	command -v sudo >/dev/null 2>&1 || return 1
	if [ -t 0 ]
	then
		sudo -v
	else
		sudo -n true 2>/dev/null
	fi
}

# in_folder FOLDER COMMAND...: runs it as root with FOLDER as its root directory, with
# /proc and /dev/shm in a mount namespace that ends with the command
in_folder()
{
	local propagation=private

	# inside of a chroot there is no root mount whose propagation could be changed
	as_root unshare --mount true 2>/dev/null || propagation=unchanged
	# shellcheck disable=SC2016
	as_root unshare --mount --propagation $propagation sh -c '
		mount -t proc proc "$0/proc" && mkdir -p "$0/dev/shm" &&
		mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm" && exec chroot "$0" "$@"' \
		"$@" </dev/null
}

# free_port: a loopback port nobody listens on at this moment
free_port()
{
	perl -MIO::Socket::INET -e '
		my $socket = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 0, Listen => 1)
			or die "no free port: $!\n";
		print $socket->sockport, "\n";'
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; false on timeout
wait_until()
{
	local deadline=$((SECONDS + $1))
	shift
	until "$@"
	do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.1
	done
}
