# HTTP as a source with servers that misbehave: no answers, half of them, endless ones, wrong ones,
# limits of rate, redirects, links elsewhere, hosts that are not allowed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

Tapdata::Http->require;

my $hub = new_hub('http_hostile', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $server = Tapdata::Http->start(arguments => ['api']);
my @rows = map { { id => $_, v => "v$_" } } 1 .. 5;
my %list = (rows => \@rows, pages => 'link');
my $deadline = $PostgreSQL::Test::Utils::timeout_default;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# Polls, and waits until that was an error for good.
sub fails
{
	my ($name) = @_;

	$hub->psql('postgres', "SELECT tapdata.wait('$name')");
	wait_for_state($hub, $name, 'failed');
	return;
}

# --- faults that pass ------------------------------------------------------------------------

$server->api('/list' => \%list);
pull_http($hub, $server, 'faults', { timeout_ms => 1000, endpoints => { list => { key => 'id', pagination => 'link' } } },
	{ interval => '1 day', retry_ms => 60000 });
caught_up($hub, 'faults');

my @faults = (
	[ 'no answer', { do => 'cut', times => 3 } ],
	[ 'half of an answer', { do => 'half', times => 2 } ],
	[ 'no HTTP', { do => 'garbage' } ],
	[ 'too slow', { do => 'slow', seconds => 3 } ],
	[ 'an answer without an end', { do => 'drip' } ],
	[ 'server errors', { status => 500 }, { status => 502 }, { status => 503 } ],
	[ 'too many requests', { status => 429, headers => { 'Retry-After' => '1' } } ]);
for my $case (@faults)
{
	my ($name, @what) = @$case;
	my $id = 100 + @rows;

	$list{rows} = [ @rows = (@rows, { id => $id, v => $name }) ];
	$server->api('/list' => \%list);
	$server->faults(@what);
	caught_up($hub, 'faults');
	is(sql("SELECT v FROM faults.list WHERE id = $id"), $name, $name);
}
is(sql(q{SELECT restarts FROM tapdata.status WHERE name = 'faults'}), 0, 'all without a restart');

$server->forget;
$server->faults({ status => 503, headers => { 'Retry-After' => '1' }, path => '/list?start' });
caught_up($hub, 'faults');
my @asked = grep { $_->{path} =~ /start=2/ } $server->requests;
my ($first) = grep { $_->{path} eq '/list' } $server->requests;
cmp_ok($asked[0]{at} - $first->{at}, '>', 0.9, 'Retry-After is kept');

# a longer pause is seen, and over when the server answers
my $status = q{SELECT state, last_error FROM tapdata.status WHERE name = '%s'};
$server->faults({ name => 'long', status => 429, headers => { 'Retry-After' => '300' }, body => 'later, please' });
sql(q{SELECT tapdata.stop('faults'); SELECT tapdata.start('faults')});
my ($waited, $waits_error) = ('', '');
my $waiter = IPC::Run::start([ 'psql', '-XAtq', '-d', $hub->connstr('postgres'), '-c', q{SELECT tapdata.wait('faults', '1 hour')} ],
	'<', \undef, '>', \$waited, '2>', \$waits_error);
wait_for_sql($hub, q{SELECT state, last_error ~ '/list: HTTP status 429: later, please; the next request is at 20', now() - since < '1 hour'
	FROM tapdata.status WHERE name = 'faults'}, 'retrying|t|t');
sql_fails($hub, q{SELECT tapdata.wait('faults', '10 ms')}, '55P03', qr/retries after an error: could not read .*429/, 'wait() says it, too');
is(sql(q{SELECT restarts FROM tapdata.status WHERE name = 'faults'}), 0, 'still without a restart');
sql(q{SELECT tapdata.stop('faults')});
like(sql(sprintf $status, 'faults'), qr/^stopped\|$/, 'a pipeline that is stopped does not pause');
$waiter->finish;
my $pauses = q{SELECT state, last_error ~ 'HTTP status 429' FROM tapdata.status WHERE name = '%s'};
$server->faults({ name => 'again', status => 429, headers => { 'Retry-After' => '300' } });
sql(q{SELECT tapdata.start('faults')});
wait_for_sql($hub, sprintf($pauses, 'faults'), 'retrying|t');
sql(q{SELECT tapdata.stop('faults'); SELECT tapdata.start('faults')});
caught_up($hub, 'faults');
wait_for_sql($hub, sprintf($status, 'faults'), 'streaming|');

# it is over with the session, though the worker goes on
$server->api('/list' => \%list, '/added' => { rows => [ { id => 1 } ] });
pull_http($hub, $server, 'pauses', { endpoints => { list => { key => 'id', pagination => 'link' }, added => { key => 'id' } } }, { interval => '1 day' }, 'list');
caught_up($hub, 'pauses');
my $pid = pipeline_pid($hub, 'pauses');
$server->faults({ name => 'added', path => '/list', status => 429, headers => { 'Retry-After' => '300' } });
$waiter = IPC::Run::start([ 'psql', '-XAtq', '-d', $hub->connstr('postgres'), '-c', q{SELECT tapdata.wait('pauses', '1 hour')} ],
	'<', \undef, '>', \$waited, '2>', \$waits_error);
wait_for_sql($hub, sprintf($pauses, 'pauses'), 'retrying|t');
sql(q{SELECT tapdata.add_tables('pauses', '{added}')});
wait_for_sql($hub, sprintf($status, 'pauses'), 'streaming|');
is(pipeline_pid($hub, 'pauses'), $pid, 'a new session of the same worker does not pause');
$waiter->finish;
sql(q{SELECT tapdata.drop_pipeline('pauses')});

# --- a poll that goes on after a failure is as old as its beginning --------------------------------

my @paged = map { { id => $_, v => 'old' } } 1 .. 4;
$server->api('/list' => \%list, '/paged' => { rows => \@paged, pages => 'page', size => 2 });
$server->faults({ path => '/paged?page=2', status => 503, times => 1000000 });
pull_http($hub, $server, 'paged', { endpoints => { paged => { key => 'id', columns => { id => 'int', v => 'text' }, pagination => 'page', page_size => 2 } } },
	{ interval => '1 day', retry_ms => 0 });
wait_for_sql($hub, q{SELECT string_agg(id::text, ',' ORDER BY id) FROM paged.paged}, '1,2');
wait_for_sql($hub, q{SELECT restarts > 0 FROM tapdata.status WHERE name = 'paged'});

# the page that was read changes, and then somebody waits
$paged[0]{v} = 'new';
$server->api('/list' => \%list, '/paged' => { rows => \@paged, pages => 'page', size => 2 });
($waited, $waits_error) = ('', '');
$waiter = IPC::Run::start([ 'psql', '-XAtq', '-d', $hub->connstr('postgres'), '-c', q{SELECT tapdata.wait('paged', '1 hour')},
		'-c', q{SELECT string_agg(id || v, ',' ORDER BY id) FROM paged.paged} ],
	'<', \undef, '>', \$waited, '2>', \$waits_error);
wait_for_sql($hub, q{SELECT count(*) FROM pg_stat_activity WHERE query ~ 'tapdata.wait..paged' AND wait_event IN ('TapdataWait', 'Extension')
	AND pid <> pg_backend_pid()}, '1');
my $restarts = sql(q{SELECT restarts FROM tapdata.status WHERE name = 'paged'});
wait_for_sql($hub, qq{SELECT restarts > $restarts + 1 FROM tapdata.status WHERE name = 'paged'});
$server->faults();
$waiter->finish;
is($waited =~ s/\s//gr, '1new,2old,3old,4old', 'a wait() is not over with a poll that began before it');
is($waits_error, '', 'without a message');
sql(q{SELECT tapdata.drop_pipeline('paged')});

# --- a limit of rate that is announced -----------------------------------------------------------

$server->api('/list' => \%list, '/limited' => { rows => [] });
$server->faults({ path => '/limited', status => 200, body => '[{"id": 1}]',
	headers => { 'Content-Type' => 'application/json', 'X-RateLimit-Remaining' => '0', 'X-RateLimit-Reset' => '1' }, times => 8 });
my $before = time;
pull_http($hub, $server, 'limited', { endpoints => { limited => { key => 'id' } } }, { interval => '100 ms' });
caught_up($hub, 'limited');

# what is recorded is the first request behind those eight, of which five at least are the worker's
sleep 0.02 until (grep { $_->{path} eq '/limited' } $server->requests) >= 1 || time > $before + $deadline;
my $took = time - $before;
ok((grep { $_->{path} eq '/limited' } $server->requests), 'it is asked again after the limit');
cmp_ok($took, '>', 2.5, 'the server\'s limit is kept');
$server->faults({ path => '/limited', status => 200, body => '[{"id": 1}]',
	headers => { 'Content-Type' => 'application/json', 'X-RateLimit-Remaining' => '0', 'X-RateLimit-Reset' => '300' }, times => 20 });
wait_for_sql($hub, q{SELECT state, last_error ~ 'allows no more requests for now .X-RateLimit-Remaining: 0.; the next request is at 20'
	FROM tapdata.status WHERE name = 'limited'}, 'retrying|t');
sql(q{SELECT tapdata.drop_pipeline('limited')});

# --- answers that make no sense: nothing is stored, and it is tried again -------------------------

my $deep = ('[' x 100000) . (']' x 100000);
my @senseless = (
	[ '{"id": 1', 'no JSON' ],
	[ '[{"id": 1}, {"id": 2}', 'no JSON' ],
	[ "[{\"id\": 1}]\0", 'no JSON' ],
	[ $deep, 'nested deeper' ],
	[ 'id,n', 'compressed, and ends too early', 'text/csv', file => JSON::PP::true, cut => 9 ],
	[ "\x1f\x8b\x08garbage", 'makes no sense', 'application/gzip' ],
	[ '<html>log in</html>', 'page of HTML', 'text/html' ],
	[ 'x', 'none of JSON, NDJSON and CSV', 'image/png' ]);
pull_http($hub, $server, 'senseless', { endpoints => { list => { key => 'id', format => 'auto' } } },
	{ interval => '100 ms' });
caught_up($hub, 'senseless');
for my $case (@senseless)
{
	my ($raw, $pattern, $type, %more) = @$case;

	my $since = sql('SELECT clock_timestamp()');
	$server->api('/list' => { raw => $raw, type => $type || 'json', %more });
	wait_for_sql($hub, q{SELECT state IN ('retrying', 'starting', 'catchup') AND last_error <> '' FROM tapdata.status WHERE name = 'senseless'});
	sql_becomes($hub, qq{SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'senseless' AND severity <> 'info' AND at > '$since'
		AND message ~ '$pattern'}, 't', 'refused: ' . substr $raw, 0, 30);
	$server->api('/list' => { %list, pages => undef });
	wait_for_state($hub, 'senseless', 'streaming');
}
caught_up($hub, 'senseless');
is(sql('SELECT count(*) FROM senseless.list'), scalar(@rows), 'nothing of it was stored');
sql(q{SELECT tapdata.drop_pipeline('senseless')});

# --- rows that make no sense ------------------------------------------------------------------------

$server->api('/lines' => { rows => \@rows, type => 'ndjson' }, '/table' => { rows => \@rows, type => 'csv' });
pull_http($hub, $server, 'rows', { endpoints => { lines => { key => 'id' }, table => { key => 'id' } } },
	{ interval => '1 day', on_error => 'dead_letter' });
caught_up($hub, 'rows');
$server->api(
	'/lines' => { type => 'application/x-ndjson', raw => "{\"id\": 201}\nno JSON\n{\"id\": 202, \"v\": \"a\\u0000b\"}\n[1]\n{\"id\": 203}" },
	'/table' => { type => 'text/csv', raw => "id,v\n201,a\nx,b\n203,\"c\nd\"\n204,e,f\n205,g\n" });
caught_up($hub, 'rows');
is(sql('SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM rows.lines WHERE id > 200'), '201 203', 'lines that can be read');
is(sql('SELECT string_agg(id || v, $$ $$ ORDER BY id) FROM rows.table WHERE id > 200'), "201a 203c\nd 205g", 'records of CSV');
is(sql(q{SELECT count(*), count(*) FILTER (WHERE change->>'url' ~ 'lines'), min(sqlstate) >= '22' FROM tapdata.dead_letters WHERE pipeline = 'rows'}),
	'5|3|t', 'the others are dead letters');
is(sql(q{SELECT restarts FROM tapdata.status WHERE name = 'rows'}), 0, 'without a restart');
sql(q{SELECT tapdata.drop_pipeline('rows')});

# --- answers that are too long -----------------------------------------------------------------------

for my $case ([ 'endless', { do => 'endless', times => 10 } ], [ 'bomb', undef ])
{
	my ($name, $fault) = @$case;

	$server->faults();
	$server->api('/long' => { rows => \@rows });
	pull_http($hub, $server, $name, { max_page_bytes => 1000000, endpoints => { long => { key => 'id' } } }, { interval => '1 day' });
	caught_up($hub, $name);
	$fault ? $server->faults({ path => '/long', %$fault }) : $server->api('/long' => { bomb => 100_000_000 });
	sql("SELECT tapdata.stop('$name'); SELECT tapdata.start('$name')");
	fails($name);
	like(sql("SELECT last_error FROM tapdata.status WHERE name = '$name'"), qr/too long/, "an answer that is too long: $name");
	sql("SELECT tapdata.drop_pipeline('$name')");
}
$server->faults();

# --- more pages than are allowed ---------------------------------------------------------------------

# No record is to blame, so that there is nothing to be set aside.
$server->api('/pages' => { rows => [ map { { id => $_ } } 1 .. 20 ], wrap => ['data'], pages => 'cursor' });
pull_http($hub, $server, 'pages', { endpoints => { pages => { key => 'id', records => '$.data', pagination => 'cursor', max_pages => 3 } } },
	{ on_error => 'dead_letter' });
fails('pages');
is(sql(q(SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'pages')), 0, 'too many pages are no dead letters');
sql(q(SELECT tapdata.drop_pipeline('pages')));

# --- elsewhere ------------------------------------------------------------------------------------------

my $other = Tapdata::Http->start(arguments => ['api']);
$other->api('/list' => \%list);
my $elsewhere = $other->url . '/list';
my %moved = (
	'another port' => [ { status => 302, headers => { Location => $elsewhere } }, qr/sends requests elsewhere/ ],
	'another scheme' => [ { status => 301, headers => { Location => 'file:///etc/passwd' } }, qr/sends requests elsewhere/ ],
	'a next page elsewhere' => [ { status => 200, body => '[{"id": 1}]', headers =>
		{ 'Content-Type' => 'application/json', Link => "<$elsewhere>; rel=next" } }, qr/next page that is elsewhere/ ],
	'a circle' => [ { status => 200, body => '[{"id": 1}]', times => 9, headers =>
		{ 'Content-Type' => 'application/json', Link => '</list>; rel="next"' } }, qr/is that page again/ ]);
for my $name (sort keys %moved)
{
	my ($fault, $pattern) = @{ $moved{$name} };

	$server->faults();
	$server->api('/list' => { %list, pages => undef });
	pull_http($hub, $server, 'moved', { bearer_token => 's3cret', endpoints => { list => { key => 'id', pagination => 'link' } } }, { interval => '1 day' });
	caught_up($hub, 'moved');
	$server->faults({ path => '/list', %$fault });
	sql(q{SELECT tapdata.stop('moved'); SELECT tapdata.start('moved')});
	fails('moved');
	like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'moved'}), $pattern, "$name is not followed");
	sql(q{SELECT tapdata.drop_pipeline('moved', true); SELECT tapdata.disconnect('moved')});
}
is(scalar($other->requests), 0, 'nobody has asked there');

