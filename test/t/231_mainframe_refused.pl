# Bad mainframe records and bad copybooks: what is said of them, and what is read all the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('mainframe_refused', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $json = JSON::PP->new->canonical->allow_nonref;
my $pipelines = 0;
my $copybook = '01 R. 05 ID PIC 9(4). 05 AMOUNT PIC S9(5) COMP-3. 05 N PIC 9. 05 T OCCURS 0 TO 3 DEPENDING ON N PIC X(2).';

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# A record of that copybook, by its id.
sub record
{
	my ($id, @table) = @_;
	return sprintf('%04d', $id) . pack('H*', '12345c') . scalar(@table) . join('', @table);
}

sub rdw
{
	return join '', map { pack('n x2', length($_) + 4) . $_ } @_;
}

# Pulls a file under on_error = dead_letter; returns its rows, and the dead letters.
sub pulled
{
	my ($content, %options) = @_;
	my $files = Tapdata::Files->new;
	my $name = 'p' . ++$pipelines;

	$files->write('t.bin', $content);
	pull_files($hub, $name, $files->uri('t.bin'),
		$json->encode({ code_page => 'ASCII', copybook_text => $copybook, settle_ms => 0, %options }),
		'{"on_error": "dead_letter"}');
	caught_up($hub, $name);
	my $rows = sql("SELECT string_agg(to_jsonb(r)::text, ' ' ORDER BY id) FROM $name.t r");
	my $letters = sql("SELECT string_agg(sqlstate || ' ' || error || ' ' || coalesce(change->'content'->>'hex', ''), E'\n')
		FROM tapdata.dead_letters WHERE pipeline = '$name'");
	sql("SELECT tapdata.drop_pipeline('$name', true); SELECT tapdata.disconnect('$name')");
	return ($rows, $letters);
}

# Of three records the middle one is bad: the others are stored, and what is said of it matches.
sub one_bad
{
	my ($bad, $pattern, $name, %options) = @_;
	my ($rows, $letters) = pulled(rdw(record(1, 'aa'), $bad, record(3)), format => 'rdw', %options);

	like($rows, qr/^\{.*"id": 1,.*\} \{.*"id": 3,.*\}$/, "$name: the others are stored");
	unlike($rows, qr/"id": 2/, "$name: it is not");
	my $hex = uc unpack 'H*', rdw($bad);
	like($letters, qr/^22\w+ .*record 2 at byte 14: $pattern.*\Q$hex\E$/s, "$name: it is a dead letter with its bytes");
	return;
}

# --- records that do not fit ------------------------------------------------------------------

one_bad('00x2' . pack('H*', '12345c') . '0', qr/field ID is no zoned decimal number: X'30307832'/, 'a letter in a number');
one_bad('0002' . pack('H*', '1234ff') . '0', qr/field AMOUNT is no packed decimal number: X'1234FF'/, 'a packed number without sign');
one_bad('0002   0', qr/field AMOUNT is no packed decimal number: X'202020'/, 'spaces in a packed number');
one_bad(record(2) =~ s/0$/4/r, qr/field T occurs 4 times by N, but 0 to 3 times by the copybook/, 'a table that is too long');
one_bad(record(2) =~ s/0$/x/r, qr/field N is no zoned decimal number/, 'its length that is no number');
one_bad(record(2) =~ s/0$/2aa/r, qr/field T is behind the end of the record, which has 10 bytes/, 'a record that is too short');
one_bad(record(2) . 'more', qr/it has 12 bytes, but the copybook describes 8/, 'a record that is too long');
one_bad(record(2, "a\0", "b\xE4"), qr/field T has no character of code page ASCII at byte 1 of it: X'62E4'/, 'a byte that is no character');

my ($rows, $letters) = pulled(rdw(record(1), '0002   1', record(3) . 'more'),
	format => 'rdw', lengths => 'lenient', empty_numbers => 'null');
is($rows, '{"n": 0, "t": [], "id": 1, "amount": 12345} {"n": 1, "t": [], "id": 2, "amount": null} '
	. '{"n": 0, "t": [], "id": 3, "amount": 12345}', 'lenient: what is missing is NULL, what is more is left out');
is($letters, '', 'and there is no dead letter');

# --- files that do not fit -----------------------------------------------------------------------

($rows, $letters) = pulled(rdw(record(1)) . "\1\2\3\4abcd" . rdw(record(3)), format => 'rdw');
like($rows, qr/^\{[^}]*"id": 1,[^}]*\}$/, 'no descriptor word: what was before it is stored');
like($letters, qr/record 2 at byte 12: X'01020304' is no descriptor word/, 'and it is named');

