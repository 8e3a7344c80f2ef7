# What a webhook does to the sink: answers that ask to come again, that refuse, that never
# end or are none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

Tapdata::Http->require;

my $hub = new_hub('faults', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $server = Tapdata::Http->start(arguments => ['webhook']);
my $next_id = 0;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

sub publish_new
{
	my ($name, %options) = @_;

	$server->forget;
	publish_http($hub, delete $options{uri} || $server, $name, ['s.t'], { snapshot => 'never', %options });
	wait_for_state($hub, $name, 'streaming');
	return;
}

sub drop
{
	my ($name) = @_;

	sql("SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	$server->faults();
	return;
}

# Inserts rows, waits until they are there, and returns the requests with the last of them
# (others may still be on their way from a server that was slow).
sub insert
{
	my ($name, $count) = @_;
	my $from = $next_id + 1;

	$next_id += $count || 1;
	$server->forget;
	sql("INSERT INTO s.t SELECT n, 'v' || n FROM generate_series($from, $next_id) n");
	caught_up($hub, $name);
	return grep { $_->{body} =~ /"id":$next_id\b/ } $server->requests;
}

sub restarts
{
	my ($name) = @_;

	return sql("SELECT restarts FROM tapdata.status WHERE name = '$name'");
}

sub ids
{
	return join ' ', map { $_->{after}{id} } @_;
}

sql('CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v text)');

# --- come again ---------------------------------------------------------------------------

publish_new('again');
for my $case (
	[ '429', { status => 429, times => 3 } ],
	[ '503', { status => 503, body => 'busy' } ],
	[ '500 twice', { status => 500, times => 2 } ],
	[ '408', { status => 408 } ],
	[ 'a connection that is closed', { do => 'cut', times => 2 } ],
	[ 'what is not HTTP', { do => 'garbage' } ])
{
	my ($name, $fault) = @$case;

	$server->faults($fault);
	my @requests = insert('again');
	is(scalar(@requests), 1, "$name: taken once in the end");
}
for my $case ([ 'an answer that gets lost', { do => 'forget' } ], [ 'half an answer', { do => 'half' } ])
{
	my ($name, $fault) = @$case;

	$server->faults($fault);
	my @requests = insert('again');
	is(scalar(@requests), 2, "$name: sent again");
	is($requests[0]{headers}{'idempotency-key'}, $requests[1]{headers}{'idempotency-key'}, 'with the same key');
	is($requests[0]{body}, $requests[1]{body}, 'and the same body');
}
isnt((insert('again'))[0]{headers}{'idempotency-key'}, (insert('again'))[0]{headers}{'idempotency-key'}, 'others have other keys');

for my $case ([ 'seconds', sub { 2 } ], [ 'a date', sub { gmtime_text(time + 3) } ])
{
	my ($name, $value) = @$case;
	my $began = time;

	$server->faults({ status => 429, headers => { 'Retry-After' => $value->() } });
	insert('again');
	cmp_ok(time - $began, '>', 1.5, "Retry-After with $name is kept");
}
is(restarts('again'), 0, 'all of that without a new session');
drop('again');

sub gmtime_text
{
	my ($at) = @_;
	my @days = qw(Sun Mon Tue Wed Thu Fri Sat);
	my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);
	my ($s, $m, $h, $day, $month, $year, $weekday) = gmtime $at;

	return sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', $days[$weekday], $day, $months[$month], $year + 1900, $h, $m, $s;
}

# A pause is kept, too, when it is longer than the patience; then it is an error to be seen.
publish_new('patience', retry_ms => 100);
$server->faults({ status => 503, headers => { 'Retry-After' => 1 }, times => 3 });
my $began = time;
insert('patience');
cmp_ok(time - $began, '>', 2.5, 'each pause is kept');
cmp_ok(restarts('patience'), '>', 0, 'the pipeline started anew in between');
like(sql(q{SELECT string_agg(message, ' ') FROM tapdata.events WHERE pipeline = 'patience' AND severity IN ('error', 'warning')}),
	qr/takes no requests.*HTTP status 503/s, 'and said why');
drop('patience');

# A pause of an hour is told, and holds up nobody.
publish_new('pause');
$server->faults({ status => 429, headers => { 'Retry-After' => 3600 } });
$next_id++;
sql("INSERT INTO s.t VALUES ($next_id)");
wait_for_sql($hub, q{SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'pause' AND kind = 'retry' AND message LIKE '%pause of 3600 seconds%'});
ok(within($hub, 5, sub {
	sql(q{SELECT tapdata.stop('pause')});
	wait_for_state($hub, 'pause', 'stopped');
}), 'a pause does not hold up a stop');
drop('pause');

# --- slow, huge ---------------------------------------------------------------------------

publish_new('slow', timeout_ms => 300);
$server->faults({ do => 'slow', seconds => 1 });
cmp_ok(scalar(insert('slow')), '>=', 1, 'an answer that is too late: sent again');
$server->faults({ do => 'huge', bytes => 50_000_000 });
cmp_ok(scalar(insert('slow')), '>=', 1, 'an answer that is huge counts by its status');
is(restarts('slow'), 0, 'without a new session');
$server->faults({ do => 'slow', seconds => 0.6, times => 1000 });
$next_id++;
sql("INSERT INTO s.t VALUES ($next_id)");
ok(within($hub, 5, sub {
	sql(q{SELECT tapdata.stop('slow')});
	wait_for_state($hub, 'slow', 'stopped');
}), 'a request on its way does not hold up a stop');
drop('slow');

# it is still busy with requests that nobody waits for any more, and would record them some time
$server->restart;

# --- several hosts --------------------------------------------------------------------------

publish_new('hosts', uri => 'http://127.0.0.1:1,127.0.0.1:' . $server->port . '/');
is(scalar(insert('hosts')), 1, 'the first of the hosts does not answer');
is(restarts('hosts'), 0, 'the second one does');
drop('hosts');

# --- redirects --------------------------------------------------------------------------------

my $elsewhere = Tapdata::Http->start(name => 'elsewhere', arguments => ['webhook']);

publish_new('moved');
$server->faults({ status => 307, headers => { Location => '/there' }, path => '/' });
is((insert('moved'))[0]{path}, '/there', 'to another path: followed');
$server->faults({ status => 302, headers => { Location => '/there' }, times => 5 });
$next_id++;
sql("INSERT INTO s.t VALUES ($next_id)");
wait_for_state($hub, 'moved', 'failed');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'moved'}), qr/sends requests elsewhere/, '302 is not');
$server->faults({ status => 307, headers => { Location => $elsewhere->url . '/' }, times => 5 });
sql(q{SELECT tapdata.start('moved')});
wait_for_state($hub, 'moved', 'failed');
is(scalar($elsewhere->requests), 0, 'neither is a redirect to another host or port');
$server->faults();
$server->forget;
sql(q{SELECT tapdata.start('moved')});
caught_up($hub, 'moved');
is(ids($server->changes), $next_id, 'nothing was lost');
drop('moved');
$elsewhere->stop;

