# Bad and hostile files, and those who may not read them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $number = 0;

# A good file to begin with, then a bad one, which must be an error like this and leave no
# row of its transaction.  large: it may have had others before.
sub stops
{
	my ($file, $good, $bad, $options, $pattern, $name, %arguments) = @_;
	my $files = Tapdata::Files->new;
	my $pipeline = 'stop' . ++$number;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$files->write("a_$file", $good);
	pull_files($hub, $pipeline, $files->uri("*_$file"), qq({"table": "t"}'::jsonb || '$options));
	caught_up($hub, $pipeline);
	my $before = $hub->safe_psql('postgres', "SELECT count(*) FROM $pipeline.t");
	$files->write("b_$file", $bad);
	wait_for_state($hub, $pipeline, 'failed');
	like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = '$pipeline'"),
		$pattern, $name);
	sql_ok($hub, "SELECT count(*) FROM $pipeline.t", $before, "$name: nothing of it is stored")
	  unless $arguments{large};
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$pipeline', true)");
	return;
}

# --- records that do not fit ---------------------------------------------------------------

my $csv = "id,name,at\n1,one,2026-01-01\n";
stops('x.csv', $csv, "id,name,at\n2,two,2026-01-02\nthree,three,2026-01-03\n", '{}',
	qr{"id".*File ".*/b_x\.csv", line 3, byte 28\.}s, 'a value that is no number');
stops('x.csv', $csv, "id,name,at\n2,two,2026-02-30\n", '{}', qr/"at".*line 2, byte 11/s, 'no such date');
stops('x.csv', $csv, "id,name,at\n2,two\n", '{}', qr/record has 2 fields instead of 3.*line 2/s, 'too few fields');
stops('x.csv', $csv, "id,name,at\n2,two,2026-01-01,more\n", '{}', qr/record has 4 fields instead of 3.*line 2/s,
	'too many fields');
stops('x.csv', $csv, "id,name,at\n2,\"two,2026-01-01\n3,three,2026-01-03\n", '{}', qr/quote.*line 2/s,
	'a quote that is never closed');
stops('x.csv', $csv, "id,name,at\n2,a\0b,2026-01-01\n", '{}', qr/0x00.*line 2/s, 'a zero byte');
stops('x.csv', $csv, "id,name,at\n2,M\xfcller,2026-01-01\n", '{}', qr/invalid byte sequence.*line 2/s, 'a wrong encoding');
stops('x.csv', $csv, "\xff\xfei\0d\0\n\0", '{}', qr/UTF-16.*b_x\.csv/s, 'UTF-16');
stops('x.csv', $csv, "id,name,at\n2," . ('x' x 5000) . ",2026-01-01\n", '{"max_record_bytes": 2000}',
	qr/2000.*line 2/s, 'a record that is too long');
stops('x.csv', $csv, 'x' x 3_000_000, '{"max_record_bytes": 100000}', qr/100000/, 'a line without an end');

