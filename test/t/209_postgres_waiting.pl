# Waiting for the source: for transactions that are open when a slot is made, a process that hangs,
# and one that holds the slot of a stream whose network was cut.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

# no transactions but those of the test
my $source = new_source('source', "listen_addresses = '127.0.0.1'\nmax_prepared_transactions = 5\nautovacuum = off\n");

at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.t (id int PRIMARY KEY)',
	'INSERT INTO s.t SELECT generate_series(1, 100)');
connect_source($hub, $source, 'src');

# the network is cut: the source's process goes on to hold the slot, while the other tests are run
my $proxy = Tapdata::Proxy->start(port => $source->port);
$hub->safe_psql('postgres', "SELECT tapdata.connect('far', 'postgres://postgres\@127.0.0.1:${\ $proxy->port }/postgres', '{\"sslmode\": \"disable\"}')");
pull_from($hub, 'far', 'far', ['s.t'], 'far');
caught_up($hub, 'far');
my $sender = $source->safe_psql('postgres', q{SELECT active_pid FROM pg_replication_slots});
ok(wait_for_sql($source, "SELECT count(reply_time) FROM pg_stat_replication WHERE pid = $sender", 1), 'a process sends the stream, and has had an answer');
$proxy->stall;
stop_pipeline($hub, 'far');
reconnect_source($hub, $source, 'far');

sub read_timeout
{
	my ($seconds) = @_;

	return qq(SELECT tapdata.alter_connection('impatient', options => '{"read_timeout": $seconds}'));
}

# How often a pipeline has told that it waits for a transaction.
sub told
{
	my ($pipeline, $pattern) = @_;

	return "SELECT count(*) FROM tapdata.events WHERE pipeline = '$pipeline' AND severity = 'warning' AND message ~ '$pattern'";
}

# A slot that is being made.
my $made = q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^tapdata_' AND confirmed_flush_lsn IS NULL};
my $slots = q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '^tapdata_'};

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
ok(stop_pipeline($hub, 'p'), 'stop() does not wait');
ok(wait_for_sql($source, $made, 0), 'the slot that was being made goes away');
$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
begins_to_wait();
$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true)));
is($source->safe_psql('postgres', $slots), '1', 'drop_pipeline() leaves none at the source');

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

# a process of the source that hangs: its connection lives
connect_source($hub, $source, 'impatient');
my $puller = $hub->background_psql('postgres');
$puller->query_safe(q(SET client_min_messages = error; BEGIN; SELECT tapdata.pull('r', 'impatient', ARRAY['s.t'], 'r');) . read_timeout(2));
my $lock = $source->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE s.t');
$puller->query_safe('COMMIT');
$puller->quit;
my $waits = q{pid IN (SELECT pid FROM pg_locks WHERE relation = 's.t'::regclass AND NOT granted) AND application_name = 'tapdata r'};
my $hangs;
wait_for_sql($source, "SELECT count(*) > 0 FROM pg_stat_activity WHERE $waits") until $hangs = signal_one($source, $waits, 'STOP');
error_becomes($hub, 'r', qr/the source has sent nothing for 2 s/, 'a process that hangs is not waited for any longer than that');
sql_fails($hub, q(SELECT tapdata.add_tables('r', ARRAY['s.*'])), '08006', qr/the source has sent nothing for 2 s/, 'nor by a session that looks for tables');
$hub->safe_psql('postgres', read_timeout(600));
$lock->query_safe('COMMIT');
$lock->quit;
caught_up($hub, 'r');
same_as_source($hub, $source, 's.t', 'r.t', 'another process copies');
kill 'CONT', $hangs;

# the stream whose network was cut
is($source->safe_psql('postgres', "SELECT count(*) FROM pg_replication_slots WHERE active_pid = $sender"), '1', 'the process still holds the slot');
$hub->safe_psql('postgres', q(SELECT tapdata.start('far')));
ok(wait_for_sql($source, "SELECT count(*) FROM pg_stat_activity WHERE pid = $sender", 0), 'it is ended');
caught_up($hub, 'far');
same_as_source($hub, $source, 's.t', 'far.t', 'and the stream goes on');

done_testing();