# --- refused --------------------------------------------------------------------------------

publish_new('refused');
$server->faults({ status => 400, body => "bad\nrow", times => 1 });
$next_id++;
sql("INSERT INTO s.t VALUES ($next_id)");
wait_for_state($hub, 'refused', 'failed');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'refused'}), qr/refused a change of table "t": HTTP status 400: bad row/,
	'400 stops the pipeline');
sql(q{SELECT tapdata.start('refused')});
caught_up($hub, 'refused');
is(ids($server->changes), $next_id, 'which goes on with the change');
drop('refused');

publish_new('letters', on_error => 'dead_letter');
$server->faults({ status => 422, body => 'no', times => 1 });
is(scalar(insert('letters', 5)), 0, 'with dead letters a refused batch is not sent again');
is(sql(q{SELECT count(*), min(change->>'op'), min(change->'after'->>'id'), min(error) FROM tapdata.dead_letters WHERE pipeline = 'letters'}),
	"5|insert|@{[ $next_id - 4 ]}|HTTP status 422: no", 'its changes are dead letters');
is(scalar(insert('letters', 5)), 1, 'others are sent');
sql_becomes($hub, q{SELECT dead_letters FROM tapdata.status WHERE name = 'letters'}, 5, 'status counts them');

# a batch that is too large is divided, until a single change is too large by itself
$server->faults({ do => 'limit', bytes => 3000 });
my $from = $next_id + 1;
insert('letters', 200);
is(ids($server->changes), join(' ', $from .. $next_id), '413: divided, and in order');
is(scalar(grep { length $_->{body} > 3000 } $server->requests), 0, 'as small as is asked for');
$next_id++;
sql("INSERT INTO s.t VALUES ($next_id, repeat('x', 5000))");
caught_up($hub, 'letters');
is(sql(qq{SELECT sqlstate, length(change->'after'->>'v') FROM tapdata.dead_letters WHERE change->'after'->>'id' = '$next_id'}),
	'54000|5000', 'a change that is too large by itself is a dead letter');
drop('letters');

# a login that is refused is nothing that changes have to do with
publish_new('login', on_error => 'dead_letter');
$server->faults({ status => 401 });
$next_id++;
sql("INSERT INTO s.t VALUES ($next_id)");
wait_for_state($hub, 'login', 'failed');
is(sql(q{SELECT count(*) FROM tapdata.dead_letters}), 0, '401 makes no dead letters');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'login'}), qr/refused the login/, 'it stops the pipeline');
drop('login');

done_testing();
