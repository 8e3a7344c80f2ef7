# Copies from a PostgreSQL source that do not come to their end: the source is set back in the
# middle of the first one, or right behind it, or one table's copy fails for good.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

# Tables in the order in which they are copied; the copy of the third can be made to fail.
my @tables = qw(a_no_key b_first c_stops d_last);

sub new_shop
{
	my ($name) = @_;
	my $source = new_source($name);

	at_source($source,
		'CREATE ROLE tap LOGIN REPLICATION',
		'GRANT CREATE ON DATABASE postgres TO tap',
		"CREATE SCHEMA $name AUTHORIZATION tap");
	for (@tables)
	{
		my $key = $_ eq 'a_no_key' ? '' : ' PRIMARY KEY';

		at_source($source,
			"CREATE TABLE $name.$_ (id int$key, v text)",
			"ALTER TABLE $name.$_ OWNER TO tap, REPLICA IDENTITY " . ($key ? 'DEFAULT' : 'FULL'),
			"INSERT INTO $name.$_ SELECT i, 'v' FROM generate_series(1, 100) i");
	}
	connect_source($hub, $source, $name, user => 'tap');
	return $source;
}

# Tables are added, and the copy of one of them fails until let_pass(): it has a row that the hub refuses.
sub stops_at
{
	my ($name, $table, $call) = @_;

	$hub->safe_psql('postgres', qq(
		BEGIN;
		$call;
		ALTER TABLE $name.$table ADD CONSTRAINT stops CHECK (id <> 13);
		COMMIT;
	));
	return;
}

sub let_pass
{
	my ($name, $table) = @_;

	$hub->safe_psql('postgres', "ALTER TABLE $name.$table DROP CONSTRAINT stops");
	return;
}

sub copy_stops
{
	my ($name) = @_;

	stops_at($name, 'c_stops', qq(SELECT tapdata.pull('$name', '$name', ARRAY['$name.*'], '$name', '{"workers": 1, "refresh_ms": 0}')));
	wait_for_state($hub, $name, 'failed');
	is($hub->safe_psql('postgres', "SELECT count(*) FROM $name.$_ WHERE v = 'lost'"), '10', "$name: $_ was copied") for qw(a_no_key b_first);
	return;
}

sub lose
{
	my ($source, $name) = @_;

	at_source($source, "INSERT INTO $name.$_ SELECT i, 'lost' FROM generate_series(1001, 1010) i",
		"DELETE FROM $name.$_ WHERE id BETWEEN 50 AND 59",
		"UPDATE $name.$_ SET v = 'lost too' WHERE id = 60") for @tables;
	return;
}

sub all_same
{
	my ($name, $source, $what) = @_;

	caught_up($hub, $name);
	same_as_source($hub, $source, "$name.$_", "$name.$_", "$name: $what, $_") for @tables;
	at_source($source, "UPDATE $name.$_ SET v = 'streamed' WHERE id = 70",
		"INSERT INTO $name.$_ VALUES (5000, 'streamed')") for @tables;
	caught_up($hub, $name);
	same_as_source($hub, $source, "$name.$_", "$name.$_", "$name: and then they stream, $_") for @tables;
	return;
}

# Names of tables that events say were copied again, and why.
sub copied_again
{
	my ($name, $why) = @_;

	return $hub->safe_psql('postgres',
		"SELECT string_agg(DISTINCT source_table, ' ' ORDER BY source_table) FROM tapdata.events WHERE pipeline = '$name' AND kind = 'copied again' AND message ~ '$why'");
}

# ---------------------------------------------------------------------
# A backup takes the source's place in the middle of the first copy; it begins a new timeline,
# or not, and has written more than was lost by the time that it is met
# ---------------------------------------------------------------------

for my $promoted (1, 0)
{
	my $name = $promoted ? 'promoted' : 'put_back';
	my $source = new_shop($name);

	$source->backup('before');
	lose($source, $name);
	copy_stops($name);
	$source->stop;
	my $restored = PostgreSQL::Test::Cluster->new("${name}_backup", install_path => $source->install_path);
	$restored->init_from_backup($source, 'before');
	$restored->set_standby_mode if $promoted;
	$restored->start;
	$restored->promote if $promoted;
	at_source($restored, "INSERT INTO $name.$_ SELECT i, 'new' FROM generate_series(2001, 2010) i",
		"DELETE FROM $name.$_ WHERE id < 5") for @tables;
	at_source($restored, 'SELECT pg_switch_wal()') for 1 .. 2;
	reconnect_source($hub, $restored, $name, user => 'tap');
	let_pass($name, 'c_stops');
	$hub->safe_psql('postgres', "SELECT tapdata.start('$name')");
	all_same($name, $restored, 'no table has what the source lost');
	like(copied_again($name, $promoted ? 'went over from timeline 1 to 2|in timeline 2, which does not hold' : 'is gone from the source'),
		qr/a_no_key.*b_first.*c_stops/, "$name: events tell which were copied again");
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name')");
	$restored->stop;
}

