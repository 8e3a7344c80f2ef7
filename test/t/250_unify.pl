# Four systems in one hub: customers from MySQL, orders from PostgreSQL, clicks from Kafka
# and accounts of a COBOL program meet in one query, and stay what their sources are.

use strict;
use utf8;
use warnings;

use Encode;
use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Cobol;
use Tapdata::Kafka;
use Tapdata::MySQL;
use Tapdata::Postgres;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;
Tapdata::Cobol->require;
my ($flavour) = usable_flavours();
my $mainframe = PostgreSQL::Test::Utils::tempdir();

chmod 0755, $mainframe;
my $program = Tapdata::Cobol->compile('credit');

my $kafka = Tapdata::Kafka->start;
my $mysql = Tapdata::MySQL->start(flavour => $flavour);
my $postgres = new_source('sales');
my $hub = new_hub('hub');

# What the sources hold, for the answer that is expected.
my (%customer, %order, %clicks, %account);
my $number_of_orders = 0;

# ---------------------------------------------------------------------
# The sources, with some rows each
# ---------------------------------------------------------------------

$mysql->do('CREATE DATABASE crm');
$mysql->do('CREATE TABLE crm.customer (id int unsigned PRIMARY KEY, name varchar(40) CHARACTER SET utf8mb4 NOT NULL)');
$postgres->safe_psql('postgres', q(
	CREATE SCHEMA sales;
	CREATE TABLE sales.orders (id bigint PRIMARY KEY, customer_id int NOT NULL, total numeric(12,2) NOT NULL);));
$kafka->create_topic('clicks', partitions => 3);
new_customer($_) foreach 1 .. 50;
new_orders(map { 1 + $_ % 50 } 1 .. 200);
click(map { 1 + $_ % 20 } 1 .. 300);
$account{$_} = [ $_ * 10000, -$_ ] foreach 1 .. 40;
write_extract();
append_to_file("$mainframe/credit.cpy", Tapdata::Cobol->copybook('credit'));

# ---------------------------------------------------------------------
# Into the hub
# ---------------------------------------------------------------------

pull($hub, $mysql, 'crm');
connect_source($hub, $postgres, 'sales');
pull_from($hub, 'sales', 'sales', ['sales.*'], 'sales');
$hub->safe_psql('postgres', sprintf q(
	SELECT tapdata.connect('web', '%s');
	SELECT tapdata.pull('web', 'web', ARRAY['clicks'], 'web', '{"format": "json", "mode": "append"}');
	SELECT tapdata.connect('mainframe', 'file://%s/credit.dat',
		'{"format": "fixed", "copybook": "%s", "code_page": "ASCII", "dialect": "gnucobol", "key": "customer_id", "mode": "replace"}');
	SELECT tapdata.pull('mainframe', 'mainframe', ARRAY['credit'], 'mainframe');),
	$kafka->uri, $mainframe, "$mainframe/credit.cpy");
unified('the first rows of all four');

# ---------------------------------------------------------------------
# Live
# ---------------------------------------------------------------------

for my $round (1 .. 5)
{
	my $id = 50 + $round;

	new_customer($id);
	$mysql->do("UPDATE crm.customer SET name = concat(name, '!') WHERE id = $round");
	$customer{$round} .= '!';
	new_orders($id, $round);
	$order{$round}[1] += 1;
	delete $order{ 100 + $round };
	$postgres->safe_psql('postgres', sprintf q(
		UPDATE sales.orders SET total = total + 1 WHERE id = %d;
		DELETE FROM sales.orders WHERE id = %d;), $round, 100 + $round);
	click($id, $id, $round);
	$account{$id} = [ $id, $id ];
	$account{$round}[1] -= 5000;
	delete $account{ 30 + $round };
	write_extract();
	unified("round $round");
}

# A new extract is not loaded: what differs from the last one is.
my $writes = $hub->safe_psql('postgres',
	q(SELECT inserts + updates + deletes FROM tapdata.tables WHERE pipeline = 'mainframe'));
is($writes, 40 + 5 * 3, 'of the extracts only what differed was written');

is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.dead_letters)), 0, 'no dead letters');
sql_becomes($hub, q(SELECT string_agg(DISTINCT state, ',') FROM tapdata.status),
	'streaming', 'all four are streaming');
done_testing();

sub new_customer
{
	my ($id) = @_;

	$customer{$id} = "Customer $id é";
	$mysql->do("INSERT INTO crm.customer VALUES ($id, '$customer{$id}')");
	return;
}

sub new_orders
{
	my @of = @_;
	my @rows;

	for my $of (@of)
	{
		my $id = ++$number_of_orders;

		$order{$id} = [ $of, $id * 1.25 ];
		push @rows, "($id, $of, $order{$id}[1])";
	}
	$postgres->safe_psql('postgres', 'INSERT INTO sales.orders VALUES ' . join ',', @rows);
	return;
}

sub click
{
	my @of = @_;

	$clicks{$_}++ foreach @of;
	$kafka->produce('clicks', map { [ $_, qq({"customer": $_, "page": "/p/$_"}) ] } @of);
	return;
}

# The programme writes its file beside, as a transfer would, and puts it in place at once.
sub write_extract
{
	my $lines = join '', map { "$_ LIS $account{$_}[0] $account{$_}[1] A\n" } sort { $a <=> $b } keys %account;

	unlink "$mainframe/lines";
	append_to_file("$mainframe/lines", $lines);
	$program->run("$mainframe/next", LINES_NAME => "$mainframe/lines");
	chmod 0644, "$mainframe/next";
	rename "$mainframe/next", "$mainframe/credit.dat" or die "rename: $!";
	return;
}

# One query over all four says what the sources hold.
sub unified
{
	my ($name) = @_;
	my @expected;

	caught_up($hub, $_) foreach qw(crm sales web mainframe);
	for my $id (sort { $a <=> $b } keys %customer)
	{
		my @orders = grep { $_->[0] == $id } values %order;
		my $total = 0;

		$total += $_->[1] foreach @orders;
		push @expected, join '|', $id, $customer{$id}, scalar @orders, sprintf('%.2f', $total),
		  $clicks{$id} || 0, $account{$id} ? map { sprintf '%.2f', $_ / 100 } @{ $account{$id} } : ('', '');
	}
	is($hub->safe_psql('postgres', q(
		SELECT c.id, c.name, o.n, o.total, k.n, a.credit_limit, a.balance
		  FROM crm.customer c
		 CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(sum(total), 0.00) AS total FROM sales.orders WHERE customer_id = c.id) o
		 CROSS JOIN LATERAL (SELECT count(*) AS n FROM web.clicks WHERE customer = c.id) k
		  LEFT JOIN mainframe.credit a ON a.customer_id = c.id
		 ORDER BY c.id)), encode_utf8(join "\n", @expected), $name);
	return;
}
