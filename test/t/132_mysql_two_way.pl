# A table that is pulled from MySQL or MariaDB and published to it: changes of
# either side reach the other one once and do not come back; two hubs on one
# server; MySQL -> hub -> MySQL of another flavour.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my @flavours = usable_flavours();

foreach my $flavour (@flavours)
{
	subtest $flavour => sub { check_two_way($flavour) };
}
SKIP:
{
	skip 'needs MariaDB and MySQL', 1 if @flavours < 2;
	subtest 'MariaDB to MySQL' => sub { check_chain() };
}
done_testing();

sub account
{
	my ($server) = @_;

	return "'" . $server->user . "'\@'%'";
}

sub rows
{
	my ($server, $query) = @_;

	return join "\n", map { join '|', map { defined ? $_ : '-' } @$_ } @{ $server->rows($query) };
}

# The number of changes that a pipeline has seen.
sub changes
{
	my ($hub, $pipeline) = @_;

	return $hub->safe_psql('postgres', "SELECT inserts + updates + deletes FROM tapdata.status WHERE name = '$pipeline'");
}

# Both ways until nothing is under way any more.
sub settle
{
	my ($hub, $pull, $publish) = @_;

	for (1 .. 2)
	{
		caught_up($hub, $publish);
		caught_up($hub, $pull);
	}
	return;
}

