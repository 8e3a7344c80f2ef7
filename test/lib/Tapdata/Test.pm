# test/lib/Tapdata/Test.pm
#	  What TAP tests of tapdata share: a hub node, waiting, comparing.

=pod

=head1 NAME

Tapdata::Test - a hub cluster and checks on it

=head1 SYNOPSIS

  use Tapdata::MySQL;
  use Tapdata::Test;
  use Test::More;

  for my $flavour (usable_flavours())
  {
      my $source = Tapdata::MySQL->start(flavour => $flavour);
      my $hub = new_hub("hub_$flavour");
      ...
      pull($hub, $source, 'shop');
      caught_up($hub, 'shop');
      same_rows($source, 'shop.orders', $hub, 'shop.orders', 'orders are the same');
  }
  done_testing();

=cut

package Tapdata::Test;

use strict;
use warnings;

use Carp;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  new_hub
  require_flavour
  usable_flavours
  pull
  caught_up
  wait_for_sql
  wait_for_state
  error_becomes
  sql_ok
  sql_becomes
  sql_fails
  column_types
  same_rows
  source_rows
  hub_rows
  worker_pids
  pipeline_pid
  stop_pipeline
  try_sql
  within
  signal_one
  kill_one
  kill_process
  recovered
  kill_server
);

my $field_separator = "\x1f";
my $row_separator = "\x1e";
my $null = "\x01";
my $shown_differences = 5;
my $shown_failures = 10;
my $shown_bytes = 400;
my $quiet_call_seconds = 0.03;
my $most_slowness = 20;
my $owner = $$;
my @hubs;

# what the script dies of; what dies in an eval is the eval's business
my $died = '';
my $at_death = $SIG{__DIE__};
$SIG{__DIE__} = sub {
	$died = $_[0] if defined $^S && !$^S;
	$at_death->(@_) if ref $at_death eq 'CODE';
};

# process ids and when they started, by the name of the server, as long as it may not know of
# their death
my %killed;

# a server that has to recover on a busy machine is waited for as long as all else
$ENV{PGCTLTIMEOUT} ||= $PostgreSQL::Test::Utils::timeout_default;

=pod

=head2 new_hub($name, $config, %init)

A running cluster with tapdata preloaded and created in database postgres. $config
is appended to postgresql.conf; %init goes to the cluster's init. Unlike in
PostgreSQL's own tests the server recovers by itself when a backend crashes.

=cut

sub new_hub
{
	my ($name, $config, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name || 'hub');

	$node->init(allows_streaming => 'logical', %init);
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'tapdata'
max_worker_processes = 64
max_connections = 100
restart_after_crash = on
log_statement = none
log_line_prefix = '%m [%p] %b %a '
CONF
	$node->append_conf('postgresql.conf', $config) if $config;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION tapdata');
	push @hubs, $node;
	return $node;
}

# A hub recovers from a crash so quickly that few tests would see it.
sub crashes
{
	return grep { /was terminated by signal (?!9\b)|TRAP: / }
	  map { split /\n/, slurp_file($_) } grep { -f } map { $_->logfile } @hubs;
}

# What run.sh repeats behind the summary, where the logs may not be at hand.
sub _remember
{
	my (@lines) = @_;

	return unless $ENV{TESTLOGDIR};
	append_to_file("$ENV{TESTLOGDIR}/failures",
		join '', map { my $line = $_; chomp $line; substr($line, 0, $shown_bytes) . "\n" } @lines);
	return;
}

sub _newest
{
	my (@lines) = @_;

	splice @lines, 0, @lines - $shown_failures if @lines > $shown_failures;
	return @lines;
}

sub _remember_failures
{
	my ($status) = @_;
	my @tests = Test::More->builder->details;
	my @failed = grep { !$tests[$_]{actual_ok} } 0 .. $#tests;

	return unless @failed || $status;
	my $left = @failed - $shown_failures;
	splice @failed, $shown_failures if $left > 0;
	_remember("$0, exit status $status:", $died ne '' ? map { "  died: $_" } split /\n/, $died : (), map({ '  failed ' . ($_ + 1) . ": $tests[$_]{name}" } @failed), $left > 0 ? "  and $left more" : ());
	for my $hub (@hubs)
	{
		my @errors = -f $hub->logfile ?
		  grep { /\b(?:ERROR|FATAL|PANIC): |was terminated by signal|TRAP: / } split /\n/, slurp_file($hub->logfile) : ();

		_remember('  errors in the log of ' . $hub->name . ', the newest:', map { "    $_" } _newest(@errors)) if @errors;
	}
	return;
}

