# kill -9 at each step that a table takes from its copy into the running stream,
# for tables that are added and tables that are copied again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my @states = (
	[ c => 'copying' ],
	[ d => 'copied' ],
	[ u => 'catching up' ],
	[ r => 'ready to join' ],
	[ j => 'joined' ],
	[ s => 'streaming' ]);
my ($source, $hub);

foreach my $flavour (usable_flavours())
{
	$source = Tapdata::MySQL->start(flavour => $flavour);
	$hub = new_hub("states_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
	hold_at_states();
	$source->sql(<<'SQL');
CREATE DATABASE shop;
CREATE TABLE shop.steady (id int PRIMARY KEY, v int);
CREATE TABLE shop.t (id int PRIMARY KEY, v int);
INSERT INTO shop.steady VALUES (1, 1);
INSERT INTO shop.t WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT n, n FROM s;
SQL
	pull($hub, $source, 'shop', tables => [ 'shop.steady', 'shop.t' ], options => '{"chunk_rows": 300}');
	caught_up($hub, 'shop');

	foreach my $state (@states)
	{
		my ($letter, $name) = @$state;

		kill_at($letter, q(SELECT tapdata.resync('shop', 'shop.t')), 'shop.t', "$flavour: copied again, killed when $name");
		$source->sql("CREATE TABLE shop.new_$letter (id int PRIMARY KEY, v int); INSERT INTO shop.new_$letter SELECT * FROM shop.t;");
		kill_at($letter, "SELECT tapdata.add_tables('shop', ARRAY['shop.new_$letter'])", "shop.new_$letter",
			"$flavour: added, killed when $name");
	}
	same_rows($source, 'shop.steady', $hub, 'shop.steady', "$flavour: the others followed all the time");
	$hub->stop('fast');
	$source->kill9;
}
done_testing();

# A worker that is about to commit the state that is wanted sleeps first.
sub hold_at_states
{
	$hub->safe_psql('postgres', <<'SQL');
CREATE TABLE hold (state text);
INSERT INTO hold VALUES ('');
CREATE FUNCTION hold_worker() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	IF NEW.state::text = (SELECT state FROM hold) AND OLD.state <> NEW.state AND
	   EXISTS (SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid() AND backend_type LIKE 'tapdata%') THEN
		PERFORM pg_sleep(60);
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER hold_worker AFTER UPDATE ON tapdata.pipeline_table FOR EACH ROW EXECUTE FUNCTION hold_worker();
ALTER TABLE tapdata.pipeline_table ENABLE ALWAYS TRIGGER hold_worker;
SQL
	return;
}

sub change_rows
{
	my ($table) = @_;

	$source->do("UPDATE $table SET v = v + 1 WHERE id % 7 = 0");
	$source->do("DELETE FROM $table WHERE id = (SELECT id FROM (SELECT MAX(id) AS id FROM $table WHERE id < 10000) m)");
	$source->do("UPDATE $table SET id = id + 10000 WHERE id = (SELECT id FROM (SELECT MIN(id) AS id FROM $table) m)");
	$source->do('UPDATE shop.steady SET v = v + 1');
	return;
}

sub kill_at
{
	my ($letter, $command, $table, $name) = @_;
	my $held = q(SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'tapdata%' AND wait_event = 'PgSleep');

	$hub->safe_psql('postgres', "UPDATE hold SET state = '$letter'");
	$hub->safe_psql('postgres', $command);
	change_rows($table);
	if (!wait_for_sql($hub, "SELECT count(*) > 0 FROM ($held) held"))
	{
		$hub->safe_psql('postgres', q(UPDATE hold SET state = ''));
		return;
	}
	my ($pid) = split /\n/, $hub->safe_psql('postgres', $held);
	change_rows($table);
	$hub->safe_psql('postgres', q(UPDATE hold SET state = ''));
	kill_process($hub, $pid);
	change_rows($table);
	caught_up($hub, 'shop');
	same_rows($source, $table, $hub, $table, $name);
	return;
}
