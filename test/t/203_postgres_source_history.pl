# PostgreSQL as a source that is not what it was: its slot is gone, invalidated or made
# anew, it was promoted, set back, or replaced by another cluster.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');
my $source = new_source('source', "max_slot_wal_keep_size = '16MB'\nmin_wal_size = '32MB'\nmax_wal_size = '32MB'\n");

$source->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text);
	INSERT INTO s.t SELECT i, 'v' FROM generate_series(1, 100) i;
));
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.*'], 's');
caught_up($hub, 'p');
my $slot = $source->safe_psql('postgres', 'SELECT slot_name FROM pg_replication_slots');

# The slot is free, too.
sub stop_stream
{
	my ($node) = @_;

	stop_pipeline($hub, 'p');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_replication WHERE application_name LIKE 'tapdata%'"), 'the stream ends');
	return;
}

sub fails_with
{
	my ($pattern, $name) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
	wait_for_state($hub, 'p', 'failed');
	like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = 'p'"), $pattern, $name);
	return;
}

sub resyncs
{
	my ($name) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.resync('p')");
	caught_up($hub, 'p');
	same_as_source($hub, $source, 's.t', 's.t', $name);
	return;
}

stop_stream($source);
$source->safe_psql('postgres', "SELECT pg_drop_replication_slot('$slot'); DELETE FROM s.t WHERE id = 1");
fails_with(qr/replication slot "$slot" is gone/, 'a slot that was dropped is an error');
resyncs('resync() makes another one');

stop_stream($source);
$source->safe_psql('postgres', "SELECT pg_drop_replication_slot('$slot'); DELETE FROM s.t WHERE id = 2; SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
fails_with(qr/is ahead of this pipeline/, 'so is one that somebody made anew');
resyncs('resync() after that');

stop_stream($source);
$source->safe_psql('postgres', q(
	CREATE TABLE filler (v text);
	INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 60000);
	SELECT pg_switch_wal();
	CHECKPOINT;
));
ok($source->poll_query_until('postgres', "SELECT wal_status = 'lost' FROM pg_replication_slots"), 'the slot is invalidated');
fails_with(qr/has invalidated replication slot "$slot"/, 'an invalidated slot is an error');

# no other slot is, when a checkpoint comes late
$source->append_conf('postgresql.conf', 'max_slot_wal_keep_size = -1');
$source->restart;
resyncs('resync() drops it and makes another one');

# what was promoted from where we stand, or later, goes on
$source->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => $source->install_path);
$standby->init_from_backup($source, 'b', has_streaming => 1);
$standby->start;
stop_stream($source);
my $confirmed = $source->safe_psql('postgres', "SELECT confirmed_flush_lsn FROM pg_replication_slots");
$source->safe_psql('postgres', "INSERT INTO s.t VALUES (1000, 'before the promotion')");
$source->wait_for_catchup($standby);
$standby->promote;
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', 'postgres://postgres\@localhost:" . $standby->port . "/postgres')");
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', options => '{\"socket\": \"" . $standby->host . "\"}')");
fails_with(qr/replication slot "$slot" is gone/, 'a promoted standby without the slot could have missed changes');
$standby->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
fails_with(qr/is ahead of this pipeline/, 'a slot that was made after the promotion does not help');

# another cluster altogether
my $other = new_source('other');
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', 'postgres://postgres\@localhost:" . $other->port . "/postgres')");
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', options => '{\"socket\": \"" . $other->host . "\"}')");
fails_with(qr/not the cluster that this pipeline has followed/, 'another cluster is refused');

# a source that lost what the hub has: set back to an older backup
my $old = PostgreSQL::Test::Cluster->new('old', install_path => $source->install_path);
$old->init_from_backup($source, 'b');
$old->start;
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', 'postgres://postgres\@localhost:" . $old->port . "/postgres')");
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', options => '{\"socket\": \"" . $old->host . "\"}')");
fails_with(qr/log ends before the position|history is not the one|is gone/, 'a source that was set back is refused');

my $copied = $hub->safe_psql('postgres', "SELECT rows_copied FROM tapdata.status WHERE name = 'p'");

