# A network that is slow, silent or broken: nothing waits for it that was told to
# stop, and nothing is lost by it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

my $rows = 20000;
my $patience = 1000 * $PostgreSQL::Test::Utils::timeout_default;

my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'};

# A worker that is told to stop does so within a second. One that gives up its source at the same
# moment was not told: it is another one's turn then.
sub ends_quickly
{
	my ($hub, $when) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($pid, $quick);

	until ($pid || time > $deadline)
	{
		wait_for_sql($hub, "SELECT count(*) FROM ($worker) workers", '1');
		$quick = within($hub, 1, sub {
			($pid) = $hub->safe_psql('postgres', "SELECT pid, pg_terminate_backend(pid, $patience)
				FROM pg_stat_activity WHERE backend_type = 'tapdata pipeline'") =~ /^(\d+)\|t$/;
		});
	}
	ok($pid, "a worker ends $when");
	ok($quick, "within a second $when");
	wait_for_sql($hub, "SELECT count(*) = 1 FROM ($worker) workers WHERE pid <> $pid");
	return;
}

# The call fails with this SQLSTATE, neither much earlier nor much later than it should.
sub fails_in_time
{
	my ($hub, $query, $sqlstate, $least, $most, $name) = @_;
	my $took;

	ok(within($hub, $most, sub {
		my $begin = time;

		sql_fails($hub, $query, $sqlstate, qr/./, $name);
		$took = time - $begin;
	}), "$name, in time");
	cmp_ok($took, '>=', $least, "$name, not too early");
	return;
}

for my $flavour (usable_flavours())
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $proxy = Tapdata::Proxy->start(port => $source->port);
	my $hub = new_hub("network_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

	note $flavour;
	$source->sql(qq(
		CREATE DATABASE shop;
		CREATE TABLE shop.t (id int PRIMARY KEY, filler varchar(200));
		INSERT INTO shop.t WITH RECURSIVE s (i) AS
			(SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1000)
			SELECT i, repeat('x', 200) FROM s;));
	for my $from (map { $_ * 1000 } 1 .. $rows / 1000 - 1)
	{
		$source->do("INSERT INTO shop.t SELECT id + $from, filler FROM shop.t WHERE id <= 1000");
	}
	pull($hub, $source, 'shop',
		port => $proxy->port,
		connection_options => '{"heartbeat": 1, "connect_timeout": 2}');
	caught_up($hub, 'shop');

	# --- while copying ------------------------------------------------------

	$proxy->slow(200_000);
	$hub->safe_psql('postgres', q{SELECT tapdata.resync('shop')});
	wait_for_state($hub, 'shop', 'snapshot');
	ends_quickly($hub, 'while it reads a copy slowly');
	wait_for_state($hub, 'shop', 'snapshot');
	$proxy->stall;
	ends_quickly($hub, 'while its copy has stalled');

	# --- while connecting -----------------------------------------------------

	ends_quickly($hub, 'while it connects to a silent server');
	ok(within($hub, 3, sub {
		$hub->safe_psql('postgres', q{SELECT tapdata.stop('shop')});
		wait_for_sql($hub, "SELECT count(*) FROM ($worker) workers", '0');
	}), 'so does one whose pipeline is stopped');

	fails_in_time($hub, q{SET statement_timeout = 500; SELECT * FROM tapdata.discover('shop')},
		'57014', 0.5, 2, 'a query that waits for the source can be cancelled');
	fails_in_time($hub, q{SELECT * FROM tapdata.discover('shop')},
		'08...', 1.5, 6, 'a silent server is given up after connect_timeout');

	$proxy->resume;
	$hub->safe_psql('postgres', q{SELECT tapdata.start('shop')});
	caught_up($hub, 'shop');
	same_rows($source, 'shop.t', $hub, 'shop.t');

	# --- while streaming ------------------------------------------------------

	wait_for_state($hub, 'shop', 'streaming');
	$proxy->stall;
	$source->do("UPDATE shop.t SET filler = 'stalled' WHERE id <= 10");
	ends_quickly($hub, 'while its stream has stalled');
	$proxy->resume;
	caught_up($hub, 'shop');
	same_rows($source, 'shop.t', $hub, 'shop.t');

	# nobody says anything any more: noticed by the missing heartbeats
	wait_for_state($hub, 'shop', 'streaming');
	$proxy->stall;
	wait_for_state($hub, 'shop', 'retrying');
	$source->do("UPDATE shop.t SET filler = 'silent' WHERE id <= 10");
	$proxy->resume;
	caught_up($hub, 'shop');
	same_rows($source, 'shop.t', $hub, 'shop.t');

	# cut and refused
	$proxy->refuse;
	wait_for_state($hub, 'shop', 'retrying');
	ok(wait_for_sql($hub, q{SELECT last_error ~ '\S' FROM tapdata.status}),
		'status says why it tries again');
	$source->do("DELETE FROM shop.t WHERE id <= 5");
	$proxy->resume;
	caught_up($hub, 'shop');
	same_rows($source, 'shop.t', $hub, 'shop.t');

	# --- shutdown -------------------------------------------------------------

	$proxy->stall;
	ok(within($hub, 5, sub { $hub->stop('fast') }), 'a fast shutdown does not wait for a stalled source');
	$proxy->resume;
	$source->do("UPDATE shop.t SET filler = 'down' WHERE id <= 20");
	$hub->start;
	caught_up($hub, 'shop');
	same_rows($source, 'shop.t', $hub, 'shop.t');

	$hub->stop;
	$proxy->stop;
	$source->stop;
}

done_testing();
