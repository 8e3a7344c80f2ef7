# A transaction of the source may change more tables than the hub has buffers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $tables = 200;
my $hub = new_hub('buffers', "shared_buffers = 1MB\ntapdata.max_tables = 500\n");
my $source = Tapdata::Fake->new(map { "t$_" } 1 .. $tables);

# What the hub's tables hold, each of them the same.
sub contents_are
{
	my ($expected, $name) = @_;

	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT DISTINCT rows FROM (' . join(' UNION ALL ', map {
		"SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), 'none') AS rows FROM p.t$_ t" } 1 .. $tables) . ') x',
		$expected, $name);
	return;
}

$source->fill("t$_", 1, 2) for 1 .. $tables;
$hub->safe_psql('postgres', $source->pull_sql('p'));
caught_up($hub, 'p');

# rows that are looked for, rows that wait to be written together, and both in turns
$source->txn(map { "update t$_ 1 one" } 1 .. $tables);
contents_are('(1,one) (2,"value 2")', 'updates');
$source->txn(map { ("insert t$_ 3 three", "insert t$_ 4 four") } 1 .. $tables);
contents_are('(1,one) (2,"value 2") (3,three) (4,four)', 'inserts');
$source->txn(
	(map { ("update t$_ 2 two", "insert t$_ 5 five") } 1 .. $tables),
	(map { ("delete t$_ 3", "update t$_ 5 cinque") } 1 .. $tables));
contents_are('(1,one) (2,two) (4,four) (5,cinque)', 'updates, inserts and deletes');
sql_ok($hub, q{SELECT count(*) FROM tapdata.events WHERE severity = 'error'}, '0', 'and no error on the way');

done_testing();