# --- TLS ------------------------------------------------------------------------------------------------

my %tls = map { $_ => Tapdata::Http->start(name => $_, arguments => [ 'api', 'tls' ]) } qw(tls stranger);
my $localhost = $tls{tls}->uri('https', host => 'localhost');
my %safe = (bearer_token => 's3cret', endpoints => { list => { key => 'id' } });

$tls{tls}->api('/list' => { rows => \@rows });
for my $case (
	[ 'a CA that is not trusted', $localhost, {} ],
	[ 'another CA', $localhost, { ssl_ca => $tls{stranger}->directory . '/tls/ca.pem' } ],
	[ 'another name', $tls{tls}->uri('https'), { ssl_ca => $tls{tls}->directory . '/tls/ca.pem' } ])
{
	my ($name, $place, $options) = @$case;
	my $given = JSON::PP::encode_json({ %safe, %$options });

	sql("SELECT tapdata.connect('tls', '$place', '$given')");
	sql_fails($hub, q{SELECT tapdata.pull('tls', 'tls', ARRAY['*'])}, '28000', qr/certificate|name/i, $name);
	sql(q{SELECT tapdata.disconnect('tls')});
}
is(scalar($tls{tls}->requests), 0, 'no secret was sent');
pull_http($hub, $localhost, 'tls', { %safe, ssl_ca => $tls{tls}->directory . '/tls/ca.pem' }, { interval => '1 day' });
caught_up($hub, 'tls');
$tls{tls}->api('/list' => { rows => [ @rows, { id => 4000, v => 'new' } ] });
caught_up($hub, 'tls');
is(sql('SELECT count(*), max(id) FROM tls.list'), @rows + 1 . '|4000', 'the right one is read');
$tls{tls}->faults({ path => '/list', status => 302, headers => { Location => $localhost =~ s/^https/http/r . 'list' } });
sql(q{SELECT tapdata.stop('tls'); SELECT tapdata.start('tls')});
fails('tls');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'tls'}), qr/sends requests elsewhere/, 'a redirect to clear text is not followed');
$tls{tls}->faults();
sql(q{SELECT tapdata.start('tls')});
caught_up($hub, 'tls');
sql(q{SELECT tapdata.drop_pipeline('tls', true); SELECT tapdata.disconnect('tls')});

