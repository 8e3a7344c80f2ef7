# A table that is pulled from PostgreSQL and published to it: changes of either side
# reach the other one once and do not come back; two hubs at one server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

# By this, large transactions would be received while they are in progress; but their
# origin is known for sure only when they are committed.
my $server = new_source('server', "logical_decoding_work_mem = 64kB\n");
my ($hub, $other) = map { new_hub($_) } qw(hub other);

$server->safe_psql('postgres', q(
	CREATE SCHEMA shop;
	CREATE TABLE shop.items (id int PRIMARY KEY, name text, amount numeric(10, 2), tags text[], doc jsonb);
	INSERT INTO shop.items VALUES (1, 'one', 1.10, '{a,b}', '{"a": 1}'), (2, 'two', 2, NULL, NULL);));
both_ways($hub);

check_one_hub();
check_large();
check_columns();
check_two_hubs();
check_copy();
check_without();
check_source_origin();
done_testing();

sub both_ways
{
	my ($node) = @_;

	connect_source($node, $server, 'shop');
	pull_from($node, 'in', 'shop', ['shop.items'], 'shop', '{"ignore_published": "own"}');
	caught_up($node, 'in');
	publish($node, 'out', 'shop', ['shop.items'], '{"snapshot": "never", "origins": "local", "origin": "on"}');
	settle($node);
	return;
}

# Both ways until nothing is under way any more.
sub settle
{
	my ($node) = @_;

	for (1 .. 2)
	{
		caught_up($node, 'out');
		caught_up($node, 'in');
	}
	return;
}

# The number of changes that a pipeline has seen.
sub changes
{
	my ($node, $pipeline) = @_;

	return $node->safe_psql('postgres', "SELECT inserts + updates + deletes FROM tapdata.status WHERE name = '$pipeline'");
}

sub same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return same_as_source($hub, $server, 'shop.items', 'shop.items', $name);
}

sub check_one_hub
{
	$server->safe_psql('postgres', "INSERT INTO shop.items VALUES (10, 'from the server', 10)");
	$hub->safe_psql('postgres', q(INSERT INTO shop.items VALUES (20, 'from the hub', 20.02, '{c}', '{"b": [2]}')));
	settle($hub);
	same('a row of each side is at the other');
	sql_ok($hub, 'SELECT count(*) FROM shop.items', 4, 'there are four');
	is(changes($hub, 'out'), 1, 'what was pulled is not published');
	is(changes($hub, 'in'), 1, 'what was published is not pulled');

	$server->safe_psql('postgres', 'UPDATE shop.items SET amount = amount + 1 WHERE id IN (10, 20); DELETE FROM shop.items WHERE id = 1');
	caught_up($hub, 'in');
	$hub->safe_psql('postgres', "UPDATE shop.items SET name = 'changed' WHERE id = 2; DELETE FROM shop.items WHERE id = 10");
	settle($hub);
	same('updates and deletes of both sides');
	sql_ok($hub, 'SELECT id, name, amount FROM shop.items ORDER BY id', "2|changed|2.00\n20|from the hub|21.02", 'as they were made');

	# busy on both sides, on rows of their own
	$hub->safe_psql('postgres', "INSERT INTO shop.items SELECT 1000 + g, 'h', 0 FROM generate_series(1, 50) g");
	for my $round (1 .. 20)
	{
		$server->safe_psql('postgres', "INSERT INTO shop.items VALUES (2000 + $round, 's', $round)");
		$hub->safe_psql('postgres', "UPDATE shop.items SET amount = amount + $round WHERE id BETWEEN 1001 AND 1050") if $round % 5 == 0;
	}
	settle($hub);
	same('after both were busy');
	is(changes($hub, 'out'), 1 + 2 + 50 + 4 * 50, 'each change of the hub was published once');
	is(changes($hub, 'in'), 1 + 3 + 20, 'and each of the server was pulled once');
	return;
}

sub check_large
{
	my ($in, $out) = map { changes($hub, $_) } qw(in out);

	$hub->safe_psql('postgres', "INSERT INTO shop.items (id, name) SELECT g, repeat('h', 100) FROM generate_series(10001, 14000) g");
	settle($hub);
	$server->safe_psql('postgres', "INSERT INTO shop.items (id, name) SELECT g, repeat('s', 100) FROM generate_series(20001, 24000) g");
	settle($hub);
	same('large transactions of both sides');
	is(changes($hub, 'in') - $in, 4000, 'that of the server was pulled, the hub\'s was not');
	is(changes($hub, 'out') - $out, 4000, 'that of the hub was published, the server\'s was not');
	return;
}

