# Faults that waiting does not mend, or not soon: Kafka as a target gives up, and says
# what to do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;

my $kafka = Tapdata::Kafka->start(
	arguments => ['auto.create.topics.enable=false', 'transaction.abort.timed.out.transaction.cleanup.interval.ms=500']);
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");

$hub->safe_psql('postgres', q(CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, v text); INSERT INTO shop.t VALUES (1, 'one'), (2, 'two')));

foreach my $test (
	['a transaction that takes too long' => \&late_transaction],
	['the broker goes away during a copy' => \&dead_in_copy],
	['a topic that somebody deleted' => \&lost_topic])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

sub status
{
	my ($column, $pipeline) = @_;

	return $hub->safe_psql('postgres', "SELECT $column FROM tapdata.status WHERE name = '$pipeline'");
}

# Trying again would not help.
sub late_transaction
{
	$hub->safe_psql('postgres', 'CREATE TABLE shop.late (id int PRIMARY KEY, v text)');
	publish($hub, $kafka, 'late', ['shop.late'], { topic => 'late', snapshot => 'never', transaction_timeout => 1000 });
	wait_for_state($hub, 'late', 'streaming');
	$hub->safe_psql('postgres', "INSERT INTO shop.late SELECT g, 'a row of many' FROM generate_series(1, 2500000) g");
	wait_for_state($hub, 'late', 'failed');
	like(status('last_error', 'late'), qr/longer than the 1000 ms.*transaction_timeout/s, 'a transaction that is too old stops the pipeline');
	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('late', '{"transaction_timeout": 600000}'); SELECT tapdata.start('late')));
	caught_up($hub, 'late');
	is($kafka->count('late'), 2500000, 'with more time it is sent');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('late'); SELECT tapdata.disconnect('late'); DROP TABLE shop.late");
	return;
}

# A copy holds a snapshot: it does not wait for ever.
sub dead_in_copy
{
	$hub->safe_psql('postgres', 'CREATE TABLE shop.dead AS SELECT g AS id FROM generate_series(1, 400000) g; ALTER TABLE shop.dead ADD PRIMARY KEY (id)');
	publish($hub, $kafka, 'dead', ['shop.dead'], { topic => 'dead', copy_timeout => 2 });
	wait_for_sql($hub, "SELECT rows_copied > 1000 FROM tapdata.tables WHERE pipeline = 'dead'");
	# at once, or the copy may be through before it is killed
	$kafka->freeze;
	$kafka->kill9;
	wait_for_state($hub, 'dead', 'retrying');
	sql_becomes($hub, q(SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'dead' AND message ~ 'took nothing of the copy of table shop\.dead'),
		't', 'a copy into nothing is given up');
	wait_for_sql($hub, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'tapdata%' AND backend_xmin IS NOT NULL), 0);
	$kafka->restart;
	caught_up($hub, 'dead');
	cmp_ok($kafka->count('dead'), '>=', 400000, 'it begins again when the broker is back');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('dead'); SELECT tapdata.disconnect('dead'); DROP TABLE shop.dead");
	return;
}

sub lost_topic
{
	publish($hub, $kafka, 'lost', ['shop.t'], { topic => 'lost' });
	caught_up($hub, 'lost');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('lost')");
	wait_for_state($hub, 'lost', 'stopped');
	$kafka->tool('org.apache.kafka.tools.TopicCommand', '--delete', '--topic', 'lost');
	$hub->safe_psql('postgres', "UPDATE shop.t SET v = 'after' WHERE id = 1; SELECT tapdata.start('lost')");
	wait_for_state($hub, 'lost', 'failed');
	like(status('last_error', 'lost'), qr/topic "lost" is gone.*resync/s, 'it is not made again without what was in it');
	$hub->safe_psql('postgres', "SELECT tapdata.resync('lost', 'shop.t')");
	wait_for_sql($hub, "SELECT state FROM tapdata.tables WHERE pipeline = 'lost'", 'streaming');
	caught_up($hub, 'lost');
	is(scalar keys %{ folded($kafka->settled_records('lost')) },
		$hub->safe_psql('postgres', 'SELECT count(*) FROM shop.t'), 'but when all rows are sent again');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('lost'); SELECT tapdata.disconnect('lost')");
	return;
}