# --- hosts that are allowed ---------------------------------------------------------------------------------

$server->faults();
$server->api('/list' => \%list);
my $port = $server->port;
my $uri = $server->uri;
sql(q{ALTER SYSTEM SET tapdata.http_allowed_hosts = 'api.example.com, *.example.org'; SELECT pg_reload_conf()});
wait_for_sql($hub, 'SHOW tapdata.http_allowed_hosts', 'api.example.com, *.example.org');
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"endpoints": {"a": {"key": "id"}}}')), '42501', qr/http_allowed_hosts/);
sql_fails($hub, q(SELECT tapdata.connect('x', 'http://example.org/a')), '42501', qr/not one that may be spoken to/);
sql(q(SELECT tapdata.connect('x', 'https://a.EXAMPLE.org/a'); SELECT tapdata.disconnect('x')));
sql(q{SELECT tapdata.stop('faults'); SELECT tapdata.start('faults')});
fails('faults');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'faults'}), qr/not one that may be spoken to/, 'pipelines are held to it');
for my $list ("127.0.0.1:$port", '127.0.0.1')
{
	sql("ALTER SYSTEM SET tapdata.http_allowed_hosts = '$list'; SELECT pg_reload_conf()");
	wait_for_sql($hub, 'SHOW tapdata.http_allowed_hosts', $list);
	sql(q{SELECT tapdata.stop('faults'); SELECT tapdata.start('faults')});
	caught_up($hub, 'faults');
	sql_becomes($hub, q{SELECT state FROM tapdata.status WHERE name = 'faults'}, 'streaming', "$list allows it");
}
$uri = $other->uri;
sql("ALTER SYSTEM SET tapdata.http_allowed_hosts = '127.0.0.1:$port'; SELECT pg_reload_conf()");
wait_for_sql($hub, 'SHOW tapdata.http_allowed_hosts', "127.0.0.1:$port");
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri')), '42501', qr/not one that may/, 'another port is not');
sql(qq(CREATE ROLE plain; GRANT USAGE ON SCHEMA tapdata TO plain));
sql_fails($hub, q(SET ROLE plain; SET tapdata.http_allowed_hosts = ''), '42501', qr/permission denied/, 'only a superuser sets it');

done_testing();