# ---------------------------------------------------------------------
# A copy of the files takes its place when all is copied, but the stream has not begun; the slot
# is there, and the pipeline's position is of both histories
# ---------------------------------------------------------------------

my $name = 'files';
my $source = new_shop($name);

at_source($source, "INSERT INTO $name.a_no_key SELECT i, 'lost' FROM generate_series(1, 10) i", "INSERT INTO $name.b_first SELECT i, 'lost' FROM generate_series(2001, 2010) i");
copy_stops($name);
$source->stop;
$source->backup_fs_cold('cold');
$source->start;
lose($source, $name);
at_source($source, 'ALTER ROLE tap NOREPLICATION', 'SELECT pg_switch_wal()');
let_pass($name, 'c_stops');
$hub->safe_psql('postgres', "SELECT tapdata.start('$name')");
error_becomes($hub, $name, qr/to start (?:walsender|WAL sender)/, 'all is copied');
is($hub->safe_psql('postgres', "SELECT string_agg(state, '') FROM tapdata.pipeline_table WHERE source_schema = '$name'"), 'jjjj', 'but does not stream');
is($hub->safe_psql('postgres', "SELECT count(*) FROM $name.d_last WHERE v = 'lost'"), '10', 'also what will be lost');
$source->stop;
my $restored = PostgreSQL::Test::Cluster->new('files_backup', install_path => $source->install_path);
$restored->init_from_backup($source, 'cold');
$restored->start;
reconnect_source($hub, $restored, $name, user => 'tap');
$hub->safe_psql('postgres', "SELECT tapdata.start('$name')");
all_same($name, $restored, 'no table has what the source lost');
like(copied_again($name, 'log ends at .*, before'), qr/b_first.*c_stops.*d_last/, 'events tell which were copied again');

# ---------------------------------------------------------------------
# The copy of an added table fails for good
# ---------------------------------------------------------------------

at_source($restored, "CREATE TABLE $name.e_added (id int PRIMARY KEY)", "ALTER TABLE $name.e_added OWNER TO tap",
	"INSERT INTO $name.e_added SELECT generate_series(1, 100)");
my $slots_of_tables = q{SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ '_t[0-9]+$'};
ok(wait_for_sql($restored, $slots_of_tables, 0), 'tables that have joined have no slots any more');
stops_at($name, 'e_added', "SELECT tapdata.add_tables('$name', ARRAY['$name.e_added'])");
ok(wait_for_sql($hub, "SELECT last_error ~ 'violates check constraint' FROM tapdata.tables WHERE pipeline = '$name' AND source_table = '$name.e_added'", 't'),
	'tapdata.tables tells what failed');
ok(wait_for_sql($restored, $slots_of_tables, 0), 'nothing keeps the log of the source for it');
sql_fails($hub, "SELECT tapdata.wait('$name', '0 s')", '55P03', qr/table $name\.e_added does not stream yet: .*violates check constraint/, 'wait() tells it, too');
at_source($restored, "INSERT INTO $name.b_first VALUES (6000, 'meanwhile')");
ok(wait_for_sql($hub, "SELECT v FROM $name.b_first WHERE id = 6000", 'meanwhile'), 'the others go on');
like(copied_again($name, 'violates check constraint'), qr/e_added/, 'an event tells that its copy begins anew');
at_source($restored, "DELETE FROM $name.e_added WHERE id > 90");
let_pass($name, 'e_added');

# which does not wait for the next try
$hub->safe_psql('postgres', "SELECT tapdata.stop('$name')");
wait_for_state($hub, $name, 'stopped');
$hub->safe_psql('postgres', "SELECT tapdata.start('$name')");
caught_up($hub, $name);
same_as_source($hub, $restored, "$name.e_added", "$name.e_added", 'and does when the cause is mended');
ok(wait_for_sql($restored, $slots_of_tables, 0), 'its slot is gone, too');

done_testing();
