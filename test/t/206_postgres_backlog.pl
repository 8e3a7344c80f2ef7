# PostgreSQL as a source: a long backlog is read in batches, from a copy of the slot, by
# several calls, with everything in it that a log can have; under kills, and where there is
# no room for a copy.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");

# the least that can be set: large transactions come in parts; statements tell what is read how
my $source = new_source('source', "logical_decoding_work_mem = 64kB\nlog_statement = all\n");
my @tables = qw(s.t s.wide s.keyless);
my $from = 0;

plan skip_all => 'before PostgreSQL 14 no backlog is read in batches' if $source->pg_version < 14;

$source->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text);
	CREATE TABLE s.wide (id int PRIMARY KEY, big text, n int);
	ALTER TABLE s.wide ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE s.keyless (a int, b text);
	ALTER TABLE s.keyless REPLICA IDENTITY FULL;
	CREATE TABLE other (big text);
	ALTER TABLE other ALTER big SET STORAGE EXTERNAL;
	CREATE PROCEDURE single(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN first .. last LOOP
			INSERT INTO s.t VALUES (i, 'single ' || i);
			COMMIT;
		END LOOP;
	END $$;
));
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.*'], 's');
caught_up($hub, 'p');

check_batches();
check_states();
check_end();
check_open_transaction();
check_kills();
check_no_room();
check_refused();
check_dead_letter();
$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('p', '{\"backlog\": \"stream\"}')");
check_stream();
done_testing();

# ---------------------------------------------------------------------

# How often the source was asked for a batch.
sub calls
{
	my $log = slurp_file($source->logfile);

	return scalar(() = $log =~ /LOG:  statement: [^\n]*COPY \(SELECT data FROM pg_logical_slot_get_binary_changes\('\w+_backlog_\d+'/g);
}

# More than the least that is read in batches: of ours, and of others.
sub make_backlog
{
	$from += 100_000;
	$source->safe_psql('postgres', qq(
		INSERT INTO s.wide SELECT $from + i, repeat(md5(i::text), 100), i FROM generate_series(1, 3000) i;
		CALL single($from + 1, $from + 2000);
		BEGIN;
		UPDATE s.wide SET n = -n WHERE id % 10 = 0;
		SAVEPOINT a;
		UPDATE s.wide SET n = 0;
		ROLLBACK TO a;
		DELETE FROM s.t WHERE id % 7 = 0;
		COMMIT;
		BEGIN;
		INSERT INTO s.t SELECT $from + 10000 + i, 'in parts' FROM generate_series(1, 5000) i;
		SAVEPOINT b;
		INSERT INTO s.t SELECT $from + 20000 + i, 'not to be seen' FROM generate_series(1, 5000) i;
		ROLLBACK TO b;
		INSERT INTO s.keyless SELECT i % 5, 'x' FROM generate_series(1, 100) i;
		COMMIT;
		BEGIN;
		INSERT INTO s.t SELECT $from + 30000 + i, 'rolled back' FROM generate_series(1, 5000) i;
		ROLLBACK;
		INSERT INTO other SELECT repeat(md5(i::text), 100) FROM generate_series(1, 3000) i;
		UPDATE s.keyless SET b = 'y' WHERE a = 3;
		DELETE FROM s.keyless WHERE ctid IN (SELECT ctid FROM s.keyless WHERE a = 4 LIMIT 10);
		UPDATE s.t SET id = -id WHERE id BETWEEN $from + 10 AND $from + 20;
	));
	return;
}

sub start
{
	$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
	return;
}

sub all_same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	caught_up($hub, 'p');
	same_as_source($hub, $source, $_, $_, "$name: $_") for @tables;
	return;
}

sub only_the_slot
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_for_sql($source, "SELECT string_agg(active::text, ',') FROM pg_replication_slots WHERE slot_type = 'logical'", 'true');
	pass($name);
	return;
}

sub check_batches
{
	my $before = calls();

	stop_pipeline($hub, 'p');
	make_backlog();
	at_source($source, 'ALTER TABLE s.t ADD w int DEFAULT 5', "INSERT INTO s.t VALUES (-1, 'new column', 6)");
	make_backlog();
	at_source($source, 'TRUNCATE s.keyless', "INSERT INTO s.keyless VALUES (1, 'first')");
	start();
	all_same('a backlog');
	cmp_ok(calls() - $before, '>=', 2, 'it was read by several calls');
	only_the_slot('the copied slot is gone, and the slot itself in use');
	at_source($source, "UPDATE s.t SET v = 'behind it' WHERE id = -1");
	all_same('the stream behind a backlog');
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
	wait_for_sql($source, "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots");
	return;
}

