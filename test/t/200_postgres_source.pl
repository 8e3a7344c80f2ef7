# PostgreSQL as a source: types, the first copy, every kind of change; at the end the
# hub is what the source is.

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
my $source = new_source('source');

# ---------------------------------------------------------------------
# Types: a value reads the same after the copy and after the stream
# ---------------------------------------------------------------------

my %values = (
	smallint => [ '-32768', '32767' ],
	integer => [ '-2147483648', '2147483647' ],
	bigint => [ '-9223372036854775808', '9223372036854775807' ],
	numeric => [ '1e-50', '12345678901234567890.123456789', 'NaN', 'Infinity' ],
	'numeric(10,3)' => [ '-1234567.891', '0.000' ],
	real => [ '1.1', 'NaN', '-Infinity', '3.4028235e38' ],
	'double precision' => [ '0.1', '5e-324', '1.7976931348623157e308' ],
	money => [ '-92233720368547758.08', '12.34' ],
	text => [ '', 'ünïcödé 漢字 😀', "tab\tnewline\nback\\slash \\N" ],
	'varchar(5)' => [ 'abcde', '  x  ' ],
	'character(4)' => [ 'ab', '' ],
	'"char"' => ['x'],
	name => ['some_name'],
	bytea => [ '\x', '\x00ff5c27' ],
	timestamp => [ '2000-01-01 00:00:00.000001', 'infinity', '0044-03-15 12:00:00 BC' ],
	timestamptz => [ '1999-12-31 23:59:60+00', '-infinity' ],
	'timestamp(0)' => ['2024-02-29 12:34:56'],
	date => [ '0001-01-01', '5874897-12-31', 'infinity' ],
	time => [ '24:00:00', '23:59:59.999999' ],
	timetz => ['12:00:00+15:59'],
	interval => [ '-1 year -2 mons +3 days -04:05:06.789', '178000000 years' ],
	boolean => [ 't', 'f' ],
	point => ['(1.1,-2.2)'],
	line => ['{1,2,3}'],
	lseg => ['[(1,2),(3,4)]'],
	box => ['(3,4),(1,2)'],
	path => [ '((1,2),(3,4))', '[(1,2),(3,4)]' ],
	polygon => ['((1,2),(3,4),(5,6))'],
	circle => ['<(1,2),3>'],
	inet => [ '::1/128', '192.168.0.1/24' ],
	cidr => ['10.0.0.0/8'],
	macaddr => ['08:00:2b:01:02:03'],
	macaddr8 => ['08:00:2b:01:02:03:04:05'],
	'bit(3)' => ['101'],
	'bit varying' => [ '', '1010101010101' ],
	tsvector => [q('a':1A 'b c':2)],
	tsquery => [q('a' & !'b')],
	uuid => ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
	xml => ['<a>&lt;</a>'],
	json => [ '{"b": 1,  "a": [2, null]}', 'null' ],
	jsonb => [ '{"a": [1, 2.50, "x"]}', '"\u00e9"' ],
	jsonpath => ['$."a"[*]'],
	pg_lsn => ['16/B374D848'],
	int4range => [ '[1,5)', 'empty', '(,)' ],
	numrange => ['(1.5,2.5]'],
	tstzrange => ['["2024-01-01 00:00:00+00",)'],
	'integer[]' => [ '{}', '{1,NULL,3}', '[2:3]={7,8}', '{{1,2},{3,4}}' ],
	'text[]' => [ '{a,"b c",NULL,"NULL","\\\\"}' ],
	'numeric(5,2)[]' => ['{1.10,2.20}'],
	oid => ['4294967295'],
	regclass => ['pg_class'],
	'regtype[]' => ['{integer,text}'],
	's.mood' => [ 'happy', 'so so' ],
	's.mood[]' => ['{happy,"so so"}'],
	's.positive' => ['42'],
	's.short' => ['abc'],
	's.short[]' => ['{abc,d}'],
	's.pair' => [ '(1,"a b")', '(,)' ],
	's.pair[]' => [ '{"(1,x)"}' ],
	's.floats' => ['[1.5,2.5)'],
	's.floats[]' => ['{"[1.5,2.5)",empty}'],
	's.multifloats' => ['{[1.5,2.5),[3,4)}'],
	's."Odd type"' => ['x'],
	's.mood_domain' => ['happy'],
	's.nested' => [ '(happy,"{1,2}","(1,x)")' ],
	's.moods' => ['[happy,"so so"]'],
	citext => ['CaSe'],
	hstore => ['"a"=>"1", "b"=>NULL'],
	'hstore[]' => ['{"\\"k\\"=>\\"v\\""}'],
);
my $multirange_name = ', multirange_type_name = s.multifloats';
if ($source->pg_version < 14)
{
	delete $values{'s.multifloats'};
	$values{numeric} = [ grep { $_ ne 'Infinity' } @{ $values{numeric} } ];
	$multirange_name = '';
}
my @types = sort keys %values;

