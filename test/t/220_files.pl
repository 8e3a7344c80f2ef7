# Files of all formats, dialects, encodings and compressions become rows, with types that
# lose nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('files', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

sub types_of
{
	my ($table) = @_;

	return $hub->safe_psql('postgres', qq(
		SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped));
}

# Pull one file with this content, and wait for it.
my $number = 0;

sub pull_one
{
	my ($file, $content, $options) = @_;
	my $files = Tapdata::Files->new;
	my $name = 'p' . ++$number;

	$files->write($file, $content);
	pull_files($hub, $name, $files->uri($file), $options);
	caught_up($hub, $name);
	return $name;
}

# --- types, never lossy ---------------------------------------------------------------

my $p = pull_one('types.csv', <<'CSV');
id,zip,big,price,flag,day,at,zone,uid,note,mixed,empty
1,01234,9223372036854775807,1.50,true,2026-01-31,2026-01-31 12:00:00.123456,2026-01-31T12:00:00+02:00,6f1c7a2e-1a5b-4c7b-9a57-0a3f1f3c2b11,"a ""quoted"", text",12,
2,99999,9223372036854775808,100,false,2024-02-29,2024-02-29 23:59:59,2024-02-29T00:00:00Z,00000000-0000-0000-0000-000000000000,"two
lines",x,
3,,,,,,,,,"",,
CSV
is(types_of("$p.types"),
	'id bigint, zip text, big numeric, price numeric, flag boolean, day date, '
	  . 'at timestamp without time zone, zone timestamp with time zone, uid uuid, note text, mixed text, empty text',
	'types are found in the file');
sql_ok($hub, "SET timezone = 'UTC'; SELECT * FROM $p.types ORDER BY id",
	"1|01234|9223372036854775807|1.50|t|2026-01-31|2026-01-31 12:00:00.123456|2026-01-31 10:00:00+00|6f1c7a2e-1a5b-4c7b-9a57-0a3f1f3c2b11|a \"quoted\", text|12|\n"
	  . "2|99999|9223372036854775808|100|f|2024-02-29|2024-02-29 23:59:59|2024-02-29 00:00:00+00|00000000-0000-0000-0000-000000000000|two\nlines|x|\n"
	  . "3|||||||||||", 'values arrive as they were written');
sql_ok($hub, "SELECT note IS NULL, empty IS NULL FROM $p.types WHERE id = 3", 'f|t',
	'a quoted empty field is empty, an unquoted one NULL');

$p = pull_one('given.csv', "a;b;c\n1;2;3\n4;5;n/a\n",
	'{"columns": {"b": "numeric(10,2)", "c": "integer"}, "null": "n/a", "table": "mine"}');
is(types_of("$p.mine"), 'b numeric(10,2), c integer, a bigint', 'types can be given, and so can a name');
sql_ok($hub, "SELECT a, b, c IS NULL FROM $p.mine ORDER BY a", "1|2.00|f\n4|5.00|t", 'and text for NULL');

# --- dialects --------------------------------------------------------------------------

my %dialects = (
	comma => "id,name\n1,one\n2,two\n",
	semicolon => "id;name\n1;one\n2;two\n",
	tab => "id\tname\n1\tone\n2\ttwo\n",
	bar => "id|name\n1|one\n2|two\n",
	crlf => "id,name\r\n1,one\r\n2,two\r\n",
	quoted => "\"id\",\"name\"\n\"1\",\"one\"\n\"2\",\"two\"\n",
	bom => "\xef\xbb\xbfid,name\n1,one\n2,two\n",
	'no_end' => "id,name\n1,one\n2,two",
	blank_lines => "id,name\n\n1,one\n\n2,two\n\n");
for my $dialect (sort keys %dialects)
{
	$p = pull_one("$dialect.csv", $dialects{$dialect});
	sql_ok($hub, "SELECT id, name FROM $p.$dialect ORDER BY id", "1|one\n2|two", "dialect: $dialect");
}
$p = pull_one('bare.csv', "1,2026-01-01\n2,2026-01-02\n");
sql_ok($hub, "SELECT column1, column2 FROM $p.bare ORDER BY 1", "1|2026-01-01\n2|2026-01-02",
	'columns without a header');
$p = pull_one('odd.csv', "# made by hand\n# twice\nid^name\n1^'o^ne'\n2^'t\\'wo'\n",
	q({"skip_rows": 2, "delimiter": "^", "quote": "''", "escape": "\\\\"}));
sql_ok($hub, "SELECT id, name FROM $p.odd ORDER BY id", "1|o^ne\n2|t'wo", 'a dialect that is given');
$p = pull_one('headers.csv', "x,y\na,b\n", '{"header": false}');
sql_ok($hub, "SELECT column1, column2 FROM $p.headers ORDER BY 1", "a|b\nx|y", 'a header that is none');
$p = pull_one('latin.csv', "id,name\n1,M\xfcller\n2,\xa4\n", '{"encoding": "LATIN1"}');
sql_ok($hub, "SELECT name FROM $p.latin ORDER BY id", "M\xc3\xbcller\n\xc2\xa4", 'another encoding');
$p = pull_one('utf8.csv', "id,name\n1,M\xc3\xbcller \xf0\x9f\x90\x98\n");
sql_ok($hub, "SELECT name FROM $p.utf8", "M\xc3\xbcller \xf0\x9f\x90\x98", 'UTF-8');

# --- JSON ------------------------------------------------------------------------------