# While a backlog is applied the hub is a state that the source had: each transaction of the
# source takes from one row what it gives to another.
sub check_states
{
	my $before = calls();
	my ($seen, $wrong) = (0, 0);

	at_source($source, 'CREATE TABLE s.bank (id int PRIMARY KEY, amount int)', 'INSERT INTO s.bank SELECT i, 0 FROM generate_series(0, 9) i',
		'CREATE PROCEDURE pay(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP '
		  . 'UPDATE s.bank SET amount = amount - i WHERE id = i % 10; UPDATE s.bank SET amount = amount + i WHERE id = (i + 3) % 10; COMMIT; END LOOP; END $$');
	$hub->safe_psql('postgres', "SELECT tapdata.add_tables('p', ARRAY['s.bank'])");
	caught_up($hub, 'p');
	stop_pipeline($hub, 'p');
	make_backlog();
	at_source($source, 'CALL pay(20000)');
	my $end = $source->safe_psql('postgres', 'SELECT string_agg(amount::text, \',\' ORDER BY id) FROM s.bank');
	start();
	for (my $until = time + $PostgreSQL::Test::Utils::timeout_default; time < $until;)
	{
		my ($sum, $now) = split /\|/, $hub->safe_psql('postgres', "SELECT sum(amount), string_agg(amount::text, ',' ORDER BY id) FROM s.bank");

		$seen++;
		$wrong++ if $sum != 0;
		last if $now eq $end;
	}
	is($wrong, 0, "the sum was constant in $seen states that were seen");
	cmp_ok(calls(), '>', $before, 'they came in batches');
	all_same('payments');
	same_as_source($hub, $source, 's.bank', 's.bank', 'payments: the bank');
	return;
}

# What was read to the end is committed before the source is asked about the slot, which may take
# long, or fail.
sub check_end
{
	my $before = calls();
	my $lock = $hub->background_psql('postgres');
	my $catalog = $source->background_psql('postgres');

	# small transactions: within a large one a call may end, and then the walsender has the rest
	$source->safe_psql('postgres', 'CREATE PROCEDURE others(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP '
		  . 'INSERT INTO other VALUES (repeat(md5(i::text), 100)); COMMIT; END LOOP; END $$');
	stop_pipeline($hub, 'p');
	at_source($source, 'CALL others(6000)', 'INSERT INTO s.bank VALUES (10, 0)');
	$lock->query_safe('BEGIN; LOCK s.bank');
	start();
	wait_for_sql($source, "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%pg_logical_slot_get_binary_changes%' AND pid <> pg_backend_pid()");
	wait_for_sql($hub, "SELECT count(*) > 0 FROM pg_locks WHERE relation = 's.bank'::regclass AND NOT granted");
	$catalog->query_safe('BEGIN; LOCK pg_publication');
	$lock->query_safe('COMMIT');
	wait_for_sql($source, "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'pg_publication'::regclass AND NOT granted");
	is($hub->safe_psql('postgres', 'SELECT count(*) FROM s.bank WHERE id = 10'), 1, 'the end of a backlog is visible while the source is asked about the slot');
	$catalog->query_safe('COMMIT');
	$_->quit for $lock, $catalog;
	cmp_ok(calls(), '>', $before, 'it was read in batches');
	all_same('the end of a backlog');
	return;
}

# A large transaction that goes on when the backlog has been read belongs to the walsender.
sub check_open_transaction
{
	my $open = $source->background_psql('postgres');
	my $before = calls();

	stop_pipeline($hub, 'p');
	$open->query_safe('BEGIN');
	$open->query_safe("INSERT INTO s.t SELECT 5000000 + i, 'open' FROM generate_series(1, 5000) i");
	make_backlog();
	start();
	caught_up($hub, 'p');
	is($hub->safe_psql('postgres', 'SELECT count(*) FROM s.t WHERE id > 5000000'), 0, 'nothing of an open transaction is seen');
	$open->query_safe('COMMIT');
	$open->quit;
	all_same('a transaction that ends behind a backlog');
	cmp_ok(calls(), '>', $before, 'the backlog was read in batches');
	return;
}

# The hub waits for a lock in the middle of a backlog while what reads it is killed.
sub check_kills
{
	my $reader = "FROM pg_stat_activity WHERE query LIKE '%pg_logical_slot_get_binary_changes%' AND pid <> pg_backend_pid()";

	for my $victim (qw(connection worker source hub))
	{
		my $lock = $hub->background_psql('postgres');

		stop_pipeline($hub, 'p');
		make_backlog();
		$lock->query_safe('BEGIN; LOCK s.keyless');
		start();
		wait_for_sql($source, "SELECT count(*) > 0 $reader");
		wait_for_sql($hub, "SELECT count(*) > 0 FROM pg_locks WHERE relation = 's.keyless'::regclass AND NOT granted");
		if ($victim eq 'connection')
		{
			$source->safe_psql('postgres', "SELECT pg_terminate_backend(pid) $reader");
		}
		elsif ($victim eq 'worker')
		{
			$hub->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'");
		}
		else
		{
			my $node = $victim eq 'hub' ? $hub : $source;

			$node->stop('immediate');
			$node->start;
		}
		$lock->query('COMMIT') if $victim ne 'hub';
		eval { $lock->quit };
		all_same("$victim killed in the middle of a backlog");
		only_the_slot("nothing is left of the copied slot, $victim killed");
	}
	return;
}

