# From a source through the hub to Kafka: what a pull pipeline stores is published as the
# source's own transactions, and says where it came from.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Bank;
use Tapdata::Kafka;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

Tapdata::Kafka->require;

my $kafka = Tapdata::Kafka->start;
my ($flavour) = usable_flavours();
my $source = Tapdata::MySQL->start(flavour => $flavour);
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 500ms\n");
my $bank = Tapdata::Bank->new($source, rows => 1000);

pull($hub, $source, 'bank');
caught_up($hub, 'bank');
publish($hub, $kafka, 'all', [ 'bank.current_account', 'bank.savings_account' ], { topic => 'all', headers => 'all' });
publish($hub, $kafka, 'local', [ 'bank.current_account', 'bank.savings_account' ],
	{ topic => 'local', origins => 'local', snapshot => 'never' });
caught_up($hub, $_) foreach qw(all local);

$bank->open_doors(clients => 2);
my ($states, $last, @wrong) = (0, 0);
my $began = time;

# for some seconds, and on a slow machine until there was something to see
while (time < $began + 5 || ($states <= 2 && time < $began + $PostgreSQL::Test::Utils::timeout_default))
{
	my @records = $kafka->records('all');
	my %balance;

	$balance{ $_->{headers}{table} . $_->{key} } = from_json($_->{value})->{balance} foreach @records;
	my $sum = 0;
	$sum += $_ foreach values %balance;
	push @wrong, $sum if $sum != $bank->sum;
	$states++ if @records != $last;
	$last = @records;
}
$bank->close_doors;
is_deeply(\@wrong, [], 'the sum over both tables is constant');
cmp_ok($states, '>', 2, "... in $states states that were seen");

caught_up($hub, $_) foreach qw(bank all local);
foreach my $table (qw(current_account savings_account))
{
	my $rows = folded(grep { $_->{headers}{table} eq "bank.$table" } $kafka->settled_records('all'));

	is(join(',', map { "$_->[0]=$_->[1]" } sort { $a->[0] <=> $b->[0] }
			map { my $row = from_json($_); [ $row->{id}, $row->{balance} ] } values %$rows),
		join(',', map { "$_->[0]=$_->[1]" } @{ $source->rows("SELECT id, balance FROM bank.$table ORDER BY id") }),
		"$table on Kafka is that of the source");
}
my $origin = $hub->safe_psql('postgres', 'SELECT roname FROM pg_replication_origin');
is(($kafka->settled_records('all'))[-1]{headers}{origin}, $origin, 'a header names the origin');

$hub->safe_psql('postgres', 'UPDATE bank.current_account SET balance = balance + 1 WHERE id = 1');
caught_up($hub, 'local');
is(scalar $kafka->settled_records('local'), 1, 'changes of the pull are left out where only local ones are wanted');
done_testing();
