# Tables that join a running stream, and what can happen meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep);

my @flavours = usable_flavours();
my $hub = new_hub('joining');

hold_copy();

# While it is held a worker that has copied the table "late", or "t", waits before it says so.
sub hold_copy
{
	$hub->safe_psql('postgres', <<'SQL');
CREATE TABLE hold (held bool);
INSERT INTO hold VALUES (false);
CREATE FUNCTION hold_worker() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	WHILE (SELECT held FROM hold) LOOP
		PERFORM pg_sleep(0.02);
	END LOOP;
	RETURN NEW;
END $$;
CREATE TRIGGER hold_worker AFTER UPDATE ON tapdata.pipeline_table FOR EACH ROW
	WHEN (NEW.source_name IN ('late', 't') AND NEW.state = 'd') EXECUTE FUNCTION hold_worker();
ALTER TABLE tapdata.pipeline_table ENABLE ALWAYS TRIGGER hold_worker;
SQL
	return;
}

sub terminate_sync_worker
{
	return wait_for_sql($hub, q(SELECT count(pg_terminate_backend(pid)) > 0
		FROM pg_stat_activity WHERE backend_type = 'tapdata sync'));
}

# Bytes that the pipeline's worker keeps for its tables.
sub kept_bytes
{
	my $offset = -s $hub->logfile;

	$hub->safe_psql('postgres', q(SELECT pg_log_backend_memory_contexts(pid)
		FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'));
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $log = slurp_file($hub->logfile, $offset);

		return $1 if $log =~ /tapdata pull: (\d+) total.*Grand total/s;
		sleep 0.01;
	}
	die 'the worker does not tell its memory';
}

for my $flavour (@flavours)
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $f = "shop_$flavour";

	$source->sql("CREATE DATABASE $f; CREATE TABLE $f.t (id int PRIMARY KEY, n int)");
	$source->do("INSERT INTO $f.t VALUES (?, 0)", $_) for 1 .. 500;
	pull($hub, $source, $f, options => '{"chunk_rows": 1}', connection_options => '{"server_id": 4711}');
	caught_up($hub, $f);

	$hub->safe_psql('postgres', 'UPDATE hold SET held = true');
	$hub->safe_psql('postgres', "SELECT tapdata.resync('$f', '$f.t')");
	ok(terminate_sync_worker(), "$f: the worker that copies a table again is terminated");
	$hub->safe_psql('postgres', 'UPDATE hold SET held = false');
	caught_up($hub, $f);
	same_rows($source, "$f.t", $hub, "$f.t", "$f: another one finishes its work");

	# --- prepared transactions that span a beginning or an end of the copy -----------------------

	my $prepare = sub {
		my ($n) = @_;
		$source->sql("XA START 'xa$n'; "
			. join('', map { "INSERT INTO $_ VALUES ($n, 1); " } "$f.t", "other_$f.late", "other_$f.bag")
			. "XA END 'xa$n'; XA PREPARE 'xa$n'");
	};

	$source->sql("CREATE DATABASE other_$f; CREATE TABLE other_$f.late (id int PRIMARY KEY, n int);
		CREATE TABLE other_$f.bag (id int, n int); INSERT INTO other_$f.bag VALUES (1, 1);");
	$source->sql("INSERT INTO other_$f.late SELECT id, n FROM $f.t WHERE id <= 300");
	$prepare->($_) for 1001 .. 1003;
	caught_up($hub, $f);
	$hub->safe_psql('postgres', "UPDATE hold SET held = true");
	$hub->safe_psql('postgres', "SELECT tapdata.add_tables('$f', '{other_$f.*}')");
	wait_for_sql($hub, q(SELECT count(*) > 0 FROM pg_stat_activity
		WHERE backend_type LIKE 'tapdata%' AND wait_event = 'PgSleep'));
	$source->sql("XA COMMIT 'xa1001'; XA ROLLBACK 'xa1003'");
	$prepare->($_) for 1004 .. 1006;
	$source->sql("XA COMMIT 'xa1004'; XA ROLLBACK 'xa1006'");
	$hub->safe_psql('postgres', 'UPDATE hold SET held = false');
	caught_up($hub, $f);
	sql_ok($hub, 'SELECT count(*) FROM tapdata.staged WHERE pipeline_table IS NOT NULL OR applied', '0',
		"$f: nothing is kept for tables that have joined");
	$source->sql("XA COMMIT 'xa1002'; XA COMMIT 'xa1005'");
	caught_up($hub, $f);
	same_rows($source, "$f.t", $hub, "$f.t", "$f: prepared transactions of a table that streams");
	same_rows($source, "other_$f.$_", $hub, "$f.$_", "$f: prepared transactions of a table that joins: $_")
	  for qw(late bag);
	sql_ok($hub, 'SELECT count(*) FROM tapdata.staged', '0', "$f: no prepared transaction is left");


	# --- the catalog is read again at each change ------------------------------------------------

	my $before = kept_bytes();
	for (1 .. 10)
	{
		$hub->safe_psql('postgres', "SELECT tapdata.start('$f');\n" x 30);
		caught_up($hub, $f);
	}
	cmp_ok(kept_bytes(), '<=', $before + 65536, "$f: its memory does not grow with each change of the catalog");

	# two streams with one id would end each other
	unlike(slurp_file($hub->logfile), qr/same server_(id|uuid)/,
		"$f: a given server id is not used twice");

	$source->stop;
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$f', true)");
}

$hub->stop;
done_testing();
