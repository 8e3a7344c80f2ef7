# Waiting for the source: for transactions that are open when a slot is made.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $source = new_source('source', "max_prepared_transactions = 5\n");

at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.t (id int PRIMARY KEY)',
	'INSERT INTO s.t SELECT generate_series(1, 100)');
connect_source($hub, $source, 'src');

# How often a pipeline has told that it waits for a transaction.
sub told
{
	my ($pipeline, $pattern) = @_;

	return "SELECT count(*) FROM tapdata.events WHERE pipeline = '$pipeline' AND severity = 'warning' AND message ~ '$pattern'";
}

# A slot that is being made.
my $made = q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^tapdata_' AND confirmed_flush_lsn IS NULL};

sub begins_to_wait
{
	return wait_for_sql($source, q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted});
}

my $open = $source->background_psql('postgres');
$open->query_safe('BEGIN; INSERT INTO s.t VALUES (101)');
my $pid = $open->query_safe('SELECT pg_backend_pid()');
is($hub->safe_psql('postgres', "SELECT ok, needed_for, required FROM tapdata.test_connection('src', 'source') WHERE check_name = 'source_transactions' AND detail LIKE '%process $pid, user \"postgres\", database \"postgres\", open for % s'"),
	't|source|f', 'the check tells the oldest transaction');

pull_from($hub, 'p', 'src', ['s.t'], 'h');
ok(wait_for_sql($hub, told('p', "process $pid, user \"postgres\", database \"postgres\", open for"), 1), 'an event tells whom the slot waits for');

# that the pipeline can be stopped meanwhile, and what it began is not finished later
$hub->safe_psql('postgres', q(SELECT tapdata.stop('p')));
ok(wait_for_state($hub, 'p', 'stopped'), 'stop() does not wait');
ok(wait_for_sql($source, $made, 0), 'the slot that was being made goes away');
$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
begins_to_wait();
$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true)));
is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^tapdata_'}), '0', 'drop_pipeline() leaves none at the source');

pull_from($hub, 'q', 'src', ['s.t'], 'q');
begins_to_wait();
$source->safe_psql('postgres', q(BEGIN; INSERT INTO s.t VALUES (102); PREPARE TRANSACTION 'both'));
ok(wait_for_sql($hub, told('q', "process $pid"), 1), 'another pipeline tells, too');
$open->query_safe('COMMIT');
$open->quit;
ok(wait_for_sql($hub, told('q', 'prepared transaction "both", user "postgres", database "postgres", open for'), 1), 'and then of the next one');
is($hub->safe_psql('postgres', told('q', "process $pid")), '1', 'each is told once');
$source->safe_psql('postgres', q(COMMIT PREPARED 'both'));
caught_up($hub, 'q');
same_as_source($hub, $source, 's.t', 'q.t', 'all is there in the end');

done_testing();
