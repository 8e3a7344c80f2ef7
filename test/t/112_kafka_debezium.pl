# The format "debezium" is held against Debezium itself: its connector for PostgreSQL
# reads the same hub at the same time, and each record of ours has to be the record it
# wrote, field for field. Its own JDBC sink then makes tables of our topics.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::KafkaConnect;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::KafkaConnect->require;

my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "listen_addresses = '127.0.0.1'\n");
my $user = getpwuid $<;

$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA shop;
CREATE EXTENSION hstore;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN shop.short AS varchar(5);
CREATE TABLE shop.plain (id int PRIMARY KEY, name text NOT NULL, note varchar(10));
CREATE TABLE shop.defaults (id serial PRIMARY KEY, note varchar(10) NOT NULL DEFAULT 'n/a',
	quantity bigint NOT NULL DEFAULT 7, at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.two_keys (a int, b text, v text, PRIMARY KEY (b, a));
CREATE TABLE shop.whole (id int PRIMARY KEY, v text);
ALTER TABLE shop.whole REPLICA IDENTITY FULL;
CREATE TABLE shop.types (id bigint PRIMARY KEY,
	b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8,
	n numeric, n10_2 numeric(10, 2), n5 numeric(5, 0), mo money,
	c char(4), vc varchar(20), t text, by bytea,
	d date, ts timestamp, ts3 timestamp(3), ts0 timestamp(0), tz timestamptz,
	ti time, ti3 time(3), tiz timetz, iv interval,
	u uuid, j json, jb jsonb, x xml, hs hstore, m shop.mood, dom shop.short,
	ia int[], ta text[], na numeric(6, 2)[],
	ip inet, ci cidr, mac macaddr, bi bit(1), bi5 bit(5), vb bit varying(8),
	pt point, i4r int4range, tsr tstzrange, o oid, tv tsvector,
	big text);
ALTER TABLE shop.types ALTER big SET STORAGE EXTERNAL;
INSERT INTO shop.plain VALUES (100, 'was there', 'x'), (101, 'before', NULL);
INSERT INTO shop.two_keys VALUES (1, 'x', 'v');
INSERT INTO shop.types (id) VALUES (100);
SQL

my $changes = <<'SQL';
INSERT INTO shop.plain VALUES (1, 'one', 'n'), (2, 'two', NULL);
UPDATE shop.plain SET name = 'uno' WHERE id = 1;
UPDATE shop.plain SET id = 3 WHERE id = 2;
DELETE FROM shop.plain WHERE id = 1;
BEGIN;
INSERT INTO shop.plain VALUES (10, 'ten', 'é€𝄞" \ /');
INSERT INTO shop.two_keys VALUES (2, 'y', E'line\nend\ttab\x01');
UPDATE shop.plain SET note = NULL WHERE id = 10;
COMMIT;
INSERT INTO shop.defaults DEFAULT VALUES;
UPDATE shop.two_keys SET v = 'w' WHERE a = 1;
DELETE FROM shop.two_keys;
INSERT INTO shop.whole VALUES (1, 'a');
UPDATE shop.whole SET v = 'b';
UPDATE shop.whole SET id = 2;
DELETE FROM shop.whole;
INSERT INTO shop.types VALUES (1,
	true, -1, 2, 9223372036854775807, 1.5, 2.25,
	123.456, 12345678.91, 12345, '$12.34',
	'ab', 'vc', 'tä', '\x00ff',
	'2024-02-29', '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56',
	'2024-02-29 12:34:56.789012+02',
	'12:34:56.789012', '12:34:56.789', '12:34:56.789012+02', '1 year 2 mons 3 days 04:05:06.789',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 1}', '{"b": [1, 2]}', '<a>b</a>', 'a=>1,b=>NULL',
	'happy', 'dom', '{1,NULL,3}', '{a,"b c",NULL}', '{1.50,2}',
	'10.0.0.1/24', '10.0.0.0/24', '08:00:2b:01:02:03', B'1', B'10101', B'101',
	'(1.5,2)', '[1,5)', '[2024-01-01 00:00+00,2024-01-02 00:00+00)', 42, 'a fat cat',
	repeat('0123456789', 1000));
UPDATE shop.types SET i4 = 5 WHERE id = 1;
INSERT INTO shop.types (id, f4, f8, n, n10_2, n5, d, ts, tz, iv, ti, bi, bi5, u, c) VALUES
	(4, -0.1, 1e300, -0.001, -1, 0, '0044-03-15', '1500-01-01 00:00:00', '9999-12-31 23:59:59+00',
	 '-1 day', '23:59:59.999999', B'0', B'00000', '00000000-0000-0000-0000-000000000000', ''),
	(5, 1e-30, -1e-300, 12345678901234567890.123, 0.01, -99999, '1970-01-01', '1969-12-31 23:59:59.999999',
	 '1900-01-01 00:00:00.5+00', '1 microsecond', '00:00', B'1', B'11111', NULL, 'abcd');
DELETE FROM shop.types WHERE id = 5;
INSERT INTO shop.plain VALUES (11, 'the end', NULL);
TRUNCATE shop.defaults;
SQL