# and each of these heals by comparison, if that is asked for
$old->safe_psql('postgres', q(
	CREATE TABLE s.no_key (v int);
	ALTER TABLE s.no_key REPLICA IDENTITY FULL;
	UPDATE s.t SET v = 'changed' WHERE id BETWEEN 50 AND 60;
	DELETE FROM s.t WHERE id BETWEEN 20 AND 30;
	INSERT INTO s.t VALUES (2000, 'new');
	ALTER TABLE s.t ADD extra int;
	UPDATE s.t SET extra = 1 WHERE id > 70;
));
$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('p', '{\"on_gap\": \"compare\"}')");
$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
caught_up($hub, 'p');
same_as_source($hub, $old, 's.t', 's.t', 'what the source lost is lost in the hub, too');
$old->safe_psql('postgres', "UPDATE s.t SET v = 'streamed' WHERE id = 2000; DELETE FROM s.t WHERE id = 51");
caught_up($hub, 'p');
same_as_source($hub, $old, 's.t', 's.t', 'then it streams');
is($hub->safe_psql('postgres', "SELECT count(*) > 0 FROM tapdata.events WHERE message LIKE '%all tables are compared%'"), 't',
	'tapdata.events tells that tables were compared');
is($hub->safe_psql('postgres', "SELECT rows_copied FROM tapdata.status WHERE name = 'p'"), $copied, 'nothing was copied again');

stop_stream($old);
$old->safe_psql('postgres', "SELECT pg_drop_replication_slot('$slot'); DELETE FROM s.t WHERE id < 10; INSERT INTO s.t VALUES (3000, 'x')");
$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
caught_up($hub, 'p');
same_as_source($hub, $old, 's.t', 's.t', 'a slot that was dropped');

$other->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text, extra int);
	INSERT INTO s.t SELECT i, 'other', NULL FROM generate_series(40, 60) i;
));
stop_pipeline($hub, 'p');
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', 'postgres://postgres\@localhost:" . $other->port . "/postgres', '{\"socket\": \"" . $other->host . "\"}')");
$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
caught_up($hub, 'p');
same_as_source($hub, $other, 's.t', 's.t', 'another cluster');

# ---------------------------------------------------------------------
# A source that was set back on its own timeline, and has outgrown the position again by the
# time that the hub, which crashed while it compared, looks at it
# ---------------------------------------------------------------------

my $shop = new_source('shop');
at_source($shop, 'CREATE SCHEMA b', 'CREATE TABLE b.t (id int PRIMARY KEY, v text)',
	"INSERT INTO b.t SELECT i, 'v' FROM generate_series(1, 100) i");
connect_source($hub, $shop, 'shop');
pull_from($hub, 'shop', 'shop', ['b.*'], 'b', '{"on_gap": "compare"}');
caught_up($hub, 'shop');
stop_pipeline($hub, 'shop');
$shop->stop;
$shop->backup_fs_cold('cold');
$shop->start;
$hub->safe_psql('postgres', "SELECT tapdata.start('shop')");
at_source($shop, 'DELETE FROM b.t WHERE id <= 10', "INSERT INTO b.t VALUES (1000, 'lost')", 'SELECT pg_switch_wal()',
	"UPDATE b.t SET v = 'lost' WHERE id = 50");
caught_up($hub, 'shop');
stop_pipeline($hub, 'shop');
my $position = $hub->safe_psql('postgres', "SELECT substring(position FROM '[0-9A-F/]+') FROM tapdata.status WHERE name = 'shop'");
$shop->stop;

my $restored = PostgreSQL::Test::Cluster->new('restored', install_path => $shop->install_path);
$restored->init_from_backup($shop, 'cold');
$restored->start;
at_source($restored, 'DELETE FROM b.t WHERE id BETWEEN 60 AND 69', "INSERT INTO b.t VALUES (2000, 'new')");
is($restored->safe_psql('postgres', "SELECT pg_current_wal_lsn() < '$position'"), 't', 'the source was set back');
reconnect_source($hub, $restored, 'shop');

# as if the first copy had not been made good yet: up to a place that this history may never see
$hub->safe_psql('postgres', "UPDATE tapdata.pipeline_table SET state = 'j', start_position = p, end_position = p "
	  . "FROM (SELECT 'FFFFFF/0 ' || substring(position FROM '\@.*') AS p FROM tapdata.status WHERE name = 'shop') x WHERE source_schema = 'b'");

# the comparison comes to the point where it would write
my $holder = $hub->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE b.t IN SHARE MODE;');
$hub->safe_psql('postgres', "SELECT tapdata.start('shop')");
wait_for_sql($hub, "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'b.t'::regclass AND NOT granted");
$hub->psql('postgres', "SELECT tapdata.wait('shop', '0 s')", stderr => \my $error);
like($error, qr/timeout while waiting/, 'the hub has not what the source has, wherever it was before');
$hub->stop('immediate');
eval { $holder->quit };
at_source($restored, 'SELECT pg_switch_wal()', 'INSERT INTO b.t SELECT i FROM generate_series(3000, 3010) i', 'SELECT pg_switch_wal()',
	"INSERT INTO b.t VALUES (4000, 'newest')");
