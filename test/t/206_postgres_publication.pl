# Publications of newer sources: one whose tables are locked, and one of before an upgrade.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $programs = postgres_programs(18) or plan skip_all => 'there is no PostgreSQL 18';
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $old = new_source('old');
my $new = new_source('new', undef, install_path => $programs);

check_locked();
check_upgraded();
done_testing();

# ---------------------------------------------------------------------

sub columns
{
	my ($table) = @_;

	return $hub->safe_psql('postgres', "SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");
}

# A table has another format while one that the same publication has is locked.
sub check_locked
{
	at_source($new,
		'CREATE SCHEMA l',
		(map { "CREATE TABLE l.$_ (id int PRIMARY KEY, v text, w text, g int GENERATED ALWAYS AS (id * 2) STORED)" } qw(t listed)),
		(map { "INSERT INTO l.$_ SELECT i, 'v', 'w' FROM generate_series(-5, 5) i" } qw(t listed)),
		'CREATE TABLE l.locked (id int PRIMARY KEY)',
		'CREATE PUBLICATION given FOR TABLE l.t WHERE (id > 0), l.listed (id, g), l.locked');
	connect_source($hub, $new, 'new');
	pull_from($hub, 'l', 'new', [qw(l.t l.listed)], 'l', '{"publication": "given"}');
	caught_up($hub, 'l');
	is(join(' ', map { columns("l.$_") } qw(t listed)), 'id,v,w g,id', 'the columns are those that the publication sends');
	is($hub->safe_psql('postgres', 'SELECT (SELECT count(*) FROM l.t), (SELECT count(*) FROM l.listed)'), '5|11', 'so are the rows');

	my $lock = $new->background_psql('postgres');
	$lock->query_safe('BEGIN; LOCK TABLE l.locked');
	at_source($new, 'ALTER TABLE l.t ADD x int', "INSERT INTO l.t VALUES (6, 'v', 'w', DEFAULT, 7)", "INSERT INTO l.t VALUES (-6, 'v', 'w', DEFAULT, 7)",
		'UPDATE l.listed SET id = 6 WHERE id = 5');
	ok(wait_for_sql($hub, 'SELECT count(*) FROM l.listed WHERE id = 6 AND g = 12', 1), 'the stream does not wait for a table that is not its own');
	is($hub->safe_psql('postgres', 'SELECT count(*), sum(x) FROM l.t'), '6|7', 'and has the new format');
	$lock->query_safe('COMMIT');
	$lock->quit;
	caught_up($hub, 'l');
	same_as_source($hub, $new, '(SELECT id, v, w, x FROM l.t WHERE id > 0)', 'l.t', 'rows that the publication sends');
	return;
}

sub is_same
{
	my ($name, $table, $columns) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	caught_up($hub, 'p');
	is(columns("u.$table"), $columns, "$name: the columns");
	same_as_source($hub, $new, "u.$table", "u.$table", $name, $columns);
	return;
}

# The publication was made before generated columns could be in the log.
sub check_upgraded
{
	at_source($_,
		'CREATE SCHEMA u',
		(map { "CREATE TABLE u.$_ (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2) STORED)" } qw(t joins)),
		(map { "INSERT INTO u.$_ SELECT i, i FROM generate_series(1, 10) i" } qw(t joins)))
	  for $old, $new;
	connect_source($hub, $old, 'src');
	pull_from($hub, 'p', 'src', ['u.t'], 'u', '{"on_gap": "compare"}');
	caught_up($hub, 'p');
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('p')));
	wait_for_state($hub, 'p', 'stopped');
	my $name = $old->safe_psql('postgres', 'SELECT pubname FROM pg_publication');
	at_source($new,
		"CREATE PUBLICATION $name FOR TABLE u.t WITH (publish_via_partition_root)",
		'UPDATE u.t SET v = v + 1');
	reconnect_source($hub, $new, 'src');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('p')));
	is_same('compared', 't', 'id,v');
	at_source($new, 'UPDATE u.t SET v = v + 1', 'INSERT INTO u.t VALUES (11, 11)');
	is_same('followed', 't', 'id,v');
	$hub->safe_psql('postgres', q(SELECT tapdata.add_tables('p', ARRAY['u.joins'])));
	caught_up($hub, 'p');
	at_source($new, 'UPDATE u.joins SET v = v + 1');
	is_same('a table that joins', 'joins', 'id,v');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p')));
	caught_up($hub, 'p');
	at_source($new, map { "UPDATE u.$_ SET v = v + 1" } qw(t joins));
	is_same('copied again', $_, 'g,id,v') for qw(t joins);
	return;
}