my $connect = Tapdata::KafkaConnect->start_with($kafka, debezium('ref', 'provide.transaction.metadata' => 'true'),
	debezium('lean',
	map { ("$_.converter" => 'org.apache.kafka.connect.json.JsonConverter',
		"$_.converter.schemas.enable" => 'false') } qw(key value)));
my %settings = (format => 'debezium');
publish($hub, $kafka, 'ours', ['shop.*'], { %settings, topic => 'ours.{schema}.{table}',
	transaction_topic => 'ours.transaction' });
publish($hub, $kafka, 'thin', ['shop.*'], { %settings, topic => 'thin.{schema}.{table}',
	schemas_enable => 'false' });
caught_up($hub, $_) for qw(ours thin);
$kafka->wait_for_records("$_.shop.types", 1) for qw(ref lean);
wait_for_sql($hub, q(SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name LIKE 'debezium%'), 2);
$hub->safe_psql('postgres', $changes);
caught_up($hub, $_) for qw(ours thin);

my %expected = (plain => 13, defaults => 2, two_keys => 7, whole => 7, types => 7);
foreach my $pair ([ref => 'ours', 'with schemas'], [lean => 'thin', 'without schemas'])
{
	my ($theirs, $ours, $what) = @$pair;

	subtest "as Debezium writes it, $what" => sub {
		same_topic("$theirs.shop.$_", "$ours.shop.$_") foreach qw(plain two_keys whole types defaults);
	};
}
subtest 'transactions as Debezium writes them' => \&transactions;
subtest "Debezium's JDBC sink reads our topics" => \&jdbc_sink;
done_testing();

sub debezium
{
	my ($name, %settings) = @_;

	return {
		name => $name,
		'connector.class' => 'io.debezium.connector.postgresql.PostgresConnector',
		'database.hostname' => '127.0.0.1',
		'database.port' => $hub->port,
		'database.user' => $user,
		'database.password' => 'none',
		'database.dbname' => 'postgres',
		'topic.prefix' => $name,
		'plugin.name' => 'pgoutput',
		'slot.name' => "debezium_$name",
		'publication.name' => "debezium_$name",
		'schema.include.list' => 'shop',
		'skipped.operations' => 'none',
		%settings
	};
}

