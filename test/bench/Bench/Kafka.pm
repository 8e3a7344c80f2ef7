# test/bench/Bench/Kafka.pm
#	  (e) Changes of the hub to Kafka, against librdkafka alone with the same bytes; and the
#	  latency from a commit, of the hub or of MariaDB, to a consumer.
#
# The messages that the pipeline has produced are read back and produced again by
# produce.c to another topic of the same broker, from memory, with the same guarantee
# (transactions, or idempotence alone).

package Bench::Kafka;

use strict;
use warnings;

use Bench::Pace;
use Bench::Rows qw(postgres_table postgres_rows ranges);
use Time::HiRes qw(time);

use constant ROWS_PER_TRANSACTION => 10_000;

sub run
{
	my ($machine, $scale) = @_;
	my $rows = int(600_000 * $scale);
	my $hub = $machine->{hub};
	my @results;

	$machine->start_kafka;
	$hub->run('CREATE SCHEMA bus');
	$hub->run(postgres_table('bus.items'));
	$hub->run("SELECT tapdata.connect('bus', '${\ $machine->kafka_uri}')");
	push @results, _measure($machine, $rows, $_) for qw(at_least_once exactly_once);
	push @results, _latencies($machine, $scale);
	$hub->run("SELECT tapdata.disconnect('bus')");
	$hub->run('DROP SCHEMA bus CASCADE');
	return @results;
}

sub _measure
{
	my ($machine, $rows, $delivery) = @_;
	my $hub = $machine->{hub};
	my $topic = "bench.$delivery";

	$machine->create_topic($_) for $topic, "$topic.reference";
	$hub->run('TRUNCATE bus.items');
	$hub->run("SELECT tapdata.publish('bus', 'bus', ARRAY['bus.items'], "
		  . "'{\"snapshot\":\"never\", \"topic\":\"$topic\", \"format\":\"json\", \"delivery\":\"$delivery\"}')");
	$hub->run("SELECT tapdata.wait('bus', '2 min')");
	$hub->run("SELECT tapdata.stop('bus')");
	$machine->await_state('bus', 'stopped', 60);
	for my $range (ranges($rows, ROWS_PER_TRANSACTION))
	{
		$hub->run(postgres_rows('bus.items', @$range));
		$hub->run("UPDATE bus.items SET amount = amount + 1 WHERE id BETWEEN $range->[0] AND $range->[1]");
	}
	$machine->settle;
	my $began = time;
	$hub->run("SELECT tapdata.start('bus')");
	$hub->run("SELECT tapdata.wait('bus', '30 min')");
	my $ours = time - $began;
	$hub->run("SELECT tapdata.drop_pipeline('bus')");

	my $file = "$machine->{folder}/messages";
	$machine->record_topic($topic, $file);
	my ($count, $theirs) = $machine->produce("$topic.reference", $file, $delivery eq 'exactly_once');
	unlink $file;
	die "$count messages in the topic instead of ${\ (2 * $rows)}\n" if $count != 2 * $rows;
	return {
		name => 'to Kafka' . ($delivery eq 'exactly_once' ? ', exactly once' : ''),
		unit => 'rows/s',
		tapdata => $count / $ours,
		reference => $count / $theirs,
		reference_name => 'librdkafka, same bytes',
		wanted => 0.7,
		detail => $count
	};
}

sub _latencies
{
	my ($machine, $scale) = @_;
	my $seconds = $scale < 1 ? 8 : 33;

	return (_from_hub($machine, $seconds), _from_mariadb($machine, $seconds));
}

sub _publish_events
{
	my ($machine, $table, $topic) = @_;
	my $hub = $machine->{hub};

	$machine->create_topic($topic);
	$hub->run("SELECT tapdata.publish('events_out', 'bus', ARRAY['$table'], "
		  . "'{\"snapshot\":\"never\", \"topic\":\"$topic\", \"format\":\"json\", \"delivery\":\"at_least_once\"}')");
	$hub->run("SELECT tapdata.wait('events_out', '2 min')");
	return;
}

sub _from_hub
{
	my ($machine, $seconds) = @_;
	my $hub = $machine->{hub};

	$hub->run('CREATE TABLE bus.events (client int, n int, note varchar(80), PRIMARY KEY (client, n))');
	_publish_events($machine, 'bus.events', 'bench.hub');
	my @results = Bench::Pace::measure($machine, 'hub to Kafka', $seconds, 5, 25,
		sub { $machine->hub_dbi },
		"INSERT INTO bus.events VALUES (?, ?, repeat('x', 60))",
		sub { $machine->watch_topic('bench.hub', @_) });
	$hub->run("SELECT tapdata.drop_pipeline('events_out')");
	return @results;
}

sub _from_mariadb
{
	my ($machine, $seconds) = @_;
	my ($hub, $source) = @$machine{qw(hub mariadb)};

	$source->run('CREATE DATABASE relayed; USE relayed');
	$source->run('CREATE TABLE events (client int, n int, note varchar(80), PRIMARY KEY (client, n))');
	$hub->run("SELECT tapdata.connect('relayed', '${\ $machine->uri}')");
	$hub->run("SELECT tapdata.pull('relayed', 'relayed', ARRAY['relayed.*'])");
	$machine->await_state('relayed', 'streaming', 120);
	_publish_events($machine, 'relayed.events', 'bench.relayed');
	my @results = Bench::Pace::measure($machine, 'MariaDB to Kafka', $seconds, 10, 50,
		sub { $machine->dbi('relayed') },
		"INSERT INTO events VALUES (?, ?, repeat('x', 60))",
		sub { $machine->watch_topic('bench.relayed', @_) });
	$hub->run("SELECT tapdata.drop_pipeline('events_out')");
	$hub->run("SELECT tapdata.drop_pipeline('relayed', drop_tables => true)");
	$source->run('DROP DATABASE relayed');
	return @results;
}

1;