sub check_two_way
{
	my ($flavour) = @_;
	my $hub = new_hub("two_way_$flavour");
	my $other = new_hub("other_$flavour");
	my $server = Tapdata::MySQL->start(flavour => $flavour, options => ['--local-infile=ON']);
	my $query = 'SELECT id, name, amount, at, CONCAT(doc) FROM shop.items ORDER BY id';

	$server->sql(q{
		CREATE DATABASE shop;
		CREATE TABLE shop.items (id int PRIMARY KEY AUTO_INCREMENT, name varchar(40) CHARACTER SET latin1, amount decimal(10,2),
			at datetime(3), stamp timestamp NULL, doc json, flag bit(4), kind enum('a','b'), data varbinary(20), big bigint unsigned);
		INSERT INTO shop.items (name, amount, at, doc, flag, kind, data, big) VALUES
			('Süd', 1.10, '2024-01-01 10:00:00.123', '{"a": 1}', 5, 'a', X'00FF', 18446744073709551615), ('two', 2, NULL, NULL, NULL, NULL, NULL, 0);}
		. 'GRANT ALL ON *.* TO ' . account($server));
	pull($hub, $server, 'shop', tables => ['shop.items'], options => '{"ignore_published": "own"}');
	caught_up($hub, 'shop');
	$hub->safe_psql('postgres', q{SELECT tapdata.publish('back', 'shop', ARRAY['shop.items'], '{"snapshot": "never", "origins": "local"}')});
	settle($hub, 'shop', 'back');

	$server->sql(q{INSERT INTO shop.items (id, name, amount) VALUES (10, 'from the server', 10)});
	$hub->safe_psql('postgres', q{INSERT INTO shop.items (id, name, amount, at, doc, flag, kind, data, big)
		VALUES (20, 'from the hub', 20.02, '2024-02-02 20:20:20.202', '{"b": [2]}', B'1010', 'b', '\x0102', 18446744073709551614)});
	settle($hub, 'shop', 'back');
	is($server->value('SELECT COUNT(*) FROM shop.items'), 4, 'a row of each side is at the server');
	sql_ok($hub, 'SELECT count(*) FROM shop.items', 4, 'and in the hub');
	is(rows($server, "SELECT name, amount, at, CONCAT(doc), flag + 0, kind, HEX(data), big FROM shop.items WHERE id = 20"),
		q{from the hub|20.02|2024-02-02 20:20:20.202|{"b": [2]}|10|b|0102|18446744073709551614}, 'values go back into the types that they come from');
	is(changes($hub, 'back'), 1, 'what was pulled is not published');
	is(changes($hub, 'shop'), 1, 'what was published is not pulled');

	$server->sql(q{UPDATE shop.items SET amount = amount + 1 WHERE id IN (10, 20); DELETE FROM shop.items WHERE id = 1});
	$hub->safe_psql('postgres', q{UPDATE shop.items SET name = 'changed' WHERE id = 2; DELETE FROM shop.items WHERE id = 10}) if caught_up($hub, 'shop');
	settle($hub, 'shop', 'back');
	is(rows($server, 'SELECT id, name, amount FROM shop.items ORDER BY id'), "2|changed|2.00\n20|from the hub|21.02", 'updates and deletes of both sides: the server');
	sql_ok($hub, 'SELECT id, name, amount FROM shop.items ORDER BY id', "2|changed|2.00\n20|from the hub|21.02", 'and the hub');

	# busy on both sides, on rows of their own
	$hub->safe_psql('postgres', q{INSERT INTO shop.items (id, name, amount) SELECT 1000 + g, 'h', 0 FROM generate_series(1, 50) g});
	for my $round (1 .. 40)
	{
		$server->do('INSERT INTO shop.items (id, name, amount) VALUES (?, ?, ?)', 2000 + $round, 's', $round);
		$hub->safe_psql('postgres', "UPDATE shop.items SET amount = amount + $round WHERE id BETWEEN 1001 AND 1050") if $round % 5 == 0;
	}
	settle($hub, 'shop', 'back');
	is(rows($server, 'SELECT COUNT(*), SUM(amount) FROM shop.items'),
		$hub->safe_psql('postgres', 'SELECT count(*), sum(amount) FROM shop.items'), 'both sides are the same after both were busy');
	is(changes($hub, 'back'), 1 + 2 + 50 + 8 * 50, 'each change of the hub was published once');

	# a new column: first the hub leads, then the server
	$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('shop', '{"ddl": "ignore"}')});
	$hub->safe_psql('postgres', q{ALTER TABLE shop.items ADD COLUMN hub_made int DEFAULT 5; INSERT INTO shop.items (id, name, hub_made) VALUES (30, 'x', 6)});
	settle($hub, 'shop', 'back');
	$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('shop', '{"ddl": "apply"}'), tapdata.alter_pipeline('back', '{"ddl": "ignore"}')});
	$server->sql(q{ALTER TABLE shop.items ADD COLUMN server_made varchar(10) NOT NULL DEFAULT 'old'; INSERT INTO shop.items (id, name, server_made) VALUES (31, 'y', 'new')});
	settle($hub, 'shop', 'back');
	$hub->safe_psql('postgres', q{UPDATE shop.items SET name = 'X', server_made = 'hub' WHERE id = 30});
	settle($hub, 'shop', 'back');
	foreach my $sql ('SELECT id, name, hub_made, server_made FROM shop.items WHERE id IN (2, 30, 31) ORDER BY id')
	{
		is(rows($server, $sql), "2|changed|5|old\n30|X|6|hub\n31|y|5|new", 'new columns of both sides: the server');
		sql_ok($hub, $sql, "2|changed|5|old\n30|X|6|hub\n31|y|5|new", 'and the hub');
	}

	# another hub: its changes are no echo of the first one's
	pull($other, $server, 'shop', tables => ['shop.items'], options => '{"ignore_published": "own"}');
	caught_up($other, 'shop');
	$other->safe_psql('postgres', q{SELECT tapdata.publish('back', 'shop', ARRAY['shop.items'], '{"snapshot": "never", "origins": "local"}')});
	settle($other, 'shop', 'back');
	$hub->safe_psql('postgres', q{UPDATE shop.items SET name = 'by the one' WHERE id = 2});
	$other->safe_psql('postgres', q{UPDATE shop.items SET name = 'by the other' WHERE id = 20});
	settle($_, 'shop', 'back') foreach $hub, $other, $hub, $other;
	foreach my $node ($hub, $other)
	{
		sql_ok($node, 'SELECT name FROM shop.items WHERE id IN (2, 20) ORDER BY id', "by the one\nby the other", 'two hubs on one server: ' . $node->name);
	}
	is(changes($other, 'back'), 1, 'nothing went round in circles');

	# a copy is none of a pull's business either, whatever it looks like in the log
	$hub->safe_psql('postgres', q{
		CREATE TABLE shop.made (id int PRIMARY KEY, v text);
		INSERT INTO shop.made SELECT g, 'v' || g FROM generate_series(1, 5000) g;
		SELECT tapdata.publish('made', 'shop', ARRAY['shop.made']);});
	settle($hub, 'shop', 'made');
	is($server->value('SELECT COUNT(*) FROM shop.made'), 5000, 'a copy of a table that the server did not have');
	sql_ok($hub, 'SELECT count(*) FROM shop.made', 5000, 'does not come back');
	return;
}