# Made alike in the source for the copy, and after it for the stream.
sub create_types
{
	$source->safe_psql('postgres', qq(
		CREATE SCHEMA s;
		CREATE TYPE s.mood AS ENUM ('happy', 'so so');
		CREATE TYPE s."Odd type" AS ENUM ('x');
		CREATE DOMAIN s.positive AS integer CHECK (VALUE > 0);
		CREATE DOMAIN s.short AS varchar(3);
		CREATE TYPE s.pair AS (a int, b text);
		CREATE TYPE s.floats AS RANGE (subtype = float8$multirange_name);
		CREATE DOMAIN s.mood_domain AS s.mood;
		CREATE TYPE s.nested AS (m s.mood, n int[], p s.pair);
		CREATE TYPE s.moods AS RANGE (subtype = s.mood);
		COMMENT ON TYPE s.mood IS 'how it''s';
		COMMENT ON DOMAIN s.short IS 'three';
		CREATE EXTENSION hstore;
		CREATE EXTENSION citext;
	));
	$source->safe_psql('postgres', join '', map { "CREATE TABLE s.t$_ (id serial PRIMARY KEY, v $types[$_]);\n" } 0 .. $#types);
	insert_values();
	return;
}

sub insert_values
{
	my @inserts;

	for my $i (0 .. $#types)
	{
		my $list = join ', ', map { my $v = $_; $v =~ s/'/''/g; "('$v'::$types[$i])" } @{ $values{ $types[$i] } };
		push @inserts, "INSERT INTO s.t$i (v) VALUES $list, (NULL);\n";
	}
	$source->safe_psql('postgres', join '', @inserts);
	return;
}

# By number of the type, its rows.
sub rows_of_types
{
	my ($node, $schema) = @_;
	my %rows;

	for (split /\x1e/, $node->safe_psql('postgres', join ' UNION ALL ',
			map { "SELECT concat_ws('|', $_, id, coalesce(v::text, 'NULL')) || E'\\x1e' FROM $schema.t$_" } 0 .. $#types))
	{
		my ($i, $row) = /^\s*(\d+)\|(.*)$/s or next;
		push @{ $rows{$i} }, $row;
	}
	return map { join "\n", sort @{ $rows{$_} || [] } } 0 .. $#types;
}

create_types();
$hub->safe_psql('postgres', 'CREATE EXTENSION hstore');
connect_source($hub, $source, 'src');
my %pipelines = (types => 'h', made => 'm');
pull_from($hub, 'types', 'src', ['s.t*'], 'h');
pull_from($hub, 'made', 'src', ['s.t*'], 'm', '{"types": "create"}');

sub same_types
{
	my ($what) = @_;

	for my $pipeline (sort keys %pipelines)
	{
		caught_up($hub, $pipeline);
		my @there = rows_of_types($source, 's');
		my @here = rows_of_types($hub, $pipelines{$pipeline});

		ok(!(grep { $_ eq '' } @there), 'there is something of each type');
		is($here[$_], $there[$_], "$what of $types[$_] in $pipeline") for 0 .. $#types;
	}
	return;
}

same_types('copy');
insert_values();
$source->safe_psql('postgres', join '', map { "UPDATE s.t$_ SET v = (SELECT v FROM s.t$_ ORDER BY id LIMIT 1) WHERE v IS NULL;\n" } 0 .. $#types);
same_types('stream');

sub type_in_hub
{
	my ($schema, $type) = @_;
	my ($i) = grep { $types[$_] eq $type } 0 .. $#types;

	return $hub->safe_psql('postgres', "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '$schema.t$i'::regclass AND attname = 'v'");
}

for (
	[ 'numeric(10,3)', 'numeric(10,3)', 'numeric(10,3)' ], [ 's.mood', 'text', 'm.mood' ],
	[ 's.mood[]', 'text[]', 'm.mood[]' ], [ 's.positive', 'integer', 'm.positive' ],
	[ 's.short', 'character varying(3)', 'm.short' ], [ 's.short[]', 'character varying(3)[]', 'm.short[]' ],
	[ 's.pair', 'text', 'm.pair' ], [ 's.nested', 'text', 'm.nested' ], [ 's.floats', 'text', 'm.floats' ],
	[ 's.multifloats', 'text', 'm.multifloats' ], [ 's.moods', 'text', 'm.moods' ], [ 's."Odd type"', 'text', 'm."Odd type"' ],
	[ 'int4range', 'int4range', 'int4range' ], [ 'regclass', 'text', 'text' ],
	[ 'hstore', 'hstore', 'hstore' ], [ 'citext', 'text', 'text' ])
{
	my ($type, $as_text, $made) = @$_;

	next if !$values{$type};
	is(type_in_hub('h', $type), $as_text, "$type becomes $as_text");
	is(type_in_hub('m', $type), $made, "$type becomes $made where types are made");
}
is($hub->safe_psql('postgres', "SELECT count(DISTINCT message) FROM tapdata.events WHERE message LIKE '%extension \"citext\" is text%'"), 1,
	'tapdata.events tells what is text for want of an extension');
is($hub->safe_psql('postgres', "SELECT obj_description('m.mood'::regtype, 'pg_type') || ', ' || obj_description('m.short'::regtype, 'pg_type')"),
	"how it's, three", 'types keep their comments');

# types that grow while they are followed
my ($moods) = grep { $types[$_] eq 's.mood' } 0 .. $#types;
my ($nested) = grep { $types[$_] eq 's.nested' } 0 .. $#types;
my ($pairs) = grep { $types[$_] eq 's.pair' } 0 .. $#types;
at_source($source,
	"INSERT INTO s.t$moods (v) VALUES ('happy')",
	"ALTER TYPE s.mood ADD VALUE 'it''s new' BEFORE 'happy'",
	"ALTER TYPE s.mood ADD VALUE 'better' AFTER 'happy'",
	"ALTER TYPE s.mood ADD VALUE 'last'",
	"INSERT INTO s.t$moods (v) VALUES ('it''s new'), ('last')",
	"ALTER TYPE s.pair ADD ATTRIBUTE c s.mood",
	"INSERT INTO s.t$pairs (v) VALUES ((1, 'x', 'better'))");
caught_up($hub, $_) for sort keys %pipelines;
same_as_source($hub, $source, "s.t$moods", "h.t$moods", 'labels that came later, as text', 'id, v::text');
same_as_source($hub, $source, "s.t$_", "m.t$_", "stream of $types[$_], which grew", 'id, v::text') for $moods, $pairs, $nested;
is($hub->safe_psql('postgres', "SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = 'm.mood'::regtype"),
	"it's new,happy,better,so so,last", 'labels are in the order of the source');
at_source($source,
	"ALTER TYPE s.mood ADD VALUE 'worst'",
	"ALTER TABLE s.t$moods ADD w s.mood DEFAULT 'worst'",
	"CREATE TYPE s.colour AS ENUM ('red')",
	"ALTER TABLE s.t$pairs ADD colour s.colour DEFAULT 'red'",
	"INSERT INTO s.t$moods DEFAULT VALUES",
	"INSERT INTO s.t$pairs DEFAULT VALUES");
caught_up($hub, 'made');
same_as_source($hub, $source, "s.t$moods", "m.t$moods", 'a column added with a label that is new');
same_as_source($hub, $source, "s.t$pairs", "m.t$pairs", 'a column added with a type that is new');

# another type has the name already, or another's type
$hub->safe_psql('postgres', q(
	CREATE SCHEMA taken;
	CREATE TYPE taken.mood AS (happy bool);
	CREATE TYPE taken.pair AS (a int, c text);
	CREATE ROLE other;
	CREATE DOMAIN taken.positive AS integer CHECK (VALUE > 100);
	ALTER DOMAIN taken.positive OWNER TO other;
));
my ($positive) = grep { $types[$_] eq 's.positive' } 0 .. $#types;
pull_from($hub, 'taken', 'src', [ map { "s.t$_" } $moods, $pairs, $positive ], 'taken', '{"types": "create"}');
caught_up($hub, 'taken');
is(join(' ', map { type_in_hub('taken', $_) } 's.mood', 's.pair', 's.positive'), 'text text integer', 'a type of the hub is not taken for another one');
is($hub->safe_psql('postgres', "SELECT count(DISTINCT message) FROM tapdata.events WHERE pipeline = 'taken' AND message LIKE '%is not made in the hub%'"), 3,
	'tapdata.events tells of each');
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('taken', true); SELECT tapdata.drop_pipeline('made', true)");
$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('types', true)");
is($source->safe_psql('postgres', "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)"),
	'0', 'a dropped pipeline leaves neither slot nor publication');

# ---------------------------------------------------------------------
# The first copy in many chunks, under load, and each kind of change
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE SCHEMA d;
	CREATE TABLE d.plain (id bigint PRIMARY KEY, a int, b text, c jsonb, d int[]);
	CREATE TABLE d.two_keys (k1 text, k2 uuid, k3 date, v text, PRIMARY KEY (k3, k1, k2));
	CREATE TABLE d.only_key (a int, b int, PRIMARY KEY (a, b));
	CREATE TABLE d.quoted (k text COLLATE "C" PRIMARY KEY, v int);
	CREATE TABLE d.no_key (a int, b text);
	ALTER TABLE d.no_key REPLICA IDENTITY FULL;
	CREATE TABLE d.full_row (id int PRIMARY KEY, big text, small int);
	ALTER TABLE d.full_row REPLICA IDENTITY FULL;
	CREATE TABLE d.by_index (id int PRIMARY KEY, k1 int NOT NULL, k2 text NOT NULL, v text);
	CREATE UNIQUE INDEX by_index_k ON d.by_index (k2, k1);
	ALTER TABLE d.by_index REPLICA IDENTITY USING INDEX by_index_k;
	CREATE TABLE d.wide (id int PRIMARY KEY, big text, small int, other text);
	ALTER TABLE d.wide ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE d.parted (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	CREATE TABLE d.parted_a PARTITION OF d.parted FOR VALUES IN ('a');
	CREATE TABLE d.parted_b PARTITION OF d.parted FOR VALUES IN ('b');
	CREATE TABLE d.computed (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);
	CREATE TABLE d."Odd ""name" ("Key" int PRIMARY KEY, "select" text, "a\b" text);
	CREATE TABLE d.unlogged (id int PRIMARY KEY);
	ALTER TABLE d.unlogged SET UNLOGGED;
	CREATE INDEX plain_b ON d.plain (b);
	INSERT INTO d.plain SELECT i, i, 'name ' || i, jsonb_build_object('i', i), ARRAY[i, NULL] FROM generate_series(1, 20000) i;
	INSERT INTO d.two_keys SELECT 'k' || i % 7, gen_random_uuid(), '2024-01-01'::date + i % 13, E'a\tb\\\\c\nd\re' FROM generate_series(1, 3000) i;
	INSERT INTO d.quoted SELECT E'it''s \\ "' || i, i FROM generate_series(1, 2500) i;
	INSERT INTO d.no_key SELECT i / 2, 'x' FROM generate_series(1, 2000) i;
	INSERT INTO d.no_key SELECT NULL, NULL FROM generate_series(1, 3);
	INSERT INTO d.by_index SELECT i, i, 'k' || i, 'v' FROM generate_series(1, 20) i;
	INSERT INTO d.parted SELECT i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, 'v' FROM generate_series(1, 5000) i;
	INSERT INTO d.wide SELECT i, repeat(md5(i::text), 500), i, 'other' FROM generate_series(1, 20) i;
	INSERT INTO d.full_row SELECT i, repeat(md5(i::text), 500), i FROM generate_series(1, 20) i;
	INSERT INTO d.computed SELECT i, i FROM generate_series(1, 10) i;
	INSERT INTO d."Odd ""name" VALUES (1, 'first', '\\');
	ANALYZE;
));
my %columns = ('d.computed' => 'id, a');
my @tables = (
	'd.plain', 'd.two_keys', 'd.only_key', 'd.quoted', 'd.no_key', 'd.full_row', 'd.by_index',
	'd.wide', 'd.parted', 'd.computed', 'd."Odd ""name"');

sub all_same
{
	my ($what) = @_;

	same_as_source($hub, $source, $_, $_, "$what of $_", $columns{$_}) for @tables;
	return;
}

# rows that move between chunks while they are copied
my $mover = $source->background_psql('postgres');
$mover->query_until(qr/^started/m, qq(\\echo started\n));
$mover->{stdin} .= "UPDATE d.plain SET id = -id - 100000, a = a + 1 WHERE id % 20 = $_ AND id > 0;\n" . "UPDATE d.plain SET id = -id - 100000 WHERE id % 20 = 0 AND id < 0;\n" for 1 .. 15;
$mover->{run}->pump_nb;
pull_from($hub, 'p', 'src', ['d.*'], 'd', '{"chunk_rows": 1000, "workers": 3}');
$mover->quit;
caught_up($hub, 'p');
all_same('copy');
is($hub->safe_psql('postgres', "SELECT count(*) FROM tapdata.tables WHERE source_table LIKE '%parted%'"), 1,
	'a partitioned table is one table');
is($hub->safe_psql('postgres', "SELECT count(*) FROM pg_indexes WHERE schemaname = 'd' AND tablename = 'plain'"), 2,
	'indexes are built');

$source->safe_psql('postgres', q(
	BEGIN;
	INSERT INTO d.plain VALUES (1000001, 1, 'one', '{}', '{}'), (1000002, NULL, NULL, NULL, NULL);
	UPDATE d.plain SET a = a + 1, c = NULL WHERE a < 100;
	SAVEPOINT x;
	DELETE FROM d.plain;
	ROLLBACK TO x;
	DELETE FROM d.plain WHERE a BETWEEN 200 AND 300;
	UPDATE d.plain SET id = id + 10000000 WHERE a BETWEEN 400 AND 450;
	COMMIT;
	UPDATE d.two_keys SET v = 'changed' WHERE k1 < 'k3';
	UPDATE d.two_keys SET k1 = 'new' || k1 WHERE k1 > 'k5';
	DELETE FROM d.two_keys WHERE k1 = 'k4';
	INSERT INTO d.only_key VALUES (1, 1), (1, 2), (2, 1);
	UPDATE d.only_key SET b = 3 WHERE b = 2;
	DELETE FROM d.only_key WHERE a = 2;
	UPDATE d.quoted SET k = k || '''', v = 0 WHERE v < 10;
	UPDATE d.no_key SET b = 'y' WHERE a = 5;
	DELETE FROM d.no_key WHERE ctid IN (SELECT ctid FROM d.no_key WHERE a = 7 OR a IS NULL LIMIT 2);
	INSERT INTO d.no_key SELECT 7, 'x' FROM generate_series(1, 3);
	UPDATE d.full_row SET small = 5 WHERE id = 1;
	UPDATE d.full_row SET id = 200 WHERE id = 2;
	DELETE FROM d.full_row WHERE id = 3;
	UPDATE d.by_index SET id = id + 1000 WHERE id < 5;
	UPDATE d.by_index SET k1 = k1 + 1000, v = 'w' WHERE id BETWEEN 5 AND 9;
	DELETE FROM d.by_index WHERE id = 10;
	UPDATE d.wide SET small = -1 WHERE id < 5;
	UPDATE d.wide SET id = id + 100 WHERE id BETWEEN 5 AND 8;
	UPDATE d.wide SET big = 'short' WHERE id = 9;
	UPDATE d.parted SET region = 'b' WHERE id = 2;
	UPDATE d.parted SET v = 'w' WHERE id < 20;
	DELETE FROM d.parted WHERE id = 4;
	UPDATE d.computed SET a = 100 WHERE id = 1;
	UPDATE d."Odd ""name" SET "select" = 'second', "a\b" = NULL;
));
caught_up($hub, 'p');
all_same('changes');
sql_becomes($hub, "SELECT state FROM tapdata.status WHERE name = 'p'", 'streaming', 'it streams');

# a replica identity that changes on the way
at_source($source, 'CREATE TABLE d.identities (id int PRIMARY KEY, k int NOT NULL, v text)', 'CREATE UNIQUE INDEX identities_k ON d.identities (k)');
$hub->safe_psql('postgres', "SELECT tapdata.add_tables('p', ARRAY['d.identities'])");
caught_up($hub, 'p');
push @tables, 'd.identities';
my ($round, $code, $out, $err) = (0);
for my $identity ('DEFAULT', 'FULL', 'USING INDEX identities_k', 'DEFAULT', 'USING INDEX identities_k', 'FULL')
{
	$round++;
	at_source($source,
		"ALTER TABLE d.identities REPLICA IDENTITY $identity",
		"INSERT INTO d.identities SELECT $round * 100 + i, -$round * 100 - i, repeat('x', 3000) FROM generate_series(1, 10) i",
		"UPDATE d.identities SET v = v || '$round' WHERE id % 10 = 2",
		"UPDATE d.identities SET id = id + 50, k = k - 50 WHERE id = $round * 100 + 3",
		"UPDATE d.identities SET id = id + 50 WHERE id = $round * 100 + 4",
		"DELETE FROM d.identities WHERE id % 10 = 5");
}
at_source($source, 'ALTER TABLE d.identities REPLICA IDENTITY NOTHING', "INSERT INTO d.identities VALUES (10000, 1, 'x')");
($code, $out, $err) = $source->psql('postgres', 'DELETE FROM d.identities');
like($err, qr/does not have a replica identity/, 'without an identity it is the source that refuses');
at_source($source, 'ALTER TABLE d.identities REPLICA IDENTITY DEFAULT');
caught_up($hub, 'p');
all_same('replica identities');

# an idle pipeline lets go of the source's log
$source->safe_psql('postgres', q(CREATE TABLE other (i int); INSERT INTO other SELECT generate_series(1, 1000)));
my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
ok($source->poll_query_until('postgres', "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots"),
	'what others write is confirmed, so that no log piles up');

# ---------------------------------------------------------------------
# Tables that come later, are copied again, or go
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE TABLE d.late (id int PRIMARY KEY, v text);
	INSERT INTO d.late SELECT i, 'v' FROM generate_series(1, 5000) i;
	CREATE TABLE d.late_no_key (v int);
	ALTER TABLE d.late_no_key REPLICA IDENTITY FULL;
	INSERT INTO d.late_no_key SELECT i % 3 FROM generate_series(1, 50) i;
));
$hub->safe_psql('postgres', "SELECT tapdata.add_tables('p', ARRAY['d.late', 'd.late_no_key'])");
$source->safe_psql('postgres', "UPDATE d.late SET v = 'w' WHERE id % 3 = 0; DELETE FROM d.late WHERE id % 7 = 0; INSERT INTO d.late_no_key VALUES (1), (1)");
caught_up($hub, 'p');
push @tables, 'd.late', 'd.late_no_key';
all_same('a table added later');
ok($source->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_replication_slots"),
	'slots of tables that joined are dropped');
# one whose values the stream cannot have in binary form
$source->safe_psql('postgres', q(CREATE TABLE d.late_types (id int PRIMARY KEY, m s.mood[]); INSERT INTO d.late_types VALUES (1, '{happy}')));
$hub->safe_psql('postgres', "SELECT tapdata.add_tables('p', ARRAY['d.late_types'])");
caught_up($hub, 'p');
$source->safe_psql('postgres', q(INSERT INTO d.late_types VALUES (2, '{"so so"}'); UPDATE d.late_types SET m = NULL WHERE id = 1));
caught_up($hub, 'p');
push @tables, 'd.late_types';
all_same('a table of other types added later');
$hub->safe_psql('postgres', "DELETE FROM d.late; SELECT tapdata.resync('p', 'd.late')");
$source->safe_psql('postgres', "UPDATE d.late SET v = 'x' WHERE id % 5 = 0");
caught_up($hub, 'p');
all_same('resync of one');
$hub->safe_psql('postgres', "SELECT tapdata.resync('p')");
$source->safe_psql('postgres', "UPDATE d.late SET v = 'y' WHERE id % 5 = 1");
caught_up($hub, 'p');
all_same('resync of all');

# ---------------------------------------------------------------------
# Sequences, discovery, checks
# ---------------------------------------------------------------------

$source->safe_psql('postgres', q(
	CREATE TABLE d.numbered (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n serial);
	INSERT INTO d.numbered SELECT FROM generate_series(1, 7);
	CREATE TABLE d.steps (id int GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 10) PRIMARY KEY, down int NOT NULL GENERATED ALWAYS AS IDENTITY (INCREMENT -1), later smallserial);
	INSERT INTO d.steps (later) VALUES (1), (2);
));
$hub->safe_psql('postgres', "SELECT tapdata.add_tables('p', ARRAY['d.numbered', 'd.steps'])");
caught_up($hub, 'p');
is($hub->safe_psql('postgres', "SELECT string_agg(column_name || ' ' || coalesce(last_value::text, ''), ', ' ORDER BY column_name, last_value) FROM tapdata.sync_sequences('p')"),
	'down -2, id 7, id 15, later , n 7', 'sequences are brought along');
$source->safe_psql('postgres', 'INSERT INTO d.steps DEFAULT VALUES');
caught_up($hub, 'p');
$hub->safe_psql('postgres', "SELECT tapdata.sync_sequences('p')");
stop_pipeline($hub, 'p');
is($hub->safe_psql('postgres', 'INSERT INTO d.steps DEFAULT VALUES RETURNING id, down, later; DELETE FROM d.steps WHERE id = 35'),
	$source->safe_psql('postgres', 'BEGIN; INSERT INTO d.steps DEFAULT VALUES RETURNING id, down, later; ROLLBACK'),
	'and again; they go on as those of the source would');
$source->safe_psql('postgres', 'CREATE ROLE no_sequences LOGIN REPLICATION; GRANT USAGE ON SCHEMA d TO no_sequences; GRANT SELECT ON ALL TABLES IN SCHEMA d TO no_sequences');
$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('src', '" . Tapdata::Postgres::target_uri($source, user => 'no_sequences') . "')");
($code, $out, $err) = $hub->psql('postgres', "SELECT tapdata.sync_sequences('p')");
like($err, qr/sequence d\.\w+ of the source may not be read.*GRANT SELECT ON SEQUENCE d\.\w+ TO "?no_sequences/s, 'a sequence that may not be read is an error');
reconnect_source($hub, $source, 'src');
$hub->safe_psql('postgres', "SELECT tapdata.start('p')");
caught_up($hub, 'p');
is($hub->safe_psql('postgres', "SELECT key_columns FROM tapdata.discover('src', 'd.by_index')"), '{k2,k1}',
	'discover() tells the key that changes go by');
is($hub->safe_psql('postgres', "SELECT string_agg(check_name, ',') FROM tapdata.test_connection('src') WHERE NOT ok AND check_name LIKE 'source%' AND check_name <> 'source_retention'"),
	'', 'test_connection() finds nothing missing');

$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('p', true)");
is($source->safe_psql('postgres', "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)"),
	'0', 'nothing is left at the source');

done_testing();
