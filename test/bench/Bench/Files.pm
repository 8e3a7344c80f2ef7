# test/bench/Bench/Files.pm
#	  A CSV file into a hub table, against COPY of the same file.
#
# tapdata's time runs from the call of tapdata.pull() until tapdata.wait() returns: it includes
# the start of the worker, the finding of dialect and types and the position. COPY
# goes into a table of the same definition. Neither has a key. settle_ms is 0: what is waited
# for to be sure that nobody writes any more is no work.

package Bench::Files;

use strict;
use warnings;

use Time::HiRes qw(time);

sub run
{
	my ($machine, $scale) = @_;
	my $count = int(2_000_000 * $scale);
	my $hub = $machine->{hub};
	my $file = "$machine->{folder}/hub/bench.csv";

	$hub->run(qq(COPY (
		SELECT i AS id, 'customer ' || i AS name, round(i * 7 % 100000 / 100.0, 2) AS amount,
			date '2020-01-01' + i % 1000 AS day, timestamp '2020-01-01' + i * interval '1 second' AS at,
			i % 2 = 0 AS active, md5(i::text) AS note
		FROM generate_series(1, $count) i) TO '$file' (FORMAT csv, HEADER)));
	$hub->run('CHECKPOINT');
	$hub->run("SELECT tapdata.connect('csv', 'file://$file', '{\"settle_ms\": 0}')");

	my $began = time;
	$hub->run("SELECT tapdata.pull('csv', 'csv', '{*}')");
	$hub->run("SELECT tapdata.wait('csv', '30 min')");
	my $pulled = time - $began;
	my $found = $hub->value('SELECT count(*) FROM csv.bench');
	die "the table has $found rows instead of $count\n" if $found != $count;

	my $copied = _time_copy($machine, $file);
	my $differences = $hub->value(
		'SELECT count(*) FROM (TABLE csv.bench EXCEPT ALL TABLE csv.again) d');
	die "$differences rows are not those of the file\n" if $differences != 0;
	$hub->run("SELECT tapdata.drop_pipeline('csv', drop_tables => true)");
	$hub->run('DROP TABLE csv.again');
	unlink $file;
	return {
		name => 'CSV file',
		unit => 'rows/s',
		tapdata => $count / $pulled,
		reference => $count / $copied,
		reference_name => 'COPY',
		wanted => 0.7,
		detail => "$count rows"
	};
}

sub _time_copy
{
	my ($machine, $file) = @_;
	my $hub = $machine->{hub};

	$hub->run('CREATE TABLE csv.again (LIKE csv.bench INCLUDING ALL)');
	$hub->run('CHECKPOINT');
	my $began = time;
	$hub->run("COPY csv.again FROM '$file' (FORMAT csv, HEADER)");
	return time - $began;
}

1;
