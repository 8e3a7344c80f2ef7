# An API whose content changes all the time, while workers, the hub and the server are killed at
# random: at the end the hub has what the API has, and what is only added is there once.
#
# TAPDATA_CHAOS_KILLS sets the number of kills (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

Tapdata::Http->require;

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || int time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $hub = new_hub('chaos', "tapdata.retry_min = 50ms\ntapdata.retry_max = 300ms\n");
my $server = Tapdata::Http->start(arguments => ['api']);
my $version = 0;

# What the API has: orders by key, of which the newest are asked for; items as a whole list;
# a log to which lines are added.
my (%orders, %items, @log);

sub change
{
	for (1 .. 1 + int rand 5)
	{
		my $id = 1 + int rand 50;

		$version++;
		$orders{$id} = { id => $id, version => $version, note => 'x' x (rand 100) };
		push @log, { n => $version, text => "line $version" };
		if (rand > 0.4) { $items{$id} = { id => $id, version => $version } }
		else { delete $items{$id} }
	}
	serve();
	return;
}

sub serve
{
	$server->api(
		'/orders' => { rows => [ map { $orders{$_} } sort { $a <=> $b } keys %orders ], since => [ 'since', 'version' ] },
		'/items' => { rows => [ map { $items{$_} } sort { $a <=> $b } keys %items ], pages => 'cursor', size => 20,
			wrap => ['data'], login => 'oauth' },
		'/log' => { rows => [@log], after => [ 'after', 'n' ], pages => 'page', size => 7, wrap => ['data'] });
	return;
}

my $worker = "backend_type LIKE 'tapdata pipeline%'";
my @accidents = (
	[ 4, 'kill -9 of the worker', sub { signal_one($hub, $worker) } ],
	[ 2, 'terminated worker', sub { signal_one($hub, $worker, 'TERM') } ],
	[ 2, 'kill -9 of the server', sub { $server->kill9; sleep rand 0.3; $server->restart } ],
	[ 2, 'answers that get lost', sub { $server->faults(map { { do => $_ } } qw(cut half garbage cut)) } ],
	[ 1, 'errors of the server', sub { $server->faults({ status => 503, times => 3 }, { status => 401 }) } ],
	[ 1, 'immediate restart of the hub', sub { $hub->stop('immediate'); $hub->start } ]);

sub accident
{
	my $total = 0;

	$total += $_->[0] for @accidents;
	my $pick = rand $total;
	for my $accident (@accidents)
	{
		$pick -= $accident->[0];
		next if $pick >= 0;
		note $accident->[1];
		return $accident->[2]->();
	}
	return;
}

# Their types, so that the first answers may be empty.
change() for 1 .. 10;
pull_http($hub, $server, 'api', {
		oauth_token_url => $server->url . '/token', oauth_client_id => 'hub', oauth_client_secret => 's3cret',
		endpoints => {
			orders => { key => 'id', cursor => 'version' },
			items => { key => 'id', deletes => 'compare', records => '$.data', pagination => 'cursor' },
			# lines are added between two pages, too: only the server can say which is the last
			log => { cursor => 'n', cursor_parameter => 'after', pagination => 'page', records => '$.data', more => '$.has_more' } } },
	{ interval => '100 ms', retry_ms => 300 });
caught_up($hub, 'api');
for (1 .. $kills)
{
	change(), sleep 0.05 for 1 .. 5;
	accident();
	change();
}
$server->faults();
recovered($hub);

# a login that was refused stops the pipeline: that is what it is for; one refusal may be on its way yet
for (1 .. 2)
{
	$hub->psql('postgres', q{SELECT tapdata.start('api')});
	last if defined try_sql($hub, q{SELECT tapdata.wait('api')});
}
ok(caught_up($hub, 'api'), 'the hub catches up');

sub is_the_same
{
	my ($table, $columns, @rows) = @_;
	my $expected = join "\n", sort map { my $row = $_; join '|', map { $row->{$_} } @$columns } @rows;
	my $found = $hub->safe_psql('postgres', 'SELECT ' . join(', ', @$columns) . " FROM api.$table");

	return is(join("\n", sort split /\n/, $found), $expected, "$table: " . @rows . ' rows');
}

is_the_same('orders', [qw(id version note)], values %orders);
is_the_same('items', [qw(id version)], values %items);
is_the_same('log', [qw(n text)], @log);
is($hub->safe_psql('postgres', 'SELECT count(*) FROM tapdata.dead_letters'), 0, 'nothing was left out');
done_testing();
