# A file that is replaced is compared with what the hub has: only the differences are
# changes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

sub counters
{
	my ($name) = @_;

	return $hub->safe_psql('postgres',
		"SELECT inserts, updates, deletes FROM tapdata.status WHERE name = '$name'");
}

# --- a nightly extract ----------------------------------------------------------------

my $files = Tapdata::Files->new;
$files->write('customers.csv', "id,name,city\n1,one,Rome\n2,two,\n3,three,Oslo\n");
pull_files($hub, 'crm', $files->uri('customers.csv'), '{"key": "id"}');
caught_up($hub, 'crm');
sql_ok($hub, 'SELECT * FROM crm.customers ORDER BY id', "1|one|Rome\n2|two|\n3|three|Oslo",
	'the first file');
is(counters('crm'), '3|0|0', 'is all new');
sql_ok($hub, "SELECT conname FROM pg_constraint WHERE conrelid = 'crm.customers'::regclass AND contype = 'p'",
	'customers_pkey', 'the key is the primary key');
$hub->safe_psql('postgres', 'CREATE TABLE seen (x xid, id bigint); INSERT INTO seen SELECT xmin, id FROM crm.customers');

$files->write('customers.csv', "id,name,city\n1,one,Rome\n3,three,Bergen\n4,four,Bonn\n");
caught_up($hub, 'crm');
sql_ok($hub, 'SELECT * FROM crm.customers ORDER BY id', "1|one|Rome\n3|three|Bergen\n4|four|Bonn",
	'the next file is the table');
is(counters('crm'), '4|1|1', 'only the differences were applied');
sql_ok($hub, 'SELECT c.id FROM crm.customers c JOIN seen s ON s.id = c.id AND s.x = c.xmin', '1',
	'a row that is the same is not touched');

$files->write('customers.csv', "id,name,city\n4,four,Bonn\n1,one,Rome\n3,three,Bergen\n");
caught_up($hub, 'crm');
is(counters('crm'), '4|1|1', 'the order of rows is no difference');
$hub->safe_psql('postgres', "SELECT tapdata.stop('crm')");
$files->write('customers.csv', "id,name,city,vip\n4,four,,true\n1,one,Rome,false\n");
$hub->safe_psql('postgres', "SELECT tapdata.start('crm')");
caught_up($hub, 'crm');
sql_ok($hub, 'SELECT * FROM crm.customers ORDER BY id', "1|one|Rome|f\n4|four||t",
	'a file that came while the pipeline was stopped, with a column more');
$files->write('customers.csv', "id,name,city,vip\n");
caught_up($hub, 'crm');
sql_ok($hub, 'SELECT count(*) FROM crm.customers', '0', 'a file without rows');
$files->write('customers.csv', "id,name,city,vip\n5,five,Graz,true\n");
caught_up($hub, 'crm');
$files->remove('customers.csv');
caught_up($hub, 'crm');
sql_ok($hub, 'SELECT * FROM crm.customers', '5|five|Graz|t', 'a file that is gone takes nothing with it');

# --- what comes out at the other end is a stream of changes -------------------------------

my $target = Tapdata::Fake::Target->new(holds_position => 1);
$hub->safe_psql('postgres', $target->publish_sql('out', ['crm.customers']));
caught_up($hub, 'out');
$files->write('customers.csv', "id,name,city,vip\n5,five,Wien,true\n6,six,Linz,false\n");
caught_up($hub, 'crm');
caught_up($hub, 'out');
is_deeply($target->rows('crm.customers', 'id'),
	{ 5 => { id => 5, name => 'five', city => 'Wien', vip => 't' },
	  6 => { id => 6, name => 'six', city => 'Linz', vip => 'f' } },
	'differences are published as changes');

# --- the newest of several files ------------------------------------------------------------

my $dated = Tapdata::Files->new;
$dated->write('stock_20260101.jsonl', qq({"sku": "a", "n": 1}\n{"sku": "b", "n": 1}\n));
utime 1_767_225_600, 1_767_225_600, $dated->path('stock_20260101.jsonl');
$dated->write('stock_20260102.jsonl', qq({"sku": "a", "n": 2}\n{"sku": "c", "n": 2}\n));
pull_files($hub, 'stock', $dated->uri('stock_*.jsonl'), '{"key": "sku", "mode": "replace"}');
caught_up($hub, 'stock');
sql_ok($hub, 'SELECT sku, n FROM stock.stock ORDER BY sku', "a|2\nc|2", 'only the newest file counts');
is(counters('stock'), '2|0|0', 'and only it was read');
$dated->write('stock_20260103.jsonl', qq({"sku": "c", "n": 3}\n));
caught_up($hub, 'stock');
sql_ok($hub, 'SELECT sku, n FROM stock.stock', 'c|3', 'the next one replaces it');
$dated->remove('stock_20260103.jsonl');
$hub->safe_psql('postgres', "SELECT tapdata.stop('stock'); SELECT tapdata.start('stock')");
caught_up($hub, 'stock');
sql_ok($hub, 'SELECT sku, n FROM stock.stock', 'c|3', 'an older one does not come back');

