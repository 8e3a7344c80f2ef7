# kill -9 of the worker, the hub and the target at random while money moves in
# the hub: the target is always a state that the hub had, and equal at the end.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Ledger;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;

note "TAPDATA_CHAOS_SEED=$seed";
srand $seed;
my @flavours = usable_flavours();

foreach my $flavour (@flavours)
{
	subtest $flavour => sub { check_chaos($flavour, $kills / @flavours) };
}
done_testing();

sub check_chaos
{
	my ($flavour, $rounds) = @_;
	my $hub = new_hub("chaos_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
	my $target = Tapdata::MySQL->start(flavour => $flavour, options => ['--local-infile=ON']);
	my $ledger = Tapdata::Ledger->new($hub);
	my $wrong = 0;
	my $looks = 0;

	$target->sql("CREATE DATABASE app; GRANT ALL ON *.* TO '" . $target->user . "'\@'%'");
	$hub->safe_psql('postgres', qq(
		INSERT INTO ledger.entry (amount) SELECT 1 FROM generate_series(1, 60000);
		SELECT tapdata.connect('t', '${\ $target->uri('app') }');
		SELECT tapdata.publish('ledger', 't', ARRAY['ledger.*'], '{"batch_bytes": 8192}');));
	$ledger->open(clients => 2);

	# in the middle of the first copy
	wait_until(sub { eval { $target->value('SELECT COUNT(*) FROM ledger.entry') } });
	kill_it($hub, $target, 'worker');
	wait_until(sub { position($target) > 0 });
	for my $round (1 .. $rounds)
	{
		my $victim = $ENV{TAPDATA_CHAOS_VICTIM} || (qw(worker hub target))[ rand 3 ];

		# the stream has to move on between two kills
		wait_for_more($target);
		Time::HiRes::sleep(rand 0.2);
		kill_it($hub, $target, $victim);
		for (1 .. 5)
		{
			my $sum = eval { $target->value('SELECT SUM(balance) FROM ledger.account') };

			next if !defined $sum;
			$looks++;
			$wrong++ if $sum != $ledger->sum;
		}
	}
	$ledger->close;
	recovered($hub);
	is($wrong, 0, "the sum was right in all of $looks states that were seen");
	caught_up($hub, 'ledger');
	foreach my $query ('SELECT id, balance, version FROM ledger.account ORDER BY id',
		'SELECT COUNT(*), SUM(amount), SUM(id), MAX(id) FROM ledger.entry')
	{
		is(join("\n", map { join '|', @$_ } @{ $target->rows($query) }), $hub->safe_psql('postgres', $query),
			"nothing was lost or repeated in $rounds kills: $query");
	}
	sql_ok($hub, 'SELECT count(*) FROM pg_replication_slots', 1, 'one slot');
	return;
}

sub position
{
	my ($target) = @_;

	return eval { $target->value('SELECT position FROM app.tapdata_progress') } || 0;
}

sub wait_until
{
	my ($condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		die 'the target does not move on' if time > $deadline;
		Time::HiRes::sleep(0.05);
	}
	return;
}

sub wait_for_more
{
	my ($target) = @_;
	my $before = position($target);

	wait_until(sub { position($target) != $before });
	return;
}

sub kill_it
{
	my ($hub, $target, $victim) = @_;

	note "kill -9: $victim";
	if ($victim eq 'worker')
	{
		# the server restarts all of its processes then
		signal_one($hub, q(backend_type = 'tapdata pipeline'));
	}
	elsif ($victim eq 'hub')
	{
		kill_server($hub);
	}
	else
	{
		$target->kill9;
		$target->restart;
	}
	return;
}
