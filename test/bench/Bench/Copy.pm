# test/bench/Bench/Copy.pm
#	  (a) The snapshot of a table, against COPY of the same rows from a file.
#
# The snapshot's time runs from the call of tapdata.pull() until its table streams, indexes
# included; COPY's is that of COPY into a table of the same definition, with its
# primary key there from the start.

package Bench::Copy;

use strict;
use warnings;

use Bench::Rows qw(mariadb_table mariadb_rows ranges);
use Time::HiRes qw(time);

sub run
{
	my ($machine, $scale) = @_;
	my $count = int(2_000_000 * $scale);
	my ($hub, $source) = ($machine->{hub}, $machine->{mariadb});

	$source->run('CREATE DATABASE copied; USE copied');
	$source->run(mariadb_table('items'));
	$source->run(mariadb_rows('items', @$_)) for ranges($count, 100_000);
	$source->run('ANALYZE TABLE items');
	$hub->run("SELECT tapdata.connect('copied', '${\ $machine->uri}')");
	$hub->run('CHECKPOINT');

	my $began = time;
	$hub->run("SELECT tapdata.pull('copied', 'copied', ARRAY['copied.*'])");
	my $snapshot = $machine->await_state('copied', 'streaming', 1800) - $began;
	my $found = $hub->value('SELECT count(*) FROM copied.items');
	die "the snapshot has $found rows instead of $count\n" if $found != $count;

	my $copy = _time_copy($machine);
	$hub->run("SELECT tapdata.drop_pipeline('copied', drop_tables => true)");
	$hub->run('DROP TABLE copied.again');
	$source->run('DROP DATABASE copied');
	return {
		name => 'snapshot',
		unit => 'rows/s',
		tapdata => $count / $snapshot,
		reference => $count / $copy,
		reference_name => 'COPY',
		wanted => 1.0,
		detail => "$count rows"
	};
}

sub _time_copy
{
	my ($machine) = @_;
	my $hub = $machine->{hub};
	my $file = "$machine->{folder}/hub/items.copy";

	$hub->run("COPY copied.items TO '$file'");
	$hub->run('CREATE TABLE copied.again (LIKE copied.items INCLUDING ALL)');
	$hub->run('CHECKPOINT');
	my $began = time;
	$hub->run("COPY copied.again FROM '$file'");
	my $copy = time - $began;
	unlink $file;
	return $copy;
}

1;