sub check_no_room
{
	my $before = calls();

	stop_pipeline($hub, 'p');
	$source->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('fill_' || i) FROM generate_series(2, 20) i");
	make_backlog();
	start();
	all_same('a backlog where the source has no slot free');
	is(calls(), $before, 'it came as a stream');
	$source->safe_psql('postgres', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_type = 'physical'");
	return;
}

# The source refuses the call: what had come is kept, the rest comes as a stream.
sub check_refused
{
	$source->safe_psql('postgres', q(
		CREATE ROLE reader LOGIN REPLICATION;
		GRANT USAGE ON SCHEMA s TO reader;
		GRANT SELECT ON ALL TABLES IN SCHEMA s TO reader;
		REVOKE EXECUTE ON FUNCTION pg_logical_slot_get_binary_changes FROM PUBLIC;
	));
	stop_pipeline($hub, 'p');
	make_backlog();
	my $uri = Tapdata::Postgres::target_uri($source, user => 'reader');
	$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', '$uri', '{\"socket\": \"${\ $source->host }\"}')");
	my $before = calls();
	start();
	all_same('a backlog that the source does not give in batches');
	is(calls() - $before, 1, 'it was asked once');
	like(slurp_file($hub->logfile), qr/the source does not give its log in batches: permission denied for function/, 'the log of the hub says why not');
	is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.events WHERE pipeline = 'p' AND message LIKE '%permission denied%'"), 0, 'it is no error of the pipeline');
	$source->safe_psql('postgres', 'GRANT EXECUTE ON FUNCTION pg_logical_slot_get_binary_changes TO PUBLIC');
	reconnect_source($hub, $source, 'src');
	return;
}

# A value that the hub cannot read, in a batch: the row is told.
sub check_dead_letter
{
	$source->safe_psql('postgres', 'CREATE SCHEMA d; CREATE DOMAIN d.word AS text; CREATE TABLE d.t (id int PRIMARY KEY, v d.word)');
	pull_from($hub, 'd', 'src', ['d.t'], 'd', '{"types": "create", "on_error": "dead_letter"}');
	caught_up($hub, 'd');
	$hub->safe_psql('postgres', "ALTER DOMAIN d.word ADD CHECK (VALUE <> 'bad')");
	stop_pipeline($hub, 'd');
	my $before = calls();
	$source->safe_psql('postgres', q(
		INSERT INTO d.t VALUES (1, 'good'), (2, 'bad'), (3, 'good');
		INSERT INTO other SELECT repeat(md5(i::text), 100) FROM generate_series(1, 6000) i;
	));
	$hub->safe_psql('postgres', "SELECT tapdata.start('d')");
	caught_up($hub, 'd');
	cmp_ok(calls(), '>', $before, 'read in batches');
	is($hub->safe_psql('postgres', "SELECT string_agg(id::text, ',' ORDER BY id) FROM d.t"), '1,3', 'rows that can be read are there');
	like($hub->safe_psql('postgres', "SELECT change FROM tapdata.dead_letters WHERE pipeline = 'd'"), qr/"after": \{[^}]*"bad"/, 'the other is a dead letter with what it holds');

	# and in a copy; the check that refuses runs as another role, which the next row must not meet
	$hub->safe_psql('postgres', q(
		CREATE ROLE checker;
		CREATE FUNCTION public.good(text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS
			$$ BEGIN IF $1 = 'bad' THEN RAISE check_violation; END IF; RETURN true; END $$;
		ALTER FUNCTION public.good(text) OWNER TO checker;
		CREATE FUNCTION public.ours(text) RETURNS boolean LANGUAGE sql AS $$ SELECT current_user = 'postgres' $$;
		ALTER DOMAIN d.word DROP CONSTRAINT word_check;
		ALTER DOMAIN d.word ADD CONSTRAINT a CHECK (public.ours(VALUE));
		ALTER DOMAIN d.word ADD CONSTRAINT b CHECK (public.good(VALUE));
	));
	$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('d'), tapdata.resync('d', 'd.t')");
	caught_up($hub, 'd');
	is($hub->safe_psql('postgres', "SELECT string_agg(id::text, ',' ORDER BY id) FROM d.t"), '1,3', 'rows behind it are copied');
	like($hub->safe_psql('postgres', "SELECT change FROM tapdata.dead_letters WHERE pipeline = 'd'"), qr/"bad"/, 'it is told again');
	is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'd'"), 1, 'and no other');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('d', true)");
	return;
}

sub check_stream
{
	my $before = calls();

	stop_pipeline($hub, 'p');
	make_backlog();
	start();
	all_same('a backlog with the option backlog = stream');
	is(calls(), $before, 'it came as a stream as well');
	return;
}
