# test/bench/Bench/KafkaSource.pm
#	  (i) A topic of JSON objects into a table, against COPY of the same rows from a file.
#
# The clock of the pipeline runs from the call of tapdata.pull(), which looks at a sample
# for the columns, until the last message is a row. COPY fills a table of the same
# columns. With a key the pipeline writes each message over the row of its key, which it
# has to look for; COPY only adds rows to the index.

package Bench::KafkaSource;

use strict;
use warnings;

use Bench::Rows qw(postgres_table postgres_rows ranges);
use Time::HiRes qw(time);

use constant MESSAGES_PER_SECOND => 100_000;

sub run
{
	my ($machine, $scale) = @_;
	my $count = int(2_000_000 * $scale);
	my $hub = $machine->{hub};
	my @results;

	$machine->start_kafka;
	$machine->create_topic('clicks');
	$hub->run('CREATE SCHEMA clicks');
	_fill($machine, $count);
	$hub->run("SELECT tapdata.connect('clicks', '${\ $machine->kafka_uri}')");
	push @results, _measure($machine, $count, 'from Kafka: JSON', '{}');
	push @results, _measure($machine, $count, 'same by key', '{"key": ["id"]}');
	$hub->run("SELECT tapdata.disconnect('clicks')");
	$hub->run('DROP SCHEMA clicks CASCADE');
	return @results;
}

sub _fill
{
	my ($machine, $count) = @_;
	my $hub = $machine->{hub};
	my $file = "$machine->{folder}/hub/clicks.json";
	my $brokers = $machine->brokers;

	$hub->run(postgres_table('clicks.made'));
	$hub->run(postgres_rows('clicks.made', @$_)) for ranges($count, 100_000);
	$hub->run("COPY (SELECT row_to_json(made) FROM clicks.made) TO '$file'");
	$hub->run('DROP TABLE clicks.made');
	system("kcat -b $brokers -P -t clicks -l $file") == 0 or die "the topic could not be filled\n";
	unlink $file;
	return;
}

sub _measure
{
	my ($machine, $count, $name, $options) = @_;
	my $hub = $machine->{hub};

	$machine->settle;
	my $began = time;
	$hub->run("SELECT tapdata.pull('clicks', 'clicks', ARRAY['clicks'], options => '$options')");
	$hub->run("SELECT tapdata.wait('clicks', '30 min')");
	my $ours = time - $began;
	my $found = $hub->value('SELECT count(*) FROM clicks.clicks');
	die "the table has $found rows instead of $count\n" if $found != $count;
	my $copy = _time_copy($machine);
	$hub->run("SELECT tapdata.drop_pipeline('clicks', drop_tables => true)");
	my %common = (name => $name, unit => 'messages/s', tapdata => $count / $ours, detail => "$count messages");
	return (
		{ %common, reference => $count / $copy, reference_name => 'COPY', wanted => 0.25 },
		{ %common, reference => MESSAGES_PER_SECOND, reference_name => 'a fixed figure', wanted => 1.0 });
}

sub _time_copy
{
	my ($machine) = @_;
	my $hub = $machine->{hub};
	my $file = "$machine->{folder}/hub/clicks.copy";

	$hub->run("COPY clicks.clicks TO '$file'");
	$hub->run('CREATE TABLE clicks.again (LIKE clicks.clicks INCLUDING ALL)');
	$machine->settle;
	my $began = time;
	$hub->run("COPY clicks.again FROM '$file'");
	my $seconds = time - $began;
	$hub->run('DROP TABLE clicks.again');
	unlink $file;
	return $seconds;
}

1;