# Each record of ours is the one of Debezium at its place.
sub same_topic
{
	my ($theirs, $ours) = @_;
	my @expected = $kafka->wait_for_records($theirs, sub { complete($theirs, @_) });
	my @found = $kafka->settled_records($ours);

	is(scalar @found, scalar @expected, "$ours: number of records");
	for my $i (0 .. $#expected)
	{
		last if $i > $#found;
		my $operation = (from_json($expected[$i]{value}) || {});
		$operation = ($operation->{payload} || $operation)->{op} || 'tombstone';
		my @differences = map {
			differences("$_", normal($expected[$i]{$_}, $theirs), normal($found[$i]{$_}, $ours))
		} qw(key value);
		push @differences, differences('headers', map { key_headers($_) } $expected[$i], $found[$i]);

		ok(!@differences, "$ours: record $i ($operation)");
		diag join "\n", @differences > 20 ? @differences[ 0 .. 19 ] : @differences if @differences;
	}
	return;
}

# What the key was before, and what it became.
sub key_headers
{
	my ($record) = @_;

	return { map { ($_ => $record->{headers}{$_}) } grep { /^__debezium\.(new|old)key$/ } keys %{ $record->{headers} } };
}

# Debezium is a little behind: its topic is complete when it has as much as the hub's changes make.
sub complete
{
	my ($topic, @records) = @_;
	my ($table) = $topic =~ /(\w+)$/;

	return @records >= $expected{$table};
}

# What two programs cannot have in common: their name, version and clock. Beyond that
# Debezium's schemas have the defaults of columns; the first and the last row of all tables
# are marked as such, but tables are not copied in the same order; its hstore is JSON
# without blanks.
sub normal
{
	my ($text, $topic) = @_;
	my $value = from_json($text);
	my ($prefix) = $topic =~ /^(\w+)/;

	return $value unless ref $value;
	my $payload = $value->{payload} || $value;
	delete @$payload{qw(ts_ms ts_us ts_ns)};
	if (my $source = $payload->{source})
	{
		delete @$source{qw(version name)};
		$source->{snapshot} =~ s/^(first|last)$/$1_in_data_collection/;
		delete @$source{qw(ts_ms ts_us ts_ns txId lsn sequence)} if $payload->{op} eq 'r';
		$source->{sequence} =~ s/^\[[^,]*,/[.../ if $source->{sequence};
	}

	foreach my $row (grep { defined $_ && defined $_->{hs} } @$payload{qw(before after)})
	{
		$row->{hs} = from_json($row->{hs});
	}

	# Debezium's own differ between BEGIN and END of a transaction
	$_->{id} =~ s/:.*// foreach grep { defined } $payload->{transaction};
	_common_schema($value->{schema}, $prefix) if $value->{schema};
	return $value;
}

sub _common_schema
{
	my ($schema, $prefix) = @_;

	$schema->{name} =~ s/^$prefix\./PREFIX./ if defined $schema->{name};
	delete $schema->{default} unless ($schema->{field} || '') eq 'snapshot';
	_common_schema($_, $prefix) foreach @{ $schema->{fields} || [] };
	return;
}

# "path: expected, found" for each leaf that differs.
sub differences
{
	my ($path, $expected, $found) = @_;

	if (ref $expected eq 'HASH' && ref $found eq 'HASH')
	{
		my %all = (%$expected, %$found);
		return map {
			!exists $found->{$_} ? "$path.$_: is missing"
			  : !exists $expected->{$_} ? "$path.$_: should not be there"
			  : differences("$path.$_", $expected->{$_}, $found->{$_})
		} sort keys %all;
	}
	if (ref $expected eq 'ARRAY' && ref $found eq 'ARRAY')
	{
		my $last = $#$expected > $#$found ? $#$expected : $#$found;
		return map {
			my $name = ref $expected->[$_] eq 'HASH' && $expected->[$_]{field} || $_;
			differences("$path\[$name\]", $expected->[$_], $found->[$_])
		} 0 .. $last;
	}
	my ($a, $b) = map { defined $_ ? ref $_ =~ /HASH|ARRAY/ ? 'a ' . ref : "$_" : 'null' } $expected, $found;
	return $a eq $b ? () : "$path: $a expected, $b found";
}

# The records of BEGIN and END, in order. Debezium has them of transactions of others too, and a
# moment later.
sub transactions
{
	my @ended = ended($kafka->settled_records('ours.transaction'));

	$kafka->wait_for_records('ref.transaction', sub {
		my %theirs = map { $_ => 1 } ended(@_);

		return !grep { !$theirs{$_} } @ended;
	});
	my ($theirs, $ours) = map { [ grep { $_->{event_count} || $_->{status} eq 'BEGIN' } payloads($kafka->records("$_.transaction")) ] } qw(ref ours);
	my %wanted = map { ($_->{id} =~ s/:.*//r => 1) } grep { $_->{status} eq 'END' } @$theirs;

	is_deeply(
		[ map { summary($_) } @$ours ],
		[ map { summary($_) } grep { $wanted{ $_->{id} =~ s/:.*//r } } @$theirs ],
		'each begins and ends, with its numbers of events');
	my %ids = map { ($_->{id} => 1) } grep { $_->{status} eq 'BEGIN' } @$ours;
	is_deeply([ grep { !$ids{ $_->{id} } } @$ours ], [], 'END has the id of BEGIN');
	return;
}

sub payloads
{
	return map { my $value = from_json($_->{value}); $value->{payload} || $value } @_;
}

# The ids of transactions that have ended, as both call them.
sub ended
{
	return map { $_->{id} =~ s/:.*//r } grep { $_->{status} eq 'END' } payloads(@_);
}

sub summary
{
	my ($payload) = @_;
	my $tables = join ',', sort map { "$_->{data_collection}=$_->{event_count}" } @{ $payload->{data_collections} || [] };

	return join ' ', $payload->{status}, $payload->{id} =~ s/:.*//r, $payload->{event_count} || 0, $tables;
}

sub jdbc_sink
{
	my $target = PostgreSQL::Test::Cluster->new('target');

	$target->init;
	$target->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\n");
	$target->start;
	my $sink = Tapdata::KafkaConnect->start_with(
		$kafka,
		{
			name => 'sink',
			'connector.class' => 'io.debezium.connector.jdbc.JdbcSinkConnector',
			'topics' => 'ours.shop.plain,ours.shop.two_keys',
			'connection.url' => 'jdbc:postgresql://127.0.0.1:' . $target->port . '/postgres',
			'connection.username' => $user,
			'connection.password' => 'none',
			'insert.mode' => 'upsert',
			'delete.enabled' => 'true',
			'primary.key.mode' => 'record_key',
			'schema.evolution' => 'basic',
			'consumer.override.isolation.level' => 'read_committed'
		});

	wait_for_sql($target, q(SELECT count(*) FROM ours_shop_plain WHERE name = 'the end'), 1)
	  or diag $sink->task_state('sink');
	$hub->safe_psql('postgres', <<'SQL');
INSERT INTO shop.two_keys VALUES (5, 'five', 'v'), (6, 'six', 'v');
UPDATE shop.plain SET note = 'new' WHERE id = 10;
DELETE FROM shop.plain WHERE id = 3;
DELETE FROM shop.two_keys WHERE a = 5;
INSERT INTO shop.plain VALUES (12, 'end', NULL);
SQL
	wait_for_sql($target, q(SELECT count(*) FROM ours_shop_plain WHERE name = 'end'), 1)
	  or diag $sink->task_state('sink');
	wait_for_sql($target, q(SELECT count(*) FROM ours_shop_two_keys), 1);
	is(join("\n", $target->safe_psql('postgres', "SELECT id, name, note FROM ours_shop_plain ORDER BY id")),
		join("\n", $hub->safe_psql('postgres', "SELECT id, name, note FROM shop.plain ORDER BY id")),
		'the table is the same');
	is(scalar $sink->task_state('sink'), 'RUNNING', 'the sink is content');
	return;
}