my $fixed = '01 R. 05 ID PIC 9(4). 05 X PIC X(4).';
($rows, $letters) = pulled('0001abcd0002efgh0003', format => 'fixed', copybook_text => $fixed);
is($rows, '{"x": "abcd", "id": 1} {"x": "efgh", "id": 2}', 'a file that ends within a record');
like($letters, qr/record 3 at byte 16: the file ends within it, after 4 bytes/, 'the rest is a dead letter');
($rows, $letters) = pulled('0001abcd----0002efgh----', format => 'fixed', copybook_text => $fixed, record_length => 12);
is($rows, '{"x": "abcd", "id": 1} {"x": "efgh", "id": 2}', 'records longer than the copybook by record_length');

my $growing = Tapdata::Files->new;
$growing->write('t.bin', '0001abcd0002');
pull_files($hub, 'growing', $growing->uri('t.bin'), $json->encode({ format => 'fixed', code_page => 'ASCII', copybook_text => $fixed }),
	'{"on_error": "dead_letter"}');
wait_for_sql($hub, "SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'growing'", '1');
$growing->add('t.bin', 'efgh0003ijkl');
wait_for_sql($hub, "SELECT string_agg(id || x, ' ' ORDER BY id) FROM growing.t", '1abcd 2efgh 3ijkl');
is(sql("SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'growing'"), '1', 'a record that comes late is read from its beginning');

# --- encodings -----------------------------------------------------------------------------------------

($rows) = pulled(pack('H*', 'f0f0f0f1' . 'd4d09393' . 'f0f0f0f2' . 'c0d04040'),
	format => 'fixed', copybook_text => $fixed, code_page => 'IBM273');
is($rows, "{\"x\": \"M\xC3\xBCll\", \"id\": 1} {\"x\": \"\xC3\xA4\xC3\xBC\", \"id\": 2}", 'a page of single bytes');
my $texts = '01 R. 05 ID PIC 9(4). 05 X PIC X(6). 05 N PIC N(2). 05 G PIC G(2) DISPLAY-1.';
my $japanese = pack('H*', 'f0f0f0f1' . 'c10e44810fc2' . '00e420ac' . '44814482')
	. pack('H*', 'f0f0f0f2' . 'c10effff0f40' . '00410042' . '44814040');
($rows, $letters) = pulled($japanese, format => 'fixed', copybook_text => $texts, code_page => 'IBM939');
is($rows, "{\"g\": \"\xE3\x81\x82\xE3\x81\x84\", \"n\": \"\xC3\xA4\xE2\x82\xAC\", \"x\": \"A\xE3\x81\x82B\", \"id\": 1}",
	'shifts, UTF-16 and double bytes');
like($letters, qr/record 2 at byte 18: field X has no character of code page IBM939 at byte \d of it: X'C10EFFFF0F40'/, 'a byte that is none in it');

