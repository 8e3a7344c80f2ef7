# What wait() waits for at a folder that never rests, and what a scan costs when nobody waits.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

# A process under SIGSTOP, which must not stay so whatever dies here; 0: none.
my $stopped = 0;

END
{
	kill 'CONT', $stopped if $stopped;
}

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

foreach my $test (
	['files that never rest' => \&never_rests],
	['nobody waits any more' => \&idles],
	['names that change' => \&renamed],
	['a change while a scan goes on' => \&changed_while_scanning],
	['rotated between the look and the opening' => \&rotated_before_opening])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

# Has a process of its own do something again and again; returns its pid.
sub keeps_doing
{
	my ($do) = @_;
	my $parent = $$;
	my $pid = fork // die $!;

	return $pid if $pid;
	$do->() while getppid() == $parent;
	POSIX::_exit(0);
}

sub ended
{
	my ($pid) = @_;

	kill 'KILL', $pid;
	waitpid $pid, 0;
	return;
}

# One file grows by a row each few milliseconds, and others keep coming.
sub never_rests
{
	my $files = Tapdata::Files->new;
	my $id = 0;
	my $news = 0;

	$files->write('grows.csv', "id,note\n0,first\n");
	$files->write('new_0.csv', "id,note\n0,first\n");
	pull_files($hub, 'restless', $files->uri(''), '{"settle_ms": 100, "tables": {"grows": "grows.csv", "news": "new_*.csv"}, "mode": "append"}');
	caught_up($hub, 'restless');
	my $writer = keeps_doing(
		sub {
			$files->add('grows.csv', ++$id . ",row\n");
			$files->write('new_' . ++$news . '.csv', "id,note\n$news,file\n") if $id % 20 == 0;
			sleep 0.002;
		});
	for my $time (1 .. 3)
	{
		my $before = lines_of($files);
		my ($rows, $new);

		wait_until(sub { ($rows, $new) = @{ lines_of($files) }; $rows > $before->[0] && $new > $before->[1] });
		ok(caught_up($hub, 'restless', 60), "wait() $time returns");
		my $all = $hub->safe_psql('postgres', 'SELECT (SELECT count(*) FROM restless.grows), (SELECT count(*) FROM restless.news)');
		my ($got_rows, $got_new) = split /\|/, $all;
		cmp_ok($got_rows, '>=', $rows, 'with the rows that were there');
		cmp_ok($got_new, '>=', $new, 'and the files');
	}
	ok(kill(0, $writer), 'while writing went on');
	ended($writer);
	caught_up($hub, 'restless');
	sql_ok($hub, 'SELECT count(*) = max(id) + 1, count(DISTINCT id) = count(*) FROM restless.grows', 't|t', 'each row once');
	sql_ok($hub, 'SELECT count(*) = max(id) + 1, count(DISTINCT id) = count(*) FROM restless.news', 't|t', 'each file once');
	$hub->safe_psql('postgres', q{SELECT tapdata.stop('restless')});
	return;
}

# How many whole rows there are in the file that grows, and how many files.
sub lines_of
{
	my ($files) = @_;
	my $lines = slurp_file($files->path('grows.csv')) =~ tr/\n//;
	my @others = glob $files->path('new_*.csv');

	return [ $lines - 1, scalar @others ];
}

sub wait_until
{
	my ($condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		die 'it never comes' if time > $deadline;
		sleep 0.01;
	}
	return;
}

# Waits until the process has slept for a while.
sub rests
{
	my ($pid) = @_;
	my ($switches, $since) = (-1, 0);

	wait_until(
		sub {
			my $now = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s*(\d+)/m ? $1 : die 'not told';

			($switches, $since) = ($now, time) if $now != $switches;
			return time - $since > 0.7;
		});
	return;
}

# A worker that has nothing to do does not run.
sub idles
{
	my $files = Tapdata::Files->new;

	$files->write('idle.csv', "id\n1\n");
	pull_files($hub, 'idle', $files->uri('idle.csv'), '{"poll_ms": 86400000}');
	caught_up($hub, 'idle');
	my $pid = pipeline_pid($hub, 'idle');
	rests($pid);
	pass('the worker sleeps after a wait()');
	$files->add('idle.csv', "2\n");
	wait_for_sql($hub, 'SELECT count(*) FROM idle.idle', '2');
	$hub->safe_psql('postgres', q{SELECT tapdata.stop('idle')});
	return;
}