END
{
	if ($$ == $owner)
	{
		my $status = $?;
		my @crashes = crashes();

		diag "a process of the hub crashed:", @crashes if @crashes;
		_remember("$0: a process of the hub crashed:", _newest(@crashes)) if @crashes;
		_remember_failures($status);
		$? = $status || (@crashes ? 1 : 0);
	}
}

=pod

=head2 require_flavour($flavour)

True when a server of the flavour ('mariadb', 'mysql') can be had. Otherwise notes
the reason and is false, or, with TAPDATA_REQUIRE_SERVERS=1 in the environment, is
a failed test that ends the script.

=head2 usable_flavours()

Those of mariadb and mysql that can be had; skips the whole script when none can.
TAPDATA_FLAVOURS in the environment ("mariadb mysql") narrows the choice.

=cut

sub require_flavour
{
	my ($flavour) = @_;
	my ($available, $reason) = Tapdata::MySQL->available($flavour);

	return 1 if $available;
	BAIL_OUT("$flavour is required but: $reason")
	  if $ENV{TAPDATA_REQUIRE_SERVERS};
	note "skip $flavour: $reason";
	return 0;
}

sub usable_flavours
{
	my @wanted = split ' ', $ENV{TAPDATA_FLAVOURS} || 'mariadb mysql';
	my @usable = grep { require_flavour($_) } @wanted;

	plan skip_all => 'neither MariaDB nor MySQL can be had' unless @usable;
	if (@usable < @wanted)
	{
		my %have = map { $_ => 1 } @usable;

		# as a line of its own in the summary, not only a remark
	  SKIP:
		{
			skip "no server of flavour " . join(', ', grep { !$have{$_} } @wanted), 1;
		}
	}
	return @usable;
}

=pod

=head2 pull($hub, $source, $name, %arguments)

Connects $source as connection $name and pulls its database $name (or the patterns
in tables) by a pipeline of the same name. options is the pipeline's options as
JSON, connection_options those of the connection, port replaces the source's port
(for a proxy), database names the database of the hub.

=cut

sub pull
{
	my ($hub, $source, $name, %arguments) = @_;
	my $uri = $source->uri('', port => $arguments{port});
	my $tables = join ',', map { "'$_'" } @{ $arguments{tables} || ["$name.*"] };
	my $options = $arguments{options} || '{}';
	my $connection_options = $arguments{connection_options} || '{}';

	$hub->safe_psql($arguments{database} || 'postgres', qq(
		SELECT tapdata.connect('$name', '$uri', '$connection_options');
		SELECT tapdata.pull('$name', '$name', ARRAY[$tables], options => '$options');));
	return;
}

=pod

=head2 caught_up($hub, $pipeline, $timeout)

Waits until all that the source has committed by now is visible in the hub.

=cut

sub caught_up
{
	my ($hub, $pipeline, $timeout, $database) = @_;

	$timeout ||= $PostgreSQL::Test::Utils::timeout_default;
	my ($code, $out, $err) = $hub->psql($database || 'postgres',
		"SELECT tapdata.wait('$pipeline', '$timeout s')");
	return 1 if $code == 0;
	_explain($hub, $database, "pipeline $pipeline does not catch up", $err);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	fail("pipeline $pipeline catches up");
	diag $err;
	return 0;
}

=pod

=head2 wait_for_sql($node, $query, $expected, $timeout, $database)

Polls until the query prints $expected ('t' without it), which survives that the
server is down for a while. A failed test and the last answer on timeout.

=cut

sub wait_for_sql
{
	my ($node, $query, $expected, $timeout, $database) = @_;
	my $deadline = time + ($timeout || $PostgreSQL::Test::Utils::timeout_default);
	my ($code, $out, $err);

	$expected = 't' unless defined $expected;
	do
	{
		# a psql that cannot connect may be gone before it was sent the query
		$code = -1;
		eval { ($code, $out, $err) = $node->psql($database || 'postgres', $query); };
		return 1 if $code == 0 && $out eq $expected;
		sleep 0.05;
	} while (time < $deadline);

	_explain($node, $database, "$query does not become $expected", "last answer: $out", $err);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	fail("$query becomes $expected");
	diag "last answer: $out";
	diag $err if $err;
	return 0;
}

=pod

=head2 wait_for_state($hub, $pipeline, $state)