sql('CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE "C" LC_CTYPE "C"');
$hub->safe_psql('latin', 'CREATE EXTENSION tapdata');
my $latin = Tapdata::Files->new;
$latin->write('t.bin', pack('H*', 'f0f0f0f1' . 'd4d09393' . 'f0f0f0f2' . '9f404040' . 'f0f0f0f3' . 'd6948140'));
$hub->safe_psql('latin', "SELECT tapdata.connect('l', '" . $latin->uri('t.bin') . "', '" . $json->encode({ format => 'fixed',
		code_page => 'IBM1141', settle_ms => 0, copybook_text => $fixed }) . "');
	SELECT tapdata.pull('l', 'l', '{*}', options => '{\"on_error\": \"dead_letter\"}')");
caught_up($hub, 'l', undef, 'latin');
is($hub->safe_psql('latin', q{SELECT string_agg(id || ' ' || encode(convert_to(x, 'UTF8'), 'hex'), ', ' ORDER BY id) FROM l.t}),
	'1 4dc3bc6c6c, 3 4f6d61', 'a database in LATIN1');
like($hub->safe_psql('latin', 'SELECT sqlstate, error FROM tapdata.dead_letters'),
	qr/22P05\|record 2 at byte 8: field X cannot be stored in this database: .*no equivalent/, 'which has no euro sign');

# --- copybooks and options --------------------------------------------------------------------------

# The pipeline is refused: with this SQLSTATE and message. An option that is undef is not given.
sub refused
{
	my ($options, $sqlstate, $pattern, $name) = @_;
	my $files = Tapdata::Files->new;
	my %all = (format => 'fixed', code_page => 'ASCII', %$options);

	delete @all{ grep { !defined $all{$_} } keys %all };
	my $given = $json->encode(\%all) =~ s/'/''/gr;
	$files->write('t.bin', '12345678');
	return sql_fails($hub, "SELECT tapdata.connect('refused', '" . $files->uri('t.bin') . "', '$given');
		SELECT * FROM tapdata.discover('refused'); SELECT tapdata.disconnect('refused')", $sqlstate, $pattern, $name)
	  && $hub->psql('postgres', "SELECT tapdata.disconnect('refused')");
}

refused({}, '22023', qr/need one copybook/, 'no copybook');
refused({ copybook_text => '01 R. 05 A PIC X(8).', format => undef }, '22023', qr/has a copybook, but no "format".*fixed, rdw/s, 'no format');
refused({ copybook_text => "01 R.\n 05 A REDEFINES B PIC X.\n 05 B REDEFINES A PIC X." }, '22023',
	qr/copybook, line 2, column 17: B cannot be redefined here/, 'a cycle of REDEFINES');
refused({ copybook_text => "01 R.\n 05 A PIC X(8" }, '22023', qr/line 2, column 11: the picture X\(8 has no number/, 'a picture');
refused({ copybook_text => '01 R. 05 A OCCURS 16000000 TIMES. 10 B PIC X(100).' }, '22023', qr/at most 16 megabytes/, 'a huge table');
refused({ copybook_text => '01 R. ' . join(' ', map { "05 A$_ PIC X." } 1 .. 1601) }, '22023', qr/1600/, 'too many columns');
refused({ copybook_text => '01 R. COPY X REPLACING A BY B.' }, '22023', qr/COPY is not followed.*HINT/s, 'COPY REPLACING');
refused({ copybook_text => '01 R. 05 A PIC X. 05 B REDEFINES A PIC 9.', redefines => { B => 'C = 1' } }, '22023',
	qr/no item C/, 'a condition on nothing');
refused({ copybook_text => '01 R. 05 A PIC X(8).', redefines => { A => 'A = 1' } }, '22023', qr/shares its place with no other/, 'no REDEFINES');
refused({ copybook_text => '01 R. 05 A PIC X(8).', redefines => ['A'] }, '22023', qr/"redefines" is not valid/, 'no object');
refused({ copybook_text => '01 R. 05 A PIC X(8).', code_page => 'IBM0' }, '22023', qr/not a code page.*iconv/s, 'a code page');
refused({ copybook => 'here.cpy' }, '22023', qr/not an absolute path/, 'a relative path');
refused({ copybook => '/nonexistent/here.cpy' }, '58P01', qr/could not open copybook/, 'a file that is not there');
refused({ copybook => '/' }, '22023', qr/no regular file/, 'a file that is none');
refused({ copybook_text => '01 A. 05 X PIC X. 01 B. 05 Y PIC X.' }, '22023', qr/not the only record.*"redefines"/s, 'two records');

my $files = Tapdata::Files->new;
$files->write('t.cpy', $fixed);
sql('CREATE ROLE someone LOGIN; GRANT ALL ON DATABASE postgres TO someone; GRANT USAGE ON SCHEMA tapdata TO someone');
sql_fails($hub, "SET ROLE someone; SELECT tapdata.connect('mine', 'file:///x', '{\"copybook\": \"" . $files->path('t.cpy') . "\"}')",
	'42501', qr/pg_read_server_files/, 'not everybody may name a copybook');

# --- a copybook that changes under a pipeline ---------------------------------------------------------

$files->write('t_1.bin', '0001abcd');
pull_files($hub, 'kept', $files->uri('t_*.bin'),
	$json->encode({ format => 'fixed', code_page => 'ASCII', copybook => $files->path('t.cpy'), settle_ms => 0, key => 'id' }));
caught_up($hub, 'kept');
$files->write('t.cpy', '01 R. 05 ID PIC 9(4). 05 X PIC X(3). 05 Z PIC X.');
$files->add('t_1.bin', '0002efgh');
sql("SELECT tapdata.stop('kept'); SELECT tapdata.start('kept')");
caught_up($hub, 'kept');
is(sql('SELECT string_agg(t::text, $$ $$ ORDER BY id) FROM kept.t'), '(1,abcd) (2,efgh)', 'a file keeps the copybook it was begun with');
$files->write('t_2.bin', '0003ijkl');
caught_up($hub, 'kept');
is(sql('SELECT string_agg(t::text, $$ $$ ORDER BY id) FROM kept.t'), '(1,abcd,) (2,efgh,) (3,ijk,l)',
	'the next file is read by the new one, with a column more');

done_testing();
