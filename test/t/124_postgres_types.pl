
# Every type of PostgreSQL at a PostgreSQL target: a row that is copied, the same
# row as an insert, and as an update are bit for bit what the hub holds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres;
use Tapdata::Test;
use Test::More;

# column, its type, its values as SQL; the rows are made of the n-th values of all
# columns, NULL behind the last
my @types = (
	[c_bool => 'boolean', 'true', 'false'],
	[c_char1 => '"char"', q('x'), q('')],
	[c_int2 => 'smallint', -32768, 32767],
	[c_int4 => 'integer', -2147483648, 2147483647],
	[c_int8 => 'bigint', q('-9223372036854775808'), '9223372036854775807'],
	[c_oid => 'oid', 0, 4294967295],
	[c_float4 => 'real', q('1.1'), q('-0'), q('NaN'), q('Infinity'), q('1.17549435e-38')],
	[c_float8 => 'double precision', q('1.1'), q('-0'), q('-Infinity'), q('2.2250738585072014e-308'), '0.1::float8 + 0.2'],
	[c_numeric => 'numeric', q('1.000'), q('-0.00000000000000000000000001'), q('NaN'), q('Infinity'), q('1e1000')],
	[c_numeric_s => 'numeric(12,2)', q('1234567890.12'), q('-0.01')],
	[c_numeric_0 => 'numeric(20)', q('18446744073709551615'), '0'],
	[c_money => 'money', q('123.45'), q('-0.01')],
	[c_text => 'text', q('plain'), q(''), q(E'tab\\t newline\\n return\\r back\\\\slash \\\\N "quote" ''single'''), q(U&'zo\00eb \+01F600')],
	[c_varchar => 'varchar(10)', q('ten chars.'), q('trail ')],
	[c_bpchar => 'character(10)', q('padded'), q('')],
	[c_name => 'name', q('a name'), q('')],
	[c_bytea => 'bytea', q('\x00ff5c5c0a'), q('\x')],
	[c_long => 'text', q(repeat('long ', 20000)), q(repeat(md5('a'), 5000))],
	[c_long_bytea => 'bytea', q(decode(repeat(md5('b'), 5000), 'hex'))],
	[c_date => 'date', q('2024-02-29'), q('0044-03-15 BC'), q('infinity'), q('-infinity')],
	[c_time => 'time', q('23:59:59.999999'), q('24:00:00')],
	[c_time3 => 'time(3)', q('23:59:59.999')],
	[c_timetz => 'timetz', q('12:00:00.5+14'), q('12:00:00-15:59')],
	[c_timestamp => 'timestamp', q('2024-03-31 02:30:00.000001'), q('infinity'), q('4713-01-01 00:00:00 BC')],
	[c_timestamp0 => 'timestamp(0)', q('2024-03-31 02:30:00')],
	[c_timestamptz => 'timestamptz', q('2024-03-31 02:30:00.000001+02'), q('-infinity'), q('294276-12-31 23:59:59+00')],
	[c_interval => 'interval', q('1 year 2 mons -3 days 04:05:06.789'), q('-178000000 years'), q('24 hours')],
	[c_interval_ds => 'interval day to second(3)', q('3 days 04:05:06.789')],
	[c_uuid => 'uuid', q('00000000-0000-0000-0000-000000000000'), q('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')],
	[c_json => 'json', q('{"b": 1,  "a": [1, 2.00, null]}'), q('"x"')],
	[c_jsonb => 'jsonb', q('{"b": 1,  "a": [1, 2.00, null]}'), q('null')],
	[c_jsonpath => 'jsonpath', q('$.a[*] ? (@ > 1)')],
	[c_xml => 'xml', q('<?xml version="1.0" encoding="utf-8"?><a>&lt;x/></a>'), q('<b/>text')],
	[c_inet => 'inet', q('192.168.0.1/24'), q('::1')],
	[c_cidr => 'cidr', q('10.0.0.0/8'), q('2001:db8::/32')],
	[c_macaddr => 'macaddr', q('08:00:2b:01:02:03')],
	[c_macaddr8 => 'macaddr8', q('08:00:2b:01:02:03:04:05')],
	[c_bit => 'bit(5)', q(B'10101')],
	[c_varbit => 'bit varying(10)', q(B'101'), q(B'')],
	[c_point => 'point', q('(1.5,-2)')],
	[c_line => 'line', q('{1,-1,0}')],
	[c_lseg => 'lseg', q('[(0,0),(1,1)]')],
	[c_box => 'box', q('(1,1),(0,0)')],
	[c_path => 'path', q('[(0,0),(1,1),(2,0)]'), q('((0,0),(1,1))')],
	[c_polygon => 'polygon', q('((0,0),(1,1),(2,0))')],
	[c_circle => 'circle', q('<(1,2),3>')],
	[c_tsvector => 'tsvector', q('''a'':1A ''b'':2,3B')],
	[c_tsquery => 'tsquery', q('''a'' & !''b'':*')],
	[c_int4range => 'int4range', q{'[1,10)'}, q('empty'), q('(,)')],
	[c_numrange => 'numrange', q{'(1.0,2.50]'}],
	[c_tstzrange => 'tstzrange', q{'[2024-01-01 00:00+00,infinity)'}],
	[c_daterange => 'daterange', q{'[2024-01-01,2024-02-01)'}],
	[c_multirange => 'int4multirange', q<'{[1,3),[5,7)}'>, q('{}')],
	[c_pg_lsn => 'pg_lsn', q('16/B374D848')],
	[c_xid8 => 'xid8', q('18446744073709551615')],
	[c_snapshot => 'pg_snapshot', q('10:20:10,14,15')],
	[c_regclass => 'regclass', q('pg_class'), q('t.types')],
	[c_regtype => 'regtype', q('integer'), q('numeric')],
	[c_int_array => 'integer[]', q('{1,NULL,3}'), q('{{1,2},{3,4}}'), q('[0:1]={1,2}'), q('{}')],
	[c_text_array => 'text[]', q(ARRAY['a,b', 'c"d', E'e\\\\f', NULL, 'NULL', '', '{}'])],
	[c_numeric_array => 'numeric(6,2)[]', q('{1.50,-2.25}')],
	[c_timestamptz_array => 'timestamptz[]', q('{"2024-03-31 02:30:00.5+02"}')],
	[c_bytea_array => 'bytea[]', q(ARRAY['\x00ff'::bytea])],
	[c_enum => 't.mood', q('sad'), q('it''s "ok"')],
	[c_enum_array => 't.mood[]', q('{sad,NULL}')],
	[c_domain => 't.positive', 5],
	[c_domain_array => 't.numbers', q('{1,2}')],
	[c_composite => 't.pair', q(ROW(1, 'a,"b')), q(ROW(NULL, ''))],
	[c_composite_array => 't.pair[]', q(ARRAY[ROW(1, 'x')::t.pair, NULL])],
	[c_range => 't.floats', q('[1.5,2.5]')],
);

my $type_sql = q(
	CREATE SCHEMA t;
	CREATE TYPE t.mood AS ENUM ('sad', 'it''s "ok"', 'happy');
	CREATE DOMAIN t.positive AS integer CHECK (VALUE > 0);
	CREATE DOMAIN t.numbers AS integer[];
	CREATE TYPE t.pair AS (a integer, b text);
	CREATE TYPE t.floats AS RANGE (subtype = float8););

my $hub = new_hub('hub', q(
datestyle = 'German, DMY'
intervalstyle = 'iso_8601'
extra_float_digits = -5
bytea_output = 'escape'
timezone = 'America/St_Johns'));
my $target = new_target('target', q(
datestyle = 'SQL, DMY'
intervalstyle = 'sql_standard'
timezone = 'Asia/Kathmandu'));

if ($target->pg_version < 14)
{
	@types = grep { $_->[1] ne 'int4multirange' } @types;
	for my $type (@types)
	{
		$type = [ grep { $_ ne q('Infinity') } @$type ] if $type->[1] eq 'numeric';
	}
}

# oids of types made by users differ
$target->safe_psql('postgres', 'CREATE TYPE pg_temp.unused AS ENUM (); ' . $type_sql);
$hub->safe_psql('postgres', "$type_sql CREATE TYPE t.other AS ENUM ();");
connect_target($hub, $target, 'copy');

my $columns = join ', ', map { "$_->[0] $_->[1]" } @types;
$hub->safe_psql('postgres',
	"CREATE TABLE t.types (id int PRIMARY KEY, $columns); CREATE TABLE t.later (LIKE t.types INCLUDING ALL);");

sub insert_rows
{
	my ($table) = @_;
	my $rows = 0;

	for my $type (@types)
	{
		$rows = @$type - 2 if @$type - 2 > $rows;
	}
	for my $row (0 .. $rows)
	{
		my $values = join ', ', map { defined $_->[ $row + 2 ] ? $_->[ $row + 2 ] : 'NULL' } @types;

		$hub->safe_psql('postgres', "SET timezone = 'UTC'; INSERT INTO $table VALUES ($row, $values)");
	}
	return;
}

# regclass columns name a table that must be there
$target->safe_psql('postgres', "CREATE TABLE t.types (id int PRIMARY KEY, $columns)");
insert_rows('t.types');
publish($hub, 'p', 'copy', [ 't.types', 't.later' ]);
delivered($hub, 'p');
same_as_hub($hub, $target, 't.types', name => 'all types: copied');

insert_rows('t.later');
delivered($hub, 'p');
same_as_hub($hub, $target, 't.later', name => 'all types: inserted');

my $assignments = join ', ', map { "$_->[0] = o.$_->[0]" } @types;
$hub->safe_psql('postgres', qq(
	BEGIN;
	INSERT INTO t.later (id) SELECT id + 100 FROM t.types;
	COMMIT;
	UPDATE t.later l SET $assignments FROM t.types o WHERE l.id = o.id + 100;));
delivered($hub, 'p');
same_as_hub($hub, $target, 't.later', name => 'all types: updated');

# the definitions are the same, too
my $definition = q(SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull, E'\n' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 't.later'::regclass AND attnum > 0);
is($target->safe_psql('postgres', $definition), $hub->safe_psql('postgres', $definition),
	'columns are created with the types of the hub');

# each type as a key, where it can be one
my @keys = grep { my $type = $_->[1];
	!grep { $type eq $_ } qw(json xml jsonpath point line lseg box path polygon circle pg_snapshot) }
  grep { $_->[0] !~ /long/ } @types;
$hub->safe_psql('postgres', join '',
	'CREATE SCHEMA k;',
	map { "CREATE TABLE k.$_->[0] (k $_->[1] PRIMARY KEY, v int); " } @keys);
$target->safe_psql('postgres', 'CREATE SCHEMA k');
publish($hub, 'k', 'copy', ['k.*']);
delivered($hub, 'k');
$hub->safe_psql('postgres', join '',
	"SET timezone = 'UTC';",
	map {
		my ($name, $type, $first, $second) = @$_;
		"INSERT INTO k.$name VALUES ($first, 1); UPDATE k.$name SET v = 2; "
		  . (defined $second ? "UPDATE k.$name SET k = $second; INSERT INTO k.$name VALUES ($first, 3); DELETE FROM k.$name WHERE v = 2; " : '')
		  . "UPDATE k.$name SET v = v + 10; "
	} @keys);
delivered($hub, 'k');
my @differing = grep { rows_of($hub, "k.$_->[0]") ne rows_of($target, "k.$_->[0]") } @keys;
is(join(', ', map { $_->[0] } @differing), '', scalar(@keys) . ' types as keys');
sql_becomes($hub, "SELECT count(*) FROM tapdata.status WHERE state <> 'streaming' OR restarts > 0", 0,
	'nothing failed');

# ---------------------------------------------------------------------
# Other encodings
# ---------------------------------------------------------------------

my $latin = new_hub('latin', '', extra => [ '--encoding=LATIN1', '--no-locale' ]);
connect_target($latin, $target, 'copy');
$latin->safe_psql('postgres', q(
	CREATE SCHEMA latin;
	CREATE TABLE latin.t (id int PRIMARY KEY, v text, c varchar(3), a text[], j jsonb, x xml);
	INSERT INTO latin.t VALUES (1, chr(228) || chr(246), chr(252), ARRAY[chr(223)], to_jsonb(chr(233)), ('<a>' || chr(233) || '</a>')::xml);));
publish($latin, 'latin', 'copy', ['latin.*']);
delivered($latin, 'latin');
$latin->safe_psql('postgres', 'INSERT INTO latin.t SELECT 2, v, c, a, j, x FROM latin.t; UPDATE latin.t SET v = v || chr(255) WHERE id = 1');
delivered($latin, 'latin');
is($target->safe_psql('postgres', q(
		SELECT id, v = U&'\00e4\00f6' || CASE id WHEN 1 THEN U&'\00ff' ELSE '' END, c = U&'\00fc', a[1] = U&'\00df', j #>> '{}' = U&'\00e9', x::text = U&'<a>\00e9</a>'
		FROM latin.t ORDER BY id)), "1|t|t|t|t|t\n2|t|t|t|t|t", 'a hub in LATIN1');

done_testing();