# A table whose format changes: first the hub leads, then the server.
sub check_columns
{
	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('in', '{"ddl": "ignore"}')));
	$hub->safe_psql('postgres', "ALTER TABLE shop.items ADD hub_made int DEFAULT 5; INSERT INTO shop.items (id, name, hub_made) VALUES (30, 'x', 6)");
	settle($hub);
	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('in', '{"ddl": "apply"}'), tapdata.alter_pipeline('out', '{"ddl": "ignore"}')));
	$server->safe_psql('postgres', "ALTER TABLE shop.items ADD server_made text NOT NULL DEFAULT 'old'; INSERT INTO shop.items (id, name, server_made) VALUES (31, 'y', 'new')");
	settle($hub);
	$hub->safe_psql('postgres', "UPDATE shop.items SET name = 'X', server_made = 'hub' WHERE id = 30");
	settle($hub);
	same_as_source($hub, $server, 'shop.items', 'shop.items', 'new columns of both sides', 'id, name, hub_made, server_made');
	sql_ok($hub, 'SELECT id, name, hub_made, server_made FROM shop.items WHERE id IN (2, 30, 31) ORDER BY id',
		"2|changed|5|old\n30|X|6|hub\n31|y||new", 'as they were made');
	return;
}

# Another hub's changes are no echo of the first one's.
sub check_two_hubs
{
	both_ways($other);
	$hub->safe_psql('postgres', "UPDATE shop.items SET name = 'by the one' WHERE id = 2");
	$other->safe_psql('postgres', "UPDATE shop.items SET name = 'by the other' WHERE id = 20");
	settle($_) foreach $hub, $other, $hub, $other;
	foreach my $node ($hub, $other)
	{
		sql_ok($node, 'SELECT name FROM shop.items WHERE id IN (2, 20) ORDER BY id', "by the one\nby the other", 'two hubs at one server: ' . $node->name);
	}
	is(changes($other, 'out'), 1, 'nothing went round in circles');

	# all: what any hub has published stays away
	$other->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('in', '{"ignore_published": "all"}')));
	caught_up($other, 'in');
	$hub->safe_psql('postgres', "UPDATE shop.items SET name = 'for the server alone' WHERE id = 2");
	settle($hub);
	$server->safe_psql('postgres', "UPDATE shop.items SET name = 'for all' WHERE id = 20");
	settle($_) foreach $hub, $other;
	sql_ok($other, 'SELECT name FROM shop.items WHERE id IN (2, 20) ORDER BY id', "by the one\nfor all", 'ignore_published = all');
	$other->safe_psql('postgres', "SELECT tapdata.drop_pipeline('in'), tapdata.drop_pipeline('out')");
	return;
}

# A copy is none of a pull's business either.
sub check_copy
{
	$hub->safe_psql('postgres', q(
		CREATE TABLE shop.made (id int PRIMARY KEY, v text);
		INSERT INTO shop.made SELECT g, 'v' || g FROM generate_series(1, 5000) g;));
	publish($hub, 'made', 'shop', ['shop.made']);
	caught_up($hub, 'made');
	pull_from($hub, 'back', 'shop', ['shop.made'], 'back', '{"ignore_published": "own"}');
	caught_up($hub, 'back');
	sql_ok($hub, 'SELECT count(*) FROM back.made', 5000, 'a new pipeline copies what is there');
	$hub->safe_psql('postgres', "SELECT tapdata.resync('made')");
	caught_up($hub, 'made');
	caught_up($hub, 'back');
	is(changes($hub, 'back'), 0, 'that it was published again is not pulled');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('made'), tapdata.drop_pipeline('back')");
	return;
}

# Without the option all comes back: the test would see it.
sub check_without
{
	my $before;

	$hub->safe_psql('postgres', q(SELECT tapdata.alter_pipeline('in', '{"ignore_published": "none"}')));
	caught_up($hub, 'in');
	$before = changes($hub, 'in');
	$hub->safe_psql('postgres', 'UPDATE shop.items SET amount = 77 WHERE id = 2');
	settle($hub);
	is(changes($hub, 'in') - $before, 1, 'without the option it comes back');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('in'), tapdata.drop_pipeline('out')");
	return;
}

# What the server itself has from elsewhere, by whatever kind of replication.
sub check_source_origin
{
	my $insert = "INSERT INTO shop.items (id, name) SELECT g, repeat('replicated', 10) FROM generate_series";

	pull_from($other, 'own', 'shop', ['shop.items'], 'own', '{"source_origin": "none"}');
	caught_up($other, 'own');
	$server->safe_psql('postgres', "INSERT INTO shop.items (id, name) VALUES (40001, 'local')");
	$server->safe_psql('postgres', qq(
		SELECT pg_replication_origin_create('elsewhere');
		SELECT pg_replication_origin_session_setup('elsewhere');
		$insert(50001, 50003) g;
		$insert(60001, 63000) g;
		BEGIN; TRUNCATE shop.items; $insert(70001, 73000) g; COMMIT;));
	$server->safe_psql('postgres', "INSERT INTO shop.items (id, name) VALUES (40002, 'local')");
	caught_up($other, 'own');
	is(changes($other, 'own'), 2, 'source_origin = none: what the server wrote itself arrives');
	sql_ok($other, 'SELECT count(*) FILTER (WHERE id > 50000), count(*) FILTER (WHERE id > 40000) FROM own.items', '0|2',
		'and nothing else');
	return;
}