# Begins to wait for a pipeline, and then to ask something.
sub waiter
{
	my ($name, $query, $out, $err) = @_;
	my $waits = IPC::Run::start([ 'psql', '-XAtq', '-d', $hub->connstr('postgres'), '-c', "SELECT tapdata.wait('$name')", '-c', $query ],
		'<', \undef, '>', $out, '2>', $err);

	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	# on a slow machine it may be over before it is seen
	until ($hub->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT tapdata.wait' AND wait_event IN ('TapdataWait', 'Extension')}) eq '1')
	{
		last if time > $end || !$waits->pumpable;
		sleep 0.05;
	}
	return $waits;
}

# What was seen under one name is waited for under another, also when a new file has its place.
sub renamed
{
	my $files = Tapdata::Files->new;

	$files->write('log_0.csv', "id\n0\n");
	pull_files($hub, 'renamed', $files->uri(''), '{"settle_ms": 4000, "tables": {"log": "log*.csv"}, "mode": "append", "columns": {"id": "int"}}');
	caught_up($hub, 'renamed');
	for my $case ([ 'moved away' => 0 ], [ 'rotated' => 1 ])
	{
		my ($name, $again) = @$case;
		my ($out, $err) = ('', '');

		# a file that is older than the look at the folder that finds it
		stop_pipeline($hub, 'renamed');
		$files->write('log.csv', "id\n1\n");
		$hub->safe_psql('postgres', q{SELECT tapdata.start('renamed')});
		my $waits = waiter('renamed', 'SELECT count(*) FROM renamed.log WHERE id = 1', \$out, \$err);
		rests(pipeline_pid($hub, 'renamed'));
		$files->move('log.csv', "log_$name.csv");
		$files->write('log.csv', "id\n2\n") if $again;
		$waits->finish;
		is($out =~ s/\s//gr, 1 + $again, "wait() waits for a file that was $name");
		is($err, '', 'without a message');
	}
	$hub->safe_psql('postgres', q{SELECT tapdata.stop('renamed')});
	return;
}

# Folders are listed one after the other. While the worker stands still in the second one, a
# file comes to the first, and something to the third.
sub changed_while_scanning
{
	my $files = Tapdata::Files->new;
	my $settle = 100;

	mkdir $files->path($_) or die for qw(a b c);
	$files->write('a/1.csv', "id\n1\n");
	$files->write('c/1.csv', "id\n1\n");
	symlink '/dev/null', $files->path("b/$_.csv") or die for 1 .. 20_000;
	pull_files($hub, 'seen', $files->uri(''), qq({"settle_ms": $settle, "poll_ms": 86400000, "mode": "append", "columns": {"id": "int"},
		"tables": {"a": "a/*.csv", "b": "b/*.csv", "c": "c/*.csv"}}));
	caught_up($hub, 'seen');
	my $pid = pipeline_pid($hub, 'seen');
	my $number = 0;
	wait_until(
		sub {
			$files->write('c/trigger' . $number++ . '.tmp', '');
			return stopped_in($pid, $files->path('b'));
		});
	$files->write('a/2.csv', "id\n2\n");
	$files->write('c/last.tmp', '');
	my ($out, $err) = ('', '');
	my $waits = waiter('seen', 'SELECT count(*) FROM seen.a', \$out, \$err);
	kill 'CONT', $pid;
	$stopped = 0;
	$waits->finish;
	is($out =~ s/\s//gr, '2', 'wait() returns when the scan behind it has been');
	is($err, '', 'without a message');
	return;
}

# Whether the process could be stopped while it lists the folder.
sub stopped_in
{
	my ($pid, $folder) = @_;
	my $deadline = time + 5;
	my $lists = sub { grep { (readlink $_ // '') eq $folder } glob "/proc/$pid/fd/*" };

	while (time < $deadline)
	{
		next unless $lists->();
		kill 'STOP', $stopped = $pid;
		wait_until(sub { slurp_file("/proc/$pid/stat") =~ /\) T / });
		return 1 if $lists->();
		kill 'CONT', $pid;
		$stopped = 0;
	}
	return 0;
}

# The worker has found an older file and what was added to a log. While it stands still at the
# rows of the first one, the log is rotated.
sub rotated_before_opening
{
	my $files = Tapdata::Files->new;

	$files->write('first_1.jsonl', qq({"id": 1}\n));
	$files->write('app.log', qq({"id": 1}\n));
	pull_files($hub, 'rotated', $files->uri(''), q({"format": "jsonl", "mode": "append", "poll_ms": 86400000,
		"tables": {"first": "first_*.jsonl", "log": "app.log*"}}));
	caught_up($hub, 'rotated');
	stop_pipeline($hub, 'rotated');

	# more than the worker takes before it stores it, and as old as no change to the log can be
	$files->write('first_2.jsonl', join '', map { qq({"id": $_}\n) } 2 .. 100_000);
	utime 1_767_225_600, 1_767_225_600, $files->path('first_2.jsonl') or die $!;
	$files->add('app.log', qq({"id": 2}\n));
	wait_until(sub { time - (Time::HiRes::stat($files->path('first_2.jsonl')))[10] > 0.2 });

	my $holder = $hub->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK TABLE rotated.first IN SHARE MODE');
	$hub->safe_psql('postgres', q{SELECT tapdata.start('rotated')});
	wait_for_sql($hub, q{SELECT count(*) FROM pg_locks WHERE relation = 'rotated.first'::regclass AND NOT granted}, '1');
	sql_ok($hub, 'SELECT id FROM rotated.log', '1', 'what was added to the log is not read yet');
	$files->move('app.log', 'app.log.1');
	$files->write('app.log', join '', map { qq({"id": $_}\n) } 3 .. 5);
	$holder->query_safe('COMMIT');
	$holder->quit;
	caught_up($hub, 'rotated');
	sql_ok($hub, 'SELECT count(*), max(id) FROM rotated.first', '100000|100000', 'the other file is read');
	sql_ok($hub, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM rotated.log}, '1 2 3 4 5',
		'the rest of the log that was rotated, and the new one, each row once');
	return;
}