Polls until tapdata.status shows the state. "stopped" is shown from the call of stop() on;
here it means that none of the pipeline's processes is left, too.

=cut

sub wait_for_state
{
	my ($hub, $pipeline, $state, $timeout, $database) = @_;
	my $query = "SELECT state FROM tapdata.status WHERE name = '$pipeline'";

	$query .= ' AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND ' . _processes_of($pipeline) . ')'
	  if $state eq 'stopped';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for_sql($hub, $query, $state, $timeout, $database);
}

# A condition on pg_stat_activity. A worker that has just been started has no name yet.
sub _processes_of
{
	my ($pipeline) = @_;
	my $names = join ', ', map { "'tapdata $_ $pipeline'" } qw(pipeline sync snapshot);

	return "(application_name IN ($names) OR backend_type = 'tapdata pipeline' AND application_name = '')";
}

=pod

=head2 error_becomes($hub, $pipeline, $pattern, $name)

tapdata.status shows a last error that matches; it does not show one while the pipeline,
which tries again, believes that it can go on.

=cut

sub error_becomes
{
	my ($hub, $pipeline, $pattern, $name) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my $error = '';

	while (1)
	{
		my $now = try_sql($hub, "SELECT last_error FROM tapdata.status WHERE name = '$pipeline'");

		$error = $now if defined $now && $now ne '';
		last if $error =~ $pattern || time > $deadline;
		sleep 0.05;
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($error, $pattern, $name);
	return $error;
}

# What one wants to see first when something did not happen.
sub _explain
{
	my ($hub, $database, @what) = @_;

	_remember("$0 at " . localtime . ": " . shift @what, map { "  $_" } map { split /\n/ } grep { defined } @what);
	for my $query (
		'SELECT name, state, last_error FROM tapdata.status',
		q{SELECT at, pipeline, kind, message FROM tapdata.events WHERE severity <> 'info' ORDER BY at DESC LIMIT 5})
	{
		my ($code, $out) = $hub->psql($database || 'postgres', $query);

		_remember(map { "  $_" } split /\n/, $out) if $code == 0;
	}
	for my $query (
		'SELECT * FROM tapdata.status',
		'SELECT * FROM tapdata.tables LIMIT 20',
		'SELECT * FROM tapdata.events ORDER BY at DESC LIMIT 20')
	{
		my ($code, $out) = $hub->psql($database || 'postgres', "\\x\n$query");
		diag "$query:\n$out" if $code == 0 && $out ne '';
	}
	return;
}

=pod

=head2 sql_ok($node, $query, $expected, $name)

The query succeeds and prints $expected (anything without it).

=head2 sql_becomes($node, $query, $expected, $name)

The same for what comes about a moment later: a pipeline has reached a position, for which
wait() waits, before it is in state "streaming".

=head2 sql_fails($node, $query, $sqlstate, $pattern, $name)

The query fails with this SQLSTATE, and its message, detail or hint match $pattern.

=cut

sub sql_ok
{
	my ($node, $query, $expected, $name) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $query);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$name ||= $query;
	if ($code != 0)
	{
		fail($name);
		diag $err;
		return 0;
	}
	return defined $expected ? is($out, $expected, $name) : pass($name);
}