my $values = q({"id": 1, "name": "one", "price": 1.50, "tags": ["a", {"b": null}], "at": "2026-01-31T12:00:00Z"}
{"id": 2, "name": null, "price": 1e2, "tags": {}, "at": "2026-01-31T12:00:00+01:00", "late": true}
);
$p = pull_one('lines.jsonl', $values);
is(types_of("$p.lines"),
	'id bigint, name text, price numeric, tags jsonb, at timestamp with time zone, late boolean',
	'types of JSON');
my $rows = qq(1|one|1.50|["a", {"b": null}]|2026-01-31 12:00:00+00|\n2||100|{}|2026-01-31 11:00:00+00|t);
sql_ok($hub, "SET timezone = 'UTC'; SELECT * FROM $p.lines ORDER BY id", $rows, 'JSON lines');
my $array = '[' . join(",\n", split /\n/, $values) . "]\n";
$p = pull_one('array.json', $array);
sql_ok($hub, "SET timezone = 'UTC'; SELECT * FROM $p.array ORDER BY id", $rows, 'a JSON array');
$p = pull_one('loose.json', $values =~ s/, "name"/,\n  "name"/gr);
sql_ok($hub, "SET timezone = 'UTC'; SELECT * FROM $p.loose ORDER BY id", $rows, 'JSON values over several lines');
$p = pull_one('nosuffix', $values);
sql_ok($hub, "SET timezone = 'UTC'; SELECT * FROM $p.nosuffix ORDER BY id", $rows, 'a format found by the content');

# more than a sample, so that a field turns up late
my $many = join '', map { qq({"id": $_, "note": ") . ('x' x 100) . qq("}\n) } 1 .. 2000;
$p = pull_one('late.jsonl', $many . qq({"id": 2001, "late": 1.25, "note": null}\n));
sql_ok($hub, "SELECT count(*), count(late), max(late) FROM $p.late", '2001|1|1.25',
	'a field that is met late becomes a column');
is(types_of("$p.late"), 'id bigint, note text, late numeric', 'of its type');

# --- compression -----------------------------------------------------------------------

my $big = "id,note\n" . join '', map { "$_,note number $_\n" } 1 .. 200_000;
my $helper = Tapdata::Files->new;
for my $kind ([ 'gzip -c', 'gz' ], [ 'zstd -c', 'zst' ])
{
	my ($command, $suffix) = @$kind;

  SKIP:
	{
		skip "no $command", 2 if system("command -v " . (split ' ', $command)[0] . " >/dev/null") != 0;
		$p = pull_one("packed.csv.$suffix", $helper->filtered($command, $big));
		sql_ok($hub, "SELECT count(*), sum(id), count(DISTINCT note) FROM $p.packed",
			'200000|20000100000|200000', "$suffix");
		$p = pull_one("twice_$suffix.csv",
			$helper->filtered($command, "id\n1\n") . $helper->filtered($command, "2\n3\n"));
		sql_ok($hub, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM $p.twice_$suffix", '1 2 3',
			"$suffix in several pieces, whatever the name says");
	}
}

# What is added to a compressed file is read to its last byte, when it has settled.
my $grown = Tapdata::Files->new;
$grown->write('grown.csv.gz', $grown->filtered('gzip -c', "id\n1\n"));
pull_files($hub, 'grown', $grown->uri('grown.csv.gz'));
caught_up($hub, 'grown');
$grown->add('grown.csv.gz', $grown->filtered('gzip -c', "2\n3"));
caught_up($hub, 'grown');
sql_ok($hub, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM grown.grown", '1 2 3', 'a compressed file that grows, without a line end');

# --- several tables --------------------------------------------------------------------

my $files = Tapdata::Files->new;
$files->write('orders_1.csv', "id,item\n1,a\n");
$files->write('orders_2.csv', "item,id,extra\nb,2,new\n");
$files->write('items.jsonl', qq({"item": "a", "price": 1}\n{"item": "a", "price": 2}\n));
pull_files($hub, 'several', $files->uri(''),
	'{"tables": {"orders": "orders_*.csv", "items": {"files": "items.*", "key": "item", "mode": "upsert"}}}');
caught_up($hub, 'several');
sql_ok($hub, 'SELECT id, item, extra FROM several.orders ORDER BY id', "1|a|\n2|b|new",
	'files of one table by the names of their columns, whatever their order');
sql_ok($hub, 'SELECT item, price FROM several.items', 'a|2', 'options of one table');

my $folder = Tapdata::Files->new;
$folder->write('one.csv', "a\n1\n");
$folder->write('two.jsonl', qq({"b": 2}\n));
pull_files($hub, 'folder', $folder->uri(''));
caught_up($hub, 'folder');
sql_ok($hub, 'SELECT a, b FROM folder.one, folder.two', '1|2', 'a folder: each file is a table');

# nothing tells the columns of a file that is empty yet
$folder->write('three.csv', '');
caught_up($hub, 'folder');
sql_becomes($hub, "SELECT state FROM tapdata.status WHERE name = 'folder'", 'streaming', 'an empty file is no table yet');
$folder->write('three.csv', "c\n3\n");
caught_up($hub, 'folder');
wait_for_sql($hub, "SELECT count(*) FROM pg_tables WHERE schemaname = 'folder'", '3');
caught_up($hub, 'folder');
sql_ok($hub, 'SELECT c FROM folder.three', '3', 'and so is one that comes later');

done_testing();