# From one server through the hub to the other one, into a table as the first has it.
sub check_chain
{
	my $hub = new_hub('chain');
	my ($from, $to) = map { Tapdata::MySQL->start(flavour => $_, name => "chain_$_") } qw(mariadb mysql);
	my $table = q{CREATE TABLE shop.items (id int unsigned PRIMARY KEY, kind enum('a','b','it''s'), tags set('x','y'), flag bit(3), y year, t time(3),
		big bigint unsigned, price decimal(12,4), f float, d double, at datetime(6), stamp timestamp NULL, name varchar(30), body mediumtext, raw binary(4), doc json, place point)};
	my $query = q{SELECT id, kind, tags, flag + 0, y, t, big, price, CAST(f AS DOUBLE), CONCAT(d), at, UNIX_TIMESTAMP(stamp), name, SHA2(body, 256), HEX(raw), JSON_EXTRACT(doc, '$.a'), ST_ASTEXT(place) FROM shop.items ORDER BY id};

	$from->sql("CREATE DATABASE shop; $table; $table" =~ s/(.*)shop.items/$1shop.plain/sr);
	$to->sql("CREATE DATABASE shop; $table; GRANT ALL ON *.* TO " . account($to));
	$from->sql(q{
		INSERT INTO shop.items VALUES
			(1, 'a', 'x,y', 5, 1999, '-838:59:59', 18446744073709551615, -1.5, 1.1, 0.1, '1000-01-01', '2038-01-19 03:14:07', 'é', REPEAT('long ', 50000), X'01020300', '{"a": [1, 2.5]}', ST_GEOMFROMTEXT('POINT(1 2)')),
			(4294967295, 'it''s', '', 0, 2155, '12:00:00.123', 0, 99999999.9999, 3.4e38, 1.7976931348623157e308, '9999-12-31 23:59:59.999999', NULL, '', '', X'00000000', '[]', NULL),
			(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
		INSERT INTO shop.plain SELECT * FROM shop.items;});
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('to', '${\ $to->uri('shop') }')));
	pull($hub, $from, 'shop');
	caught_up($hub, 'shop');
	$hub->safe_psql('postgres', q{SELECT tapdata.publish('to', 'to', ARRAY['shop.*'])});
	caught_up($hub, 'to');
	is(rows($to, $query), rows($from, $query), 'copied: the same in a table as the source has it');
	$from->sql(q{
		UPDATE shop.items SET kind = 'b', flag = 1, t = '-00:00:00.5', doc = '{"a": {"b": null}}', place = ST_GEOMFROMTEXT('POINT(-1 0.5)') WHERE id = 3;
		DELETE FROM shop.items WHERE id = 1;
		INSERT INTO shop.items (id, name) VALUES (2, 'two');
		UPDATE shop.plain SET big = 7, tags = 'y' WHERE id = 1;});
	caught_up($hub, 'shop');
	caught_up($hub, 'to');
	is(rows($to, $query), rows($from, $query), 'streamed: the same');
	$query =~ s/shop.items/shop.plain/;
	$query =~ s/ST_ASTEXT\(place\)/1/;
	$query =~ s/flag \+ 0, y, t, /flag + 0, y, /;
	is(rows($to, $query =~ s/UNIX_TIMESTAMP\(stamp\)/TIMESTAMPDIFF(SECOND, '1970-01-01', stamp)/r), rows($from, $query), 'and in a table that was created');
	return;
}
