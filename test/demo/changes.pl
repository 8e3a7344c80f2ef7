#!/usr/bin/env perl
# test/demo/changes.pl
#	  Changes rows in the demo's shop and prints them as they arrive in the hub, in the
#	  database that it publishes to and at the webhook.
#
# start.sh gives the servers in the environment. The times that are shown run from the
# moment the COMMIT of MariaDB has returned until a query in the hub, and one in the other
# database, sees the change.

use strict;
use warnings;

use IPC::Open2;
use Time::HiRes qw(sleep time);

use constant TIMEOUT_SECONDS => 30;

$| = 1;
my %colour = map { $_ => defined $ENV{$_} ? $ENV{$_} : '' } qw(bold dim green plain);

my $hub = session($ENV{psql}, '-X', '-A', '-t', '-q', '-n');
my $offload = session($ENV{psql}, '-X', '-A', '-t', '-q', '-n', '-d', 'offload');
open my $webhook, '<', $ENV{WEBHOOK_LOG} or die "$ENV{WEBHOOK_LOG}: $!\n";
my $shop = session(
	'mariadb', '--no-defaults', "--socket=$ENV{SOURCE_SOCKET}",
	'--user=root', '--batch', '--skip-column-names', '--unbuffered',
	'--default-character-set=utf8mb4', 'shop');

my @changes = (
	[
		'a new customer',
		"INSERT INTO customers (email, name, city) VALUES ('ada\@example.org', 'Ada Lovelace', 'London')",
		"SELECT name || ' of ' || city FROM shop.customers WHERE email = 'ada\@example.org'"
	],
	[
		'her order, with three lines, in one transaction',
		"BEGIN;
		 INSERT INTO orders (customer_id, status) SELECT id, 'new' FROM customers WHERE email = 'ada\@example.org';
		 SET \@order = last_insert_id();
		 INSERT INTO order_lines SELECT \@order, id, id, 2, price FROM products WHERE id <= 3;
		 UPDATE orders SET total = (SELECT sum(quantity * price) FROM order_lines WHERE order_id = \@order) WHERE id = \@order;
		 COMMIT",
		"SELECT 'order ' || o.id || ', ' || count(*) || ' lines, ' || o.total
		   FROM shop.orders o JOIN shop.order_lines l ON l.order_id = o.id
		   JOIN shop.customers c ON c.id = o.customer_id
		  WHERE c.email = 'ada\@example.org' GROUP BY o.id, o.total"
	],
	[
		'she pays',
		"UPDATE orders SET status = 'paid' WHERE customer_id = (SELECT id FROM customers WHERE email = 'ada\@example.org')",
		"SELECT 'status ' || o.status FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id
		  WHERE c.email = 'ada\@example.org' AND o.status::text = 'paid'"
	],
	[
		'prices of all books go up by 5 %',
		"UPDATE products SET price = price * 1.05 WHERE category = 'book'",
		undef,
		"SELECT sum(price) FROM products",
		"SELECT 'sum of all prices ' || sum(price) FROM shop.products HAVING sum(price) = %s"
	],
	[
		'a new column, filled for everybody',
		"ALTER TABLE customers ADD COLUMN loyalty decimal(5,1); UPDATE customers SET loyalty = id / 10",
		"SELECT count(*) || ' customers have it' FROM shop.customers c WHERE to_jsonb(c) ->> 'loyalty' IS NOT NULL
		  HAVING count(*) = (SELECT count(*) FROM shop.customers)"
	],
	[
		'old returned orders are deleted with their lines',
		"DELETE l FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE o.status = 'returned';
		 DELETE FROM orders WHERE status = 'returned'",
		"SELECT count(*) || ' orders are left' FROM shop.orders HAVING count(*) FILTER (WHERE status::text = 'returned') = 0"
	]);

printf "  %-48s %10s %11s\n", '', 'hub', 'offload';
show_change(@$_) for @changes;
exit 0;

# A client program that is asked again and again.
sub session
{
	my (@command) = @_;
	my $pid = open2(my $from, my $to, @command);

	$to->autoflush(1);
	return { pid => $pid, from => $from, to => $to, name => $command[0] };
}

# Runs SQL and returns the lines it prints.
sub ask
{
	my ($session, $sql) = @_;
	my $end = "end of answer";
	my @lines;

	print { $session->{to} } "$sql;\nSELECT '$end';\n";
	while (defined(my $line = readline $session->{from}))
	{
		chomp $line;
		return @lines if $line eq $end;
		push @lines, $line;
	}
	die "$session->{name} ended\n";
}

sub show_change
{
	my ($what, $change, $query, $source_query, $query_of_value) = @_;
	my ($line) = split /\n/, $change;

	ask($shop, $change);
	my $committed = time;
	if ($source_query)
	{
		$query = sprintf $query_of_value, (ask($shop, $source_query))[0];
	}
	my @answer = await($hub, $query, $what, $committed);
	my $in_hub = time - $committed;

	await($offload, $query, $what, $committed);
	printf "  %s%-48s%s %s%7.1f ms  %7.1f ms%s   %s\n", $colour{bold}, $what, $colour{plain},
	  $colour{green}, $in_hub * 1000, (time - $committed) * 1000, $colour{plain}, $answer[0];
	show_webhook();
	return;
}

# Polls until the query has an answer.
sub await
{
	my ($session, $query, $what, $committed) = @_;
	my @answer;

	until (@answer = ask($session, $query))
	{
		die "$session->{name} did not get: $what\n"
		  if time > $committed + TIMEOUT_SECONDS;
		sleep 0.0005;
	}
	return @answer;
}

# What the webhook has written since the last time, in short.
sub show_webhook
{
	ask($hub, "SELECT tapdata.wait('shop_hook')");
	seek $webhook, 0, 1;
	chomp(my @lines = <$webhook>);
	printf "      %s%s%s\n", $colour{dim}, "webhook: $_", $colour{plain}
	  for @lines > 3 ? (@lines[ 0, 1 ], sprintf '... and %d more', @lines - 2) : @lines;
	return;
}
