# test/bench/Bench/Idle.pm
#	  (e) CPU that pipelines use while nothing happens at their source.

package Bench::Idle;

use strict;
use warnings;

use Time::HiRes qw(sleep time);

use constant PIPELINES => 50;
use constant SETTLE_SECONDS => 10;

sub run
{
	my ($machine, $scale) = @_;
	my $seconds = $scale < 1 ? 10 : 30;
	my ($hub, $source) = @$machine{qw(hub mariadb)};

	$source->run('CREATE DATABASE idle; USE idle');
	$source->run("CREATE TABLE t$_ (id int PRIMARY KEY); INSERT INTO t$_ VALUES (1)") for 1 .. PIPELINES;
	$hub->run("SELECT tapdata.connect('idle', '${\ $machine->uri}')");
	$hub->run("SELECT tapdata.pull('idle$_', 'idle', ARRAY['idle.t$_'])") for 1 .. PIPELINES;
	$machine->await($hub,
		"SELECT count(*) FROM tapdata.status WHERE name LIKE 'idle%' AND state = 'streaming'",
		PIPELINES, 300);
	sleep SETTLE_SECONDS;

	my @pids = $machine->workers('tapdata%');
	my ($began, $before) = (time, $machine->cpu_seconds(@pids));
	sleep $seconds;
	my ($after, $ended) = ($machine->cpu_seconds(@pids), time);
	$hub->run("SELECT tapdata.drop_pipeline('idle$_', drop_tables => true)") for 1 .. PIPELINES;
	$source->run('DROP DATABASE idle');
	return {
		name => 'CPU of 50 idle pipelines',
		unit => '% of a core',
		tapdata => 100 * ($after - $before) / ($ended - $began),
		below => 1,
		detail => sprintf('%d processes for %d s', scalar @pids, $seconds)
	};
}

1;
