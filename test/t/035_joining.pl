# Tables that join a running stream, and what can happen meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep);

my @flavours = usable_flavours();
my $hub = new_hub('joining');

sub terminate_sync_worker
{
	for (1 .. 1000)
	{
		return 1
		  if $hub->safe_psql('postgres', q(SELECT count(pg_terminate_backend(pid))
			FROM pg_stat_activity WHERE backend_type = 'tapdata sync')) > 0;
		sleep 0.01;
	}
	return 0;
}

for my $flavour (@flavours)
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $f = "shop_$flavour";

	$source->sql("CREATE DATABASE $f; CREATE TABLE $f.t (id int PRIMARY KEY, n int)");
	$source->do("INSERT INTO $f.t VALUES (?, 0)", $_) for 1 .. 500;
	pull($hub, $source, $f, options => '{"chunk_rows": 1}');
	caught_up($hub, $f);

	$hub->safe_psql('postgres', "SELECT tapdata.resync('$f', '$f.t')");
	ok(terminate_sync_worker(), "$f: the worker that copies a table again is terminated");
	caught_up($hub, $f);
	same_rows($source, "$f.t", $hub, "$f.t", "$f: another one finishes its work");

	$source->stop;
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$f', true)");
}

$hub->stop;
done_testing();