my $jsonl = qq({"id": 1, "a": {"b": 1}}\n);
stops('x.jsonl', $jsonl, qq({"id": 2}\n{"id": 3,}\n), '{}', qr/JSON.*line 2, byte 10/s, 'a line that is not JSON');
stops('x.jsonl', $jsonl, qq([1, 2]\n), '{}', qr/line 1/, 'a line that is no object');
stops('x.jsonl', $jsonl, qq({"id": "x"}\n), '{}', qr/"id".*line 1/s, 'JSON with a value that does not fit');
stops('x.jsonl', $jsonl, '{"a": ' . ('[' x 100_000) . (']' x 100_000) . "}\n", '{}', qr/line 1/, 'JSON that is nested deep');
stops('x.json', "[$jsonl]", qq([{"id": 2}, {"id": 3}), '{}', qr/b_x\.json/, 'an array without an end', large => 1);

# --- compressed files -------------------------------------------------------------------------

my $helper = Tapdata::Files->new;
my $gz = $helper->filtered('gzip -c', "id,name,at\n" . join('', map { "$_,name $_,2026-01-01\n" } 1 .. 10_000));
stops('x.csv', $csv, substr($gz, 0, length($gz) - 100), '{"settle_ms": 10}', qr/ends in the middle|invalid gzip/,
	'a gzip file that was cut off');
my $broken = $gz;
substr($broken, 1000, 20) = 'x' x 20;
stops('x.csv', $csv, $broken, '{}', qr/invalid gzip data.*File/s, 'a gzip file that is broken');
my $bomb = $helper->filtered('gzip -c', "id,name,at\n" . ("1," . ('x' x 10_000) . ",2026-01-01\n") x 8000);
stops('x.csv', $csv, $bomb, '{"max_expansion": 10}', qr/more than 10 times as large.*max_expansion/s,
	'a file that becomes much larger', large => 1);

# --- dead letters --------------------------------------------------------------------------------

my $files = Tapdata::Files->new;
$files->write('mixed.csv', "id,name\n" . join('', map { $_ % 1000 == 500 ? "bad,row $_\n" : "$_,row $_\n" } 1 .. 5000));
$files->write('broken.csv', "id,name\n9001,good\n9002,\"never closed\n9003,x\n");
pull_files($hub, 'letters', $files->uri('*.csv'), '{"table": "t", "columns": {"id": "bigint"}, "header": true}',
	'{"on_error": "dead_letter"}');
$files->write('packed.csv', substr($gz, 0, 200));
ok(caught_up($hub, 'letters'), 'with dead letters the pipeline goes on');
sql_ok($hub, "SELECT count(*) FROM letters.t WHERE id <= 5000 AND name LIKE 'row %'", '4995', 'good rows are stored');
sql_ok($hub, "SELECT count(*) FROM tapdata.dead_letters WHERE change->>'content' LIKE 'bad,row %'", '5', 'bad ones are kept');
like($hub->safe_psql('postgres', "SELECT change, error, sqlstate FROM tapdata.dead_letters WHERE change->>'content' LIKE 'bad,row 500%'"),
	qr{"byte": 6388|"line": 501}, 'with their places');
sql_ok($hub, "SELECT count(*) > 0 FROM tapdata.dead_letters WHERE change->>'file' LIKE '%/broken.csv'", 't',
	'a file that makes no sense from some place on is a dead letter');
sql_ok($hub, "SELECT count(*) FROM letters.t WHERE id = 9001", '1', 'behind what is good of it');
sql_ok($hub, "SELECT count(*) FROM tapdata.dead_letters WHERE change->>'file' LIKE '%/packed.csv'", '1',
	'and so is one that is broken as a whole');
my $letters = $hub->safe_psql('postgres', 'SELECT count(*) FROM tapdata.dead_letters');
$files->write('more.csv', "id,name\n7001,more\n");
caught_up($hub, 'letters');
$hub->safe_psql('postgres', "SELECT tapdata.stop('letters'); SELECT tapdata.start('letters')");
caught_up($hub, 'letters');
sql_ok($hub, 'SELECT count(*) FROM tapdata.dead_letters', $letters, 'each once');

# --- files that are none ----------------------------------------------------------------------------

my $odd = Tapdata::Files->new;
my $secret = Tapdata::Files->new;
$secret->write('secret.csv', "id,name\n666,secret\n");
$odd->write('good.csv', "id,name\n1,one\n");
mkdir $odd->path('folder.csv') or die;
mkfifo($odd->path('pipe.csv'), 0600) or die;
symlink $secret->path('secret.csv'), $odd->path('link.csv') or die;
symlink $odd->path('nowhere'), $odd->path('dangling.csv') or die;
symlink $odd->path('good.csv'), $odd->path('inside.link') or die;
pull_files($hub, 'odd', $odd->uri('*.csv'), '{"table": "t"}');
caught_up($hub, 'odd');
sql_ok($hub, 'SELECT id, name FROM odd.t', '1|one', 'links that lead out, pipes and folders are not read');
sql_ok($hub, q{SELECT count(*) FROM tapdata.events WHERE pipeline = 'odd' AND kind = 'file skipped' AND message ~ 'link\.csv.*outside'},
	'1', 'which the events tell');

# a folder that is a link, and is switched
my $versions = Tapdata::Files->new;
mkdir $versions->path($_) or die for qw(one two);
$versions->write('one/1.csv', "id,name\n1,one\n");
$versions->write('two/2.csv', "id,name\n2,two\n");
symlink $versions->path('one'), $versions->path('current') or die;
pull_files($hub, 'switched', $versions->uri('current/*.csv'), '{"table": "t"}');
caught_up($hub, 'switched');
symlink $versions->path('two'), $versions->path('next') or die;
$versions->move('next', 'current');
caught_up($hub, 'switched');
sql_ok($hub, 'SELECT id, name FROM switched.t ORDER BY id', "1|one\n2|two", 'the files of a folder that is another one now are read');
$hub->safe_psql('postgres', "SELECT tapdata.stop('switched')");

my $junk = Tapdata::Files->new;
$junk->write('good.csv', "id\n1\n");
$junk->write('junk.csv', "\xff\xfej\0u\0n\0k\0");
$hub->safe_psql('postgres', "SELECT tapdata.connect('junk', '" . $junk->uri('') . "', '{\"settle_ms\": 10}')");
sql_fails($hub, "SELECT tapdata.pull('junk', 'junk', '{*}')", '0A000', qr/UTF-16/, 'a file that is no table');
$hub->safe_psql('postgres', "SELECT tapdata.pull('junk', 'junk', '{good}')");
caught_up($hub, 'junk');
sql_ok($hub, 'SELECT id FROM junk.good', '1', 'does no harm to the others of its folder');

# --- who may ------------------------------------------------------------------------------------------

$hub->safe_psql('postgres', q{
	CREATE ROLE someone LOGIN; GRANT ALL ON DATABASE postgres TO someone;
	CREATE ROLE reader LOGIN; GRANT ALL ON DATABASE postgres TO reader; GRANT pg_read_server_files TO reader;
	GRANT USAGE ON SCHEMA tapdata TO someone, reader;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tapdata TO someone, reader});
my $uri = $odd->uri('good.csv');
sql_fails($hub, "SET ROLE someone; SELECT tapdata.connect('mine', '$uri')", '42501', qr/pg_read_server_files/,
	'not everybody may read files of the server');
sql_ok($hub, "SET ROLE reader; SELECT tapdata.connect('rd', '$uri', '{\"settle_ms\": 10}'); SELECT tapdata.pull('rd', 'rd', '{*}')", undef,
	'who may need not be a superuser');
caught_up($hub, 'rd');
sql_ok($hub, 'SELECT id, name FROM rd.good', '1|one', 'and gets the rows');
$hub->safe_psql('postgres', 'REVOKE pg_read_server_files FROM reader');
$odd->add('good.csv', "2,two\n");
wait_for_state($hub, 'rd', 'failed');
sql_ok($hub, 'SELECT id, name FROM rd.good', '1|one', 'whose right was taken away reads no more');
sql_fails($hub, "SET ROLE reader; SELECT * FROM tapdata.discover('rd')", '42501', qr/pg_read_server_files/,
	'nor looks at what is there');

# --- what is wrong at the call --------------------------------------------------------------------------

sql_fails($hub, "SELECT tapdata.connect('u', 'file://host/x.csv')", '22023', qr/names a host.*three slashes/s, 'a host');
sql_fails($hub, "SELECT tapdata.connect('u', 'file:///')", '22023', qr/names no file/, 'no path');
sql_fails($hub, "SELECT tapdata.connect('u', 'file:///a/../b.csv')", '22023', qr/"\.\."/, 'a path that goes up');
sql_fails($hub, "SELECT tapdata.connect('u', 'file:///x.csv', '{\"delimiter\": \"ab\"}')", '22023', qr/one-byte/, 'a long delimiter');
sql_fails($hub, "SELECT tapdata.connect('u', 'file:///x.csv', '{\"encoding\": \"KLINGON\"}')", '22023', qr/KLINGON/, 'no such encoding');
sql_fails($hub, "SELECT tapdata.connect('u', 'file:///x.csv', '{\"columns\": {\"a\": 1}}')", '22023', qr/columns/, 'columns that are none');
sql_fails($hub, "SELECT tapdata.connect('u', 'file:///x/', '{\"tables\": {\"a\": {\"files\": \"x\", \"nosuch\": 1}}}')", '22023',
	qr/"nosuch" is not an option of a table/, 'a table with an unknown option');
$hub->safe_psql('postgres', "SELECT tapdata.connect('optional', '$uri')");
for my $option ('"snapshot": "never"', '"snapshot": "initial"', '"workers": 4', '"chunk_rows": 10', '"indexes": false')
{
	sql_fails($hub, "SELECT tapdata.pull('optional', 'optional', '{*}', options => '{$option}')", '22023',
		qr/has no effect with connector "file"\n.*DETAIL:.*stream of records.*HINT:  Valid options are: ddl,/s, "$option, which files do not have");
}
sql_ok($hub, "SELECT tapdata.connect('none', 'file:///nosuch/folder/x.csv')", undef, 'a folder that is not there yet');
sql_ok($hub, "SELECT check_name, ok FROM tapdata.test_connection('none') ORDER BY ok, 1", "folder|f\nprivilege|t",
	'is said by test_connection');
sql_fails($hub, "SELECT tapdata.pull('none', 'none', '{*}')", '58P01', qr{/nosuch/folder}, 'and pull');
my $empty = Tapdata::Files->new;
$hub->safe_psql('postgres', "SELECT tapdata.connect('empty', '" . $empty->uri('e*.csv') . q{', '{"settle_ms": 10}')});
sql_fails($hub, "SELECT tapdata.pull('empty', 'empty', '{*}')", '58P01', qr/at least one file.*"columns"/s, 'a folder without a file');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_connection('empty', options => '{"columns": {"id": "int"}}');
	SELECT tapdata.pull('empty', 'empty', '{*}')});
$empty->write('e1.csv', "id\n7\n");
caught_up($hub, 'empty');
sql_ok($hub, 'SELECT id FROM empty.e', '7', 'will do if the columns are given');
sql_fails($hub, "SELECT tapdata.connect('k', '$uri', '{\"key\": \"nosuch\"}'); SELECT * FROM tapdata.discover('k')", '42703',
	qr/"nosuch"/, 'a key that is no column');

done_testing();
