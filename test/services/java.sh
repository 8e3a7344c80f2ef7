# shellcheck shell=bash
# test/services/java.sh
#	  What the scripts share that run programs from Maven Central.
#
# Sourced after common.sh, never run. The script that sources it has in dir the folder
# of the service. The programs are the profiles of JAVA_POM (kafka/pom.xml); the jars of each are
# in $TAPDATA_CACHE/java/PROFILE, whose file .complete is a copy of the pom.xml that they
# were fetched by. Services listen on loopback only, as user postgres where we are root.

JAVA_FOLDER=$TAPDATA_CACHE/java
JAVA_POM=$here/kafka/pom.xml
JAVA_START_SECONDS=120
JAVA_STOP_SECONDS=60

# quick to start rather than fast in the end
JAVA_OPTIONS=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData
	-Djava.net.preferIPv4Stack=true -Dorg.slf4j.simpleLogger.showDateTime=true
	-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS)

server_user=()
[ "$(id -u)" -ne 0 ] || server_user=(setpriv --reuid postgres --regid postgres --init-groups)

has_jars()
{
	cmp -s "$JAVA_POM" "$JAVA_FOLDER/$1/.complete"
}

# need_jars PROFILE...: skips when a program was not fetched, or cannot be run
need_jars()
{
	local profile
	command -v java >/dev/null || skip "Java is not installed (package default-jre-headless)"
	for profile
	do
		has_jars "$profile" ||
			skip "the jars of $profile are not in $JAVA_FOLDER (test/services/kafka.sh fetch gets them)"
	done
}

# unpack_archives FOLDER: what a jar is only the wrapping of
unpack_archives()
{
	local archive
	for archive in "$1"/*.txz
	do
		[ -f "$archive" ] || continue
		tar -xJf "$archive" -C "$1" --no-same-owner || return 1
		rm "$archive"
	done
}

# Maven writes as whoever we are; the finished folder is put in its place with root's rights.
fetch_profile()
{
	local profile=$1 goal=copy-dependencies work=$2
	case $profile in
		registry | postgres*) goal=unpack-dependencies ;;
	esac
	say "fetching the jars of $profile from Maven Central"
	mvn --batch-mode --quiet --file "$work/pom.xml" --activate-profiles "$profile" \
		"dependency:$goal" -DincludeScope=runtime -DoutputDirectory="$work/$profile" >&2 </dev/null ||
		return 1
	unpack_archives "$work/$profile" || return 1
	cp "$JAVA_POM" "$work/$profile/.complete"
	chmod -R a+rX "$work/$profile"
	as_root mkdir -p "$JAVA_FOLDER"
	as_root rm -rf "${JAVA_FOLDER:?}/$profile"
	as_root cp -R "$work/$profile" "$JAVA_FOLDER/"
}

# fetch_jars PROFILE...: those that are not there yet
fetch_jars()
{
	local profile missing=() work
	for profile
	do
		has_jars "$profile" || missing+=("$profile")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v mvn >/dev/null || skip "Maven is not installed (package maven)"
	can_root || skip "the jars in $JAVA_FOLDER need root or sudo, once"

	# two runs at once must not write into the same folder
	as_root mkdir -p "$TAPDATA_CACHE"
	as_root touch "$TAPDATA_CACHE/.lock"
	exec 9<"$TAPDATA_CACHE/.lock"
	flock 9
	work=$(mktemp -d)
	cp "$JAVA_POM" "$work/"
	for profile in "${missing[@]}"
	do
		has_jars "$profile" || fetch_profile "$profile" "$work" ||
			{ rm -rf "$work"; skip "the jars of $profile cannot be fetched; is there a network?"; }
	done
	rm -rf "$work"
	flock -u 9
}

# The port of the last start, or a free one.
choose_port()
{
	if [ -f "$dir/env" ]
	then
		sed -n "s/^$1=//p" "$dir/env"
	else
		free_port
	fi
}

make_folder()
{
	[ -d "$dir/tmp" ] || mkdir "$dir/tmp"
	[ "$(id -u)" -ne 0 ] || chown postgres: "$dir" "$dir/tmp"
	JAVA_OPTIONS+=("-Djava.io.tmpdir=$dir/tmp")
}

# launch COMMAND...: in the background and in $dir; sets pid, and returns when the function
# answers succeeds
launch()
{
	(cd "$dir" && exec "${server_user[@]}" setsid "$@" </dev/null >>"$dir/server.log" 2>&1) &
	pid=$!
	wait_until $JAVA_START_SECONDS is_up ||
		{ kill -9 "$pid"; show_log; die "it did not answer within $JAVA_START_SECONDS seconds"; }
	kill -0 "$pid" 2>/dev/null || { show_log; return 1; }
}

is_up()
{
	kill -0 "$pid" 2>/dev/null || return 0
	answers
}

show_log()
{
	tail -n 20 "$dir/server.log" >&2
}

is_gone()
{
	! kill -0 "$1" 2>/dev/null
}

# end SIGNAL: sends it to the service of the folder and waits until it is gone
end()
{
	local pid
	[ -f "$dir/env" ] || return 0
	pid=$(sed -n 's/^PID=//p' "$dir/env")
	grep -qaF "$dir/tmp" "/proc/$pid/cmdline" 2>/dev/null || return 0
	kill "-$1" "$pid"
	wait_until $JAVA_STOP_SECONDS is_gone "$pid" ||
		die "the process $pid did not stop within $JAVA_STOP_SECONDS seconds"
}

# java_main SERVICE ACTION DIR [ARGUMENT...]: what all these scripts do alike
java_main()
{
	local service=$1 action=${2:-}
	local usage="usage: $service.sh start|stop|kill DIR [ARGUMENT...], or $service.sh available|fetch"
	case $action in
		available) find_service; return ;;
		fetch) fetch_service; return ;;
		start | stop | kill) [ $# -ge 3 ] || die "$usage" ;;
		*) die "$usage" ;;
	esac
	[ "$action" != start ] || mkdir -p "$3"
	dir=$(cd "$3" && pwd) || die "there is no folder $3"
	shift 3
	case $action in
		start) find_service; make_folder; start "$@" ;;
		stop) end TERM ;;
		kill) end KILL ;;
	esac
}