sub sql_becomes
{
	my ($node, $query, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for_sql($node, $query, $expected) && pass($name || "$query becomes $expected");
}

sub sql_fails
{
	my ($node, $query, $sqlstate, $pattern, $name) = @_;
	my ($code, $out, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$query");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$name ||= $query;
	if ($code == 0)
	{
		fail($name);
		diag "succeeded and printed: $out";
		return 0;
	}
	if ($err !~ /(?:ERROR|FATAL):\s+$sqlstate:/)
	{
		fail($name);
		diag "expected SQLSTATE $sqlstate, got: $err";
		return 0;
	}
	return like($err, $pattern, $name);
}

=pod

=head2 column_types($hub, $table)

The columns of a hub table, as "id integer, name text".

=cut

sub column_types
{
	my ($hub, $table) = @_;

	return $hub->safe_psql('postgres', qq(
		SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped));
}

=pod

=head2 same_rows($source, $source_table, $hub, $hub_table, $name, %arguments)

The two tables hold the same rows, whatever their order. Values are compared as
text, so both sides must print them alike; where they do not, source_columns and
hub_columns give SQL expressions to compare instead of C<*>. where restricts both.

=cut

sub same_rows
{
	my ($source, $source_table, $hub, $hub_table, $name, %arguments) = @_;
	my $where = $arguments{where} ? "WHERE $arguments{where}" : '';
	my $source_columns = $arguments{source_columns} || '*';
	my $hub_columns = $arguments{hub_columns} || '*';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$name ||= "$hub_table is the same as $source_table";
	my $expected =
	  source_rows($source, "SELECT $source_columns FROM $source_table $where");
	my $found = eval {
		hub_rows($hub, "SELECT $hub_columns FROM $hub_table $where",
			$arguments{database});
	};
	if (!$found)
	{
		fail($name);
		diag $@;
		return 0;
	}
	return _same($expected, $found, $name);
}

sub _same
{
	my ($expected, $found, $name) = @_;
	my %difference;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$difference{$_}++ for @$expected;
	$difference{$_}-- for @$found;
	my @missing = sort grep { $difference{$_} > 0 } keys %difference;
	my @extra = sort grep { $difference{$_} < 0 } keys %difference;
	return pass("$name (" . @$expected . ' rows)') unless @missing || @extra;

	fail($name);
	diag sprintf('%d rows at the source, %d in the hub; %d missing, %d extra',
		scalar @$expected, scalar @$found, scalar @missing, scalar @extra);
	diag '  missing: ' . _shown($_) for @missing[ 0 .. _last_shown(@missing) ];
	diag '  extra:   ' . _shown($_) for @extra[ 0 .. _last_shown(@extra) ];
	return 0;
}

sub _last_shown
{
	return (@_ < $shown_differences ? @_ : $shown_differences) - 1;
}

sub _shown
{
	my ($row) = @_;

	$row =~ s/$field_separator/ | /g;
	$row =~ s/$null/(null)/g;
	return substr $row, 0, 500;
}

=pod

=head2 source_rows($source, $query), hub_rows($hub, $query, $database)

The rows of a query as an array of strings that are equal when the rows are.

=cut

sub source_rows
{
	my ($source, $query) = @_;

	return [
		map {
			join $field_separator,
			  map { defined $_ ? _bytes($_) : $null } @$_
		} @{ $source->rows($query) }
	];
}

# DBI yields characters, psql bytes.
sub _bytes
{
	my ($value) = @_;

	utf8::encode($value) if utf8::is_utf8($value);
	return $value;
}

sub hub_rows
{
	my ($hub, $query, $database) = @_;
	my ($out, $err) = ('', '');

	$hub->psql(
		$database || 'postgres',
		$query,
		stdout => \$out,
		stderr => \$err,
		on_error_die => 1,
		extra_params => [
			'-F', $field_separator, '-R', $row_separator,
			'-P', "null=$null"
		]);
	return [ split /$row_separator/, $out, -1 ] if $out ne '';

	# a single empty string and no row at all print alike
	my $count = $hub->safe_psql($database || 'postgres',
		"SELECT count(*) FROM ($query) counted");
	return $count ? [''] : [];
}

=pod

=head2 worker_pids($hub, $pattern)

Process ids of tapdata's processes, whose backend_type matches the LIKE pattern
('tapdata%' without one).

=cut

sub worker_pids
{
	my ($hub, $pattern) = @_;

	$pattern ||= 'tapdata%';
	return split /\n/,
	  $hub->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '$pattern' ORDER BY pid"
	  );
}

=pod

=head2 pipeline_pid($hub, $pipeline)

The process id of the pipeline's worker, which is waited for: one that was just started may not
run yet.

=cut

sub pipeline_pid
{
	my ($hub, $pipeline) = @_;
	my $query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tapdata pipeline $pipeline'";
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (1)
	{
		my $pid = try_sql($hub, $query);

		return $pid if $pid;
		croak "pipeline $pipeline has no worker" if time > $deadline;
		sleep 0.05;
	}
}

=pod

=head2 stop_pipeline($hub, $pipeline, $database)

tapdata.stop(), and waits until none of the pipeline's processes is left: until then they go on
to read and write, though the pipeline is in state "stopped" as soon as that was called for.

=cut

sub stop_pipeline
{
	my ($hub, $pipeline, $database) = @_;

	$hub->safe_psql($database || 'postgres', "SELECT tapdata.stop('$pipeline')");
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for_state($hub, $pipeline, 'stopped', undef, $database);
}

=pod

=head2 try_sql($node, $query, $database)

What the query prints; undef when it fails, such as when the server is down.

=cut

sub try_sql
{
	my ($node, $query, $database) = @_;

	# a psql that cannot connect may be gone before it was sent the query
	my ($code, $out) = eval { $node->psql($database || 'postgres', $query) };

	return defined $code && $code == 0 ? $out : undef;
}

=pod

=head2 within($node, $seconds, $act)

Whether $act->() takes less than so many seconds on a quiet machine: on a busy one the bound is
as many times longer as calls of psql are, before or after it, whichever are slower. So the bound
is about the hub and not about what else the machine is doing. The act may stop the server.

=cut

sub within
{
	my ($node, $seconds, $act) = @_;
	my $before = _slowness($node);
	my $begin = time;

	$act->();
	my $took = time - $begin;
	my $after = _slowness($node);
	my $most = $seconds * ($before > $after ? $before : $after);
	my $told = sprintf 'took %.2f s of %.2f s; slowness %.1f before, %.1f after',
	  $took, $most, $before, $after;

	return 1 if $took < $most;
	diag $told;
	return 0;
}

# How many times longer than on a quiet machine a call of psql takes just now, from 1 to
# $most_slowness. One that finds no server is over sooner, and makes a bound no wider.
sub _slowness
{
	my ($node) = @_;
	my $begin = time;

	for (1 .. 3)
	{
		# a psql that cannot connect may be gone before it was sent the query
		eval { $node->psql('postgres', 'SELECT 1', stderr => \my $refusal) };
	}
	my $factor = (time - $begin) / (3 * $quiet_call_seconds);
	return $factor < 1 ? 1 : $factor > $most_slowness ? $most_slowness : $factor;
}

=pod

=head2 signal_one($node, $condition, $signal)

Sends a signal ('KILL' without it) to one of the processes in pg_stat_activity that the
condition is true for, whichever. Its process id; undef when there is none, or the server
is down. Does not wait for what comes of it.

=head2 kill_one($node, $condition), kill_process($node, $pid)

kill -9 of one such process, or of this one, which makes the server start all over again.
They return when it has. The process id; undef when there was none.

=head2 recovered($node)

Waits until the server is up and has recovered from every kill by the functions above.

=head2 kill_server($node)

kill -9 of the postmaster, and a new start.

=cut

sub signal_one
{
	my ($node, $condition, $signal) = @_;
	my $pid = try_sql($node,
		"SELECT pid FROM pg_stat_activity WHERE ($condition) AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");

	return $pid ? _signal($node, $pid, $signal || 'KILL') : undef;
}

sub kill_one
{
	my ($node, $condition) = @_;
	my $pid = signal_one($node, $condition);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	recovered($node);
	return $pid;
}

sub kill_process
{
	my ($node, $pid) = @_;
	my $killed = _signal($node, $pid, 'KILL');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	recovered($node);
	return $killed;
}

sub _signal
{
	my ($node, $pid, $signal) = @_;

	my $started = _started($pid);

	return unless kill $signal, $pid;
	push @{ $killed{ $node->name } }, [ $pid, $started ] if $signal eq 'KILL';
	return $pid;
}

# When the process started, in ticks since the machine did: ids are given out again. '' when there is none.
sub _started
{
	my ($pid) = @_;

	open my $stat, '<', "/proc/$pid/stat" or return '';
	local $/;
	my $line = <$stat>;

	# the second field is a name in parentheses, which may hold anything; this is the 22nd
	return defined $line && $line =~ /.*\)(?: \S+){19} (\d+)/s ? $1 : '';
}

# Until the postmaster has taken note of a death it lets everybody in, only to throw them out a
# moment later. Once it has, the process is no zombie any more, and who is let in stays.
sub recovered
{
	my ($node) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	for my $process (@{ delete $killed{ $node->name } || [] })
	{
		my ($pid, $started) = @$process;

		while (kill(0, $pid) && _started($pid) eq $started)
		{
			die "process $pid does not end" if time > $deadline;
			sleep 0.01;
		}
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for_sql($node, 'SELECT true');
}

sub kill_server
{
	my ($node) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	# nobody may be there to take note of what was killed before
	delete $killed{ $node->name };
	$node->kill9;

	# orphaned backends keep the data directory in use for a moment
	until ($node->start(fail_ok => 1))
	{
		die $node->name . ' does not start again' if time > $deadline;

		# the module takes the killed postmaster's pid file for a live one
		$node->{_pid} = undef;
		sleep 0.2;
	}
	return;
}

1;
