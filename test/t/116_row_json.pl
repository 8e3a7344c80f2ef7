# Rows as JSON, by the code that sinks share: every value of every type is what
# PostgreSQL's own to_jsonb() makes of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;

my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

# bytea is base64 for us; everything else is compared as it is
$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('sad', 'it''s "ok"');
CREATE TYPE kinds.pair AS (a int, "b c" text);
CREATE TYPE kinds.nest AS (p kinds.pair, l kinds.pair[], at timestamptz);
CREATE DOMAIN kinds.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN kinds.list AS int[];
CREATE TABLE kinds.every (
	id int PRIMARY KEY,
	"a ""name"" \ with" text,
	b bool, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision,
	n numeric, n2 numeric(10, 2), t text, vc varchar(20), c char(6), nm name, ch "char",
	d date, ti time, tz timetz, ts timestamp, tsz timestamptz, iv interval,
	u uuid, j json, jb jsonb, o oid, x xml, bi bit(5), vb varbit, ip inet, m macaddr,
	r int4range, mr tstzrange, p point, mood kinds.mood, pair kinds.pair, nest kinds.nest,
	pos kinds.positive, list kinds.list,
	ia int[], ta text[], na numeric[], da date[], tza timestamptz[], pa kinds.pair[], ja jsonb[], ba bool[]);
INSERT INTO kinds.every VALUES (1, 'x', true, -32768, 2147483647, -9223372036854775808, 1.17549435e-38, 1.7976931348623157e308,
	123456789012345678901234567890.123456789, -0.10, E'quote " back \\ nl \n cr \r tab \t bell \x07 del \x7f ü € 𝄞', 'v', 'ab', 'name', 'q',
	'2024-02-29', '23:59:59.999999', '12:34:56.5+05:30', '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00.5+02', '1 year -2 mons 3 days 04:05:06.7',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : [1, 2,
	{"b": null}]}', '{"z": 1e400, "a": "\u00e9\n"}', 4294967295, '<a>b</a>', '10101', '', '10.1.2.3/8', '08:00:2b:01:02:03',
	'[1,10)', '[2024-01-01 00:00+00,)', '(1.5,-2)', 'it''s "ok"', '(1,"x ""y""")', ROW(ROW(NULL, ''), ARRAY[ROW(1, 'a')::kinds.pair, NULL], '2024-01-01 00:00+00'),
	7, '{1,2}', '{{1,2},{3,NULL}}', '{a,NULL,"b c","\"q\\"}', '{1.50,NaN,-3}', '{2024-01-01,infinity}', '{2024-01-01 00:00+02}', ARRAY[ROW(1, 'z')::kinds.pair], ARRAY['{"k": [1]}'::jsonb], '{t,f,NULL}');
INSERT INTO kinds.every (id) VALUES (2);
INSERT INTO kinds.every (id, f4, f8, n, d, ts, tsz, ia, ta, t, "a ""name"" \ with", c, i8) VALUES
	(3, 'NaN', '-Infinity', 'NaN', 'infinity', '-infinity', 'infinity', '{}', '{""}', '', 'y', '', 0),
	(4, 'Infinity', 0.1, '-Infinity', '0044-03-15 BC', '4713-01-01 00:00 BC', '294276-12-31 23:59:59.999999+00', '[2:3]={1,2}', NULL, repeat('long € ', 20000), NULL, 'x     ', 9007199254740993),
	(5, 16777216, 1e-7, 1e-30, '99999-12-31', '12345-01-01', '0001-01-01 00:00+00 BC', '{{{1}},{{2}}}', NULL, E'\u2028\u2029</script>', NULL, NULL, -1),
	(6, 1e10, 1e22, 1.000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE kinds.bytes (id int PRIMARY KEY, b bytea);
INSERT INTO kinds.bytes SELECT g, (SELECT string_agg(set_byte('\x00', 0, (i * 7) % 256), '' ORDER BY i) FROM generate_series(1, g) i)
	FROM generate_series(0, 300) g;
SQL

publish($hub, $kafka, 'out', ['kinds.*'], { topic => '{table}', delivery => 'at_least_once' });
caught_up($hub, 'out');

# The values as the column v of a table of the hub.
sub take
{
	my ($topic) = @_;
	my @records = $kafka->records($topic);
	my $text = join '', map { "INSERT INTO taken VALUES (\$tap\$$_->{value}\$tap\$);\n" } grep { defined $_->{value} } @records;

	# they are bytes, of which Perl must not make characters
	utf8::downgrade($text);
	$hub->safe_psql('postgres', "DROP TABLE IF EXISTS taken; CREATE TABLE taken (v text);\n$text");
	return @records;
}

my @copied = take('every');
is(scalar @copied, 6, 'all rows of the copy');
is($hub->safe_psql('postgres', q(SET TimeZone = 'UTC';
	SELECT row.id FROM kinds.every row JOIN taken ON (v::jsonb ->> 'id')::int = row.id
	WHERE v::jsonb IS DISTINCT FROM to_jsonb(row))), '', 'each is what to_jsonb() makes of it')
  or diag differences();
is($hub->safe_psql('postgres', q(SELECT count(*) FROM taken WHERE v ~ E'[\n\r]')), '0', 'each is one line');
my ($first) = grep { $_->{key} eq '{"id":1}' } @copied;
like($first->{value}, qr/"n":123456789012345678901234567890\.123456789,"n2":-0\.10,/, 'numbers keep their digits');
like($first->{value}, qr/"j":\{"a" : \[1, 2, \s*\{"b": null\}\]\},/, 'json is as it was written, but for line breaks');

# the same from the log
$hub->safe_psql('postgres', 'UPDATE kinds.every SET i4 = coalesce(i4, 0)');
caught_up($hub, 'out');
my @all = take('every');
is(scalar @all, 12, 'all rows of the update');
$hub->safe_psql('postgres', 'DELETE FROM taken WHERE ctid IN (SELECT ctid FROM taken ORDER BY ctid LIMIT 6)');
is($hub->safe_psql('postgres', q(SET TimeZone = 'UTC';
	SELECT row.id FROM kinds.every row JOIN taken ON (v::jsonb ->> 'id')::int = row.id
	WHERE v::jsonb <> to_jsonb(row) - CASE WHEN v::jsonb ? 't' THEN '' ELSE 't' END)), '', 'and from the log, too')
  or diag differences();
is($hub->safe_psql('postgres', q(SELECT string_agg(v::jsonb ->> 'id', ',') FROM taken WHERE NOT v::jsonb ? 't')), '4',
	'a large value that did not change is left out, not null');

take('bytes');
is($hub->safe_psql('postgres', q(SELECT count(*) FROM kinds.bytes JOIN taken ON (v::jsonb ->> 'id')::int = id
	WHERE decode(v::jsonb ->> 'b', 'base64') = b)), '300', 'bytes of any length are base64');
is($hub->safe_psql('postgres', q(SELECT v FROM taken WHERE v::jsonb ->> 'id' = '0')), '{"id":0,"b":null}', 'and null is null');

done_testing();

# Column by column, for the reader of a failure.
sub differences
{
	return $hub->safe_psql('postgres', q(SET TimeZone = 'UTC';
		SELECT row.id, theirs.key, left(theirs.value::text, 200), left((v::jsonb -> theirs.key)::text, 200)
		FROM kinds.every row JOIN taken ON (v::jsonb ->> 'id')::int = row.id, jsonb_each(to_jsonb(row)) theirs
		WHERE theirs.value IS DISTINCT FROM v::jsonb -> theirs.key));
}