# --- several that change: by time, then by name ------------------------------------------------

my $several = Tapdata::Files->new;
my $day = 1_767_225_600;

# Complete, and of that day, when it gets its name.
sub write_of_day
{
	my ($name, $days, $content) = @_;

	$several->write("$name.part", $content);
	utime $day + $days * 86_400, $day + $days * 86_400, $several->path("$name.part") or die $!;
	$several->move("$name.part", $name);
	return;
}

sub stock_is
{
	my ($expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	caught_up($hub, 'several');
	return sql_ok($hub, 'SELECT v FROM several.several', $expected, $name);
}

write_of_day('several_a.csv', 1, "id,v\n1,a\n");
pull_files($hub, 'several', $several->uri('several_*.csv'), '{"key": "id", "mode": "replace"}');
stock_is('a', 'one file');
write_of_day('several_b.csv', 5, "id,v\n1,b\n");
stock_is('b', 'a newer one');
write_of_day('several_a.csv', 3, "id,v\n1,a again\n");
stock_is('b', 'the first one written again is still older');
$hub->safe_psql('postgres', "SELECT tapdata.stop('several'); SELECT tapdata.start('several')");
stock_is('b', 'also after a restart');
write_of_day('several_c.csv', 5, "id,v\n1,c\n");
stock_is('c', 'of one time the last name counts');
write_of_day('several_b.csv', 5, "id,v\n1,b again\n");
stock_is('c', 'not another one');
write_of_day('several_c.csv', 2, "id,v\n1,c of old\n");
stock_is('b again', 'with an older one in the place of the newest, another is the newest');
$hub->safe_psql('postgres', "SELECT tapdata.stop('several')");
write_of_day('several_a.csv', 6, "id,v\n1,a newest\n");
write_of_day('several_c.csv', 7, "id,v\n1,c newest\n");
$hub->safe_psql('postgres', "SELECT tapdata.start('several')");
stock_is('c newest', 'two that changed while nobody looked');
$hub->safe_psql('postgres', "SELECT tapdata.stop('several'); SELECT tapdata.start('several')");
stock_is('c newest', 'the other one does not come later');

# --- an older one in its place: the kernel tells of the move, the time of the file does not ----

my $older = Tapdata::Files->new;
$older->write('older.csv', "id,v\n1,new\n");
pull_files($hub, 'older', $older->uri('older.csv'), '{"key": "id", "settle_ms": 2000}');
caught_up($hub, 'older');
$older->write('older.tmp', "id,v\n1,old\n");
utime 1_767_225_600, 1_767_225_600, $older->path('older.tmp') or die $!;
$older->move('older.tmp', 'older.csv');
caught_up($hub, 'older');
sql_ok($hub, 'SELECT id, v FROM older.older', '1|old', 'wait() waits for a file of a former time');

# --- upsert ------------------------------------------------------------------------------------

my $updates = Tapdata::Files->new;
$updates->write('delta_1.csv', "id,v\n1,a\n2,b\n1,c\n");
pull_files($hub, 'delta', $updates->uri('delta_*.csv'), '{"key": "id"}');
caught_up($hub, 'delta');
sql_ok($hub, 'SELECT * FROM delta.delta ORDER BY id', "1|c\n2|b", 'rows are written over those with their key');
$updates->write('delta_2.csv', "id,v\n2,d\n3,e\n");
$updates->add('delta_1.csv', "3,f\n");
caught_up($hub, 'delta');
sql_ok($hub, "SELECT id, v FROM delta.delta WHERE id < 3 ORDER BY id", "1|c\n2|d", 'from other files too');

# --- a column that turns up in the middle ------------------------------------------------------

# far behind what is looked at to find the columns
my $lists = Tapdata::Files->new;
my $list = join '', map { qq({"id": $_, "note": ") . 'x' x 100 . qq("}\n) } 1 .. 2000;
$lists->write('list.jsonl', $list);
pull_files($hub, 'list', $lists->uri('list.jsonl'), '{"key": "id"}');
caught_up($hub, 'list');
$lists->write('list.jsonl', $list =~ s/\{"id": 7,.*\n//r . qq({"id": 2001, "note": "y", "late": 1.5}\n{"id": 2002, "later": true}\n));
caught_up($hub, 'list');
sql_ok($hub, 'SELECT id, note, late, later FROM list.list WHERE id > 2000 OR id = 7 ORDER BY id',
	"2001|y|1.5|\n2002|||t", 'columns that turn up while a file is compared');
is(counters('list'), '2002|0|1', 'make no difference to the rows before');

# --- what cannot be compared ---------------------------------------------------------------------

$files->write('customers.csv', "id,name,city,vip\n7,seven,Wien,true\n7,again,Linz,false\n");
wait_for_state($hub, 'crm', 'failed');
sql_ok($hub, "SELECT last_error ~ 'several rows with the same key' FROM tapdata.status WHERE name = 'crm'", 't',
	'a key that is there twice is an error');
sql_ok($hub, 'SELECT count(*) FROM crm.customers WHERE id IN (5, 6)', '2', 'and the table stays as it was');
$files->write('customers.csv', "id,name,city,vip\n7,seven,Wien,true\n");
$hub->safe_psql('postgres', "SELECT tapdata.start('crm')");
caught_up($hub, 'crm');
sql_ok($hub, 'SELECT * FROM crm.customers', '7|seven|Wien|t', 'until the file is mended');
sql_fails($hub, "SELECT tapdata.connect('nokey', 'file:///tmp/x.csv', '{\"mode\": \"replace\"}'); SELECT tapdata.discover('nokey')",
	'22023', qr/needs a key.*option "key"/s, 'mode replace needs a key');

# --- a record that cannot be read ---------------------------------------------------------------

my $partly = Tapdata::Files->new;
$partly->write('partly.csv', "id,n\n1,1\n2,2\n3,3\n");
pull_files($hub, 'partly', $partly->uri('partly.csv'), '{"key": "id"}', '{"on_error": "dead_letter"}');
caught_up($hub, 'partly');
$partly->write('partly.csv', "id,n\n1,1\n2,bad\n3,4\n4,4\n");
caught_up($hub, 'partly');
sql_ok($hub, 'SELECT id, n FROM partly.partly ORDER BY id', "1|1\n3|4\n4|4", 'the others are compared');
sql_ok($hub, "SELECT change->>'line', change->>'content' FROM tapdata.dead_letters", "3|2,bad\n", 'and it is a dead letter');

# --- a large one, killed -------------------------------------------------------------------------

sub extract
{
	my ($version) = @_;

	return "id,name,version\n"
	  . join '', map { "$_,name $_," . ($_ % 100 == 0 ? $version : 0) . "\n" } $version .. 100_000 + $version;
}

# --- a file of which only the beginning can be read is not the table --------------------------

for my $case (
	[ 'json', qq([{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]), qq([{"id": 1, "name": "new"}, {"id": 3, ), qq([{"id": 3, "name": "three"}]) ],
	[ 'csv', "id,name\n1,one\n2,two\n", qq(id,name\n1,new\n3,"three\n), "id,name\n3,three\n" ])
{
	my ($format, $whole, $cut, $mended) = @$case;
	my $broken = Tapdata::Files->new;

	$broken->write("cut.$format", $whole);
	pull_files($hub, "cut_$format", $broken->uri("cut.$format"), '{"key": "id", "mode": "replace"}', '{"on_error": "dead_letter"}');
	caught_up($hub, "cut_$format");
	sql_ok($hub, "SELECT id, name FROM cut_$format.cut ORDER BY id", "1|one\n2|two", "$format: a whole file");
	$broken->write("cut.$format", $cut);
	caught_up($hub, "cut_$format");
	sql_ok($hub, "SELECT id, name FROM cut_$format.cut ORDER BY id", "1|one\n2|two", 'one that breaks off changes nothing');
	sql_ok($hub, "SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'cut_$format'", '1', 'is a dead letter');
	sql_ok($hub, "SELECT count(*) FROM tapdata.events WHERE pipeline = 'cut_$format' AND kind = 'file left out'", '1', 'and an event');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('cut_$format'); SELECT tapdata.start('cut_$format')");
	caught_up($hub, "cut_$format");
	sql_ok($hub, "SELECT id, name FROM cut_$format.cut ORDER BY id", "1|one\n2|two", 'nor does it after a restart');
	$broken->write("cut.$format", $mended);
	caught_up($hub, "cut_$format");
	sql_ok($hub, "SELECT id, name FROM cut_$format.cut ORDER BY id", '3|three', 'the next version counts');
}

my $large = Tapdata::Files->new;
$large->write('large.csv', extract(1));
pull_files($hub, 'large', $large->uri('large.csv'), '{"key": "id"}');
for my $version (2 .. 5)
{
	$large->write('large.csv', extract($version));
	my $pid = try_sql($hub, "SELECT pid FROM pg_stat_activity WHERE application_name = 'tapdata pipeline large'");
	select undef, undef, undef, rand 0.4;
	next unless $pid;
	kill_process($hub, $pid);
}
ok(caught_up($hub, 'large', 120), 'a large file is compared, though killed');
sql_ok($hub, 'SELECT count(*), min(id), max(id), max(version), sum(version) FROM large.large',
	'100001|5|100005|5|5000', 'as it is');

done_testing();