is($restored->safe_psql('postgres', "SELECT pg_current_wal_lsn() > '$position'"), 't', 'it has outgrown the position again');
$hub->start;
caught_up($hub, 'shop');
same_as_source($hub, $restored, 'b.t', 'b.t', 'a comparison that a crash broke off is done all the same');
at_source($restored, "UPDATE b.t SET v = 'streamed' WHERE id = 4000");
caught_up($hub, 'shop');
same_as_source($hub, $restored, 'b.t', 'b.t', 'and then it streams');
is($hub->safe_psql('postgres', "SELECT state FROM tapdata.tables WHERE pipeline = 'shop'"), 'streaming', 'whatever its copy covered before');

# ---------------------------------------------------------------------
# Publications that are not what they were
# ---------------------------------------------------------------------

sub stops_with
{
	my ($name, $change, $pattern, $what) = @_;

	stop_pipeline($hub, $name);
	at_source($other, ref $change ? @$change : $change);
	$hub->safe_psql('postgres', "SELECT tapdata.start('$name')");
	wait_for_state($hub, $name, 'failed');
	like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = '$name'"), $pattern, $what);
	return;
}

sub compares
{
	my ($name, $what) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('$name', '{\"on_gap\": \"compare\"}'); SELECT tapdata.start('$name')");
	caught_up($hub, $name);
	same_as_source($hub, $other, "u.$_", "$name.$_", "$what, $_") for 'keyed', 'log';
	at_source($other, "INSERT INTO u.log VALUES ('then')", 'INSERT INTO u.keyed SELECT max(id) + 1 FROM u.keyed');
	caught_up($hub, $name);
	same_as_source($hub, $other, "u.$_", "$name.$_", "$what, and it streams, $_") for 'keyed', 'log';
	$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('$name', '{\"on_gap\": \"stop\"}')");
	return;
}

$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('p')");
at_source($other, 'CREATE SCHEMA u', 'CREATE TABLE u.log (what text)', 'CREATE TABLE u.keyed (id int PRIMARY KEY)',
	"INSERT INTO u.log VALUES ('a')", 'INSERT INTO u.keyed VALUES (1)');
pull_from($hub, 'made', 'src', ['u.*'], 'made', '{"without_identity": "inserts"}');
caught_up($hub, 'made');
my ($made) = $other->safe_psql('postgres', "SELECT min(pubname) FROM pg_publication WHERE pubname !~ '_insert'");
my @lost = ("INSERT INTO u.log VALUES ('lost')", 'INSERT INTO u.keyed SELECT max(id) + 1 FROM u.keyed');
stops_with('made', [ "DROP PUBLICATION ${made}_insert", @lost ],
	qr/publication "${made}_insert" does not exist at the source, or lacks a table.*u\.log/s, 'a publication for inserts that is gone is an error');
compares('made', 'a publication for inserts that was gone');
stops_with('made', [ "DROP PUBLICATION $made", @lost ], qr/publication "$made" does not exist/, 'so is the other one');
compares('made', 'a publication that was gone');

# the slot's name outlasts a restored hub, those of publications that it made do not
at_source($other, 'CREATE PUBLICATION hand FOR TABLE ONLY u.log, ONLY u.keyed', 'ALTER TABLE u.log REPLICA IDENTITY FULL');
pull_from($hub, 'hand', 'src', ['u.*'], 'hand', '{"publication": "hand", "slot": "hand"}');
caught_up($hub, 'hand');
stops_with('hand', [ 'ALTER PUBLICATION hand DROP TABLE u.log', @lost ],
	qr/table "u\.log" is not in publication "hand"/, 'a table that was taken out of a publication is an error');

# what was missing is not forgotten when the publication is mended
$hub->safe_psql('postgres', "SELECT tapdata.alter_pipeline('hand', '{\"on_gap\": \"compare\"}'); SELECT tapdata.start('hand')");
ok($hub->poll_query_until('postgres', "SELECT state = 'failed' AND position LIKE '0/0 %' FROM tapdata.status WHERE name = 'hand'"),
	'the publication is the user\'s to mend');
at_source($other, 'ALTER PUBLICATION hand ADD TABLE u.log');
compares('hand', 'a publication of the user');

done_testing();
