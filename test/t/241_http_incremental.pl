# HTTP as a source, over time: cursors, overlaps, ETags, deletes by comparison, rows that are
# only added, pace, endpoints that come and go, wait().

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;

Tapdata::Http->require;

my $hub = new_hub('http_incremental', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $server = Tapdata::Http->start(arguments => ['api']);
my $true = JSON::PP::true;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# Whether at least so many seconds, on average, are between requests at these times. They are noted
# by the server; if it notes the first one late, that is nearer to the others.
sub keeps_pace
{
	my ($seconds, @times) = @_;

	foreach my $first (0, 1)
	{
		return 1 if $times[-1] - $times[$first] > ($#times - $first) * $seconds;
	}
	diag join ' ', map { sprintf '%.3f', $_ - $times[0] } @times;
	return 0;
}

sub paths
{
	return map { $_->{path} } $server->requests;
}

# --- a cursor --------------------------------------------------------------------------------

my @events = map { { id => $_, version => 10 * $_, at => sprintf('2026-01-02T03:%02d:00Z', $_) } } reverse 1 .. 5;
my %since = (rows => \@events, since => [ 'since', 'version' ], pages => 'link');

$server->api('/events' => \%since);
pull_http($hub, $server, 'inc', { endpoints => { events =>
	{ key => 'id', cursor => 'version', cursor_start => 20, pagination => 'link' } } }, { interval => '1 day' });
caught_up($hub, 'inc');
is(sql('SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM inc.events'), '2 3 4 5', 'from the start that was given');
$server->forget;
push @events, { id => 6, version => 60, at => '2026-01-02T04:00:00Z' };
$events[0]{version} = 55;
$server->api('/events' => \%since);
caught_up($hub, 'inc');
is(join(' ', paths()), '/events?since=50', 'only what is new is asked for');
is(sql('SELECT string_agg(id || $$:$$ || version, $$ $$ ORDER BY id) FROM inc.events'),
	'2:20 3:30 4:40 5:55 6:60', 'and stored');
$server->forget;
sql(q{SELECT tapdata.stop('inc'); SELECT tapdata.start('inc')});
caught_up($hub, 'inc');
is((paths())[0], '/events?since=60', 'a restart goes on there');
is(sql(q{SELECT count(*) FROM tapdata.dead_letters}), 0, 'no dead letter');
$server->forget;
sql(q{SELECT tapdata.resync('inc')});
caught_up($hub, 'inc');
is((paths())[0], '/events?since=20', 'resync() begins anew');
is(sql('SELECT count(*) FROM inc.events'), 5, 'with all rows');

# overlaps of times and numbers
for my $case ([ 'at', 'at', '90 s', '2026-01-02T03%3A03%3A30%2B00%3A00' ], [ 'version', 'version', '15', '35' ])
{
	my ($name, $cursor, $overlap, $expected) = @$case;
	my @old = map { { id => $_, version => 10 * $_, at => sprintf('2026-01-02T03:%02d:00Z', $_) } } 1 .. 5;

	$server->api('/events' => { rows => \@old });
	pull_http($hub, $server, "overlap_$name", { endpoints => { events =>
		{ key => 'id', cursor => $cursor, overlap => $overlap, cursor_parameter => 'from' } } }, { interval => '1 day' });
	caught_up($hub, "overlap_$name");
	$server->forget;
	caught_up($hub, "overlap_$name");
	is((paths())[0], "/events?from=$expected", "overlap of $name");
	sql("SELECT tapdata.drop_pipeline('overlap_$name')");
}

# without a key rows are added, none twice
my @log = map { { n => $_, text => "line $_" } } 1 .. 5;
$server->api('/log' => { rows => \@log, after => [ 'after', 'n' ], pages => 'page' });
pull_http($hub, $server, 'added', { endpoints => { log => { cursor => 'n', cursor_parameter => 'after', pagination => 'page' } } },
	{ interval => '1 day' });
caught_up($hub, 'added');
push @log, { n => 6, text => 'line 6' };
$server->api('/log' => { rows => \@log, after => [ 'after', 'n' ], pages => 'page' });
caught_up($hub, 'added') for 1 .. 2;
is(sql('SELECT count(*), count(DISTINCT n) FROM added.log'), '6|6', 'rows without a key are added once');

# --- ETag and Last-Modified -----------------------------------------------------------------

my @rows = map { { id => $_, v => "v$_" } } 1 .. 3;
my %tagged = (rows => \@rows, etag => $true);
my %dated = (rows => \@rows, modified => 'Wed, 21 Oct 2026 07:28:00 GMT');

$server->api('/tagged' => \%tagged, '/dated' => \%dated);
pull_http($hub, $server, 'tags', { endpoints => { tagged => { key => 'id', deletes => 'compare' }, dated => { key => 'id' } } },
	{ interval => '1 day' });
caught_up($hub, 'tags');
$server->forget;
caught_up($hub, 'tags');
my @asked = $server->requests;
ok((grep { $_->{path} eq '/tagged' && $_->{headers}{'if-none-match'} } @asked), 'If-None-Match');
ok((grep { $_->{path} eq '/dated' && $_->{headers}{'if-modified-since'} } @asked), 'If-Modified-Since');
is(sql('SELECT (SELECT count(*) FROM tags.tagged), (SELECT count(*) FROM tags.dated)'), '3|3', 'nothing has changed');
sql(q{SELECT tapdata.stop('tags'); SELECT tapdata.start('tags')});
$server->forget;
caught_up($hub, 'tags');
ok((grep { $_->{headers}{'if-none-match'} } $server->requests), 'also after a restart');
pop @rows;
$server->api('/tagged' => \%tagged, '/dated' => \%dated);
caught_up($hub, 'tags');
is(sql('SELECT (SELECT count(*) FROM tags.tagged), (SELECT count(*) FROM tags.dated)'), '2|3', 'another tag is another answer');

# --- deletes by comparison --------------------------------------------------------------------

my %list = (rows => [ map { { id => $_, a => "a$_", b => $_ } } 1 .. 7 ], pages => 'link', wrap => ['data']);

$server->api('/list' => \%list);
pull_http($hub, $server, 'cmp', { endpoints => { list =>
	{ key => 'id', deletes => 'compare', pagination => 'link', records => '$.data' } } }, { interval => '1 day' });
caught_up($hub, 'cmp');
is(sql('SELECT count(*), sum(b) FROM cmp.list'), '7|28', 'the first content');
my $unchanged = sql(q{SELECT string_agg(xmin::text, ',' ORDER BY id) FROM cmp.list WHERE id IN (1, 6)});
$list{rows} = [ grep { $_->{id} != 2 } @{ $list{rows} }, { id => 8, a => 'a8', b => 8 } ];
$list{rows}[1] = { id => 3, a => 'new', b => undef };
$server->api('/list' => \%list);
caught_up($hub, 'cmp');
is(sql('SELECT string_agg(id || a || coalesce(b, 0), $$ $$ ORDER BY id) FROM cmp.list'),
	'1a11 3new0 4a44 5a55 6a66 7a77 8a88', 'deleted, changed and new rows');
is(sql(q{SELECT string_agg(xmin::text, ',' ORDER BY id) FROM cmp.list WHERE id IN (1, 6)}), $unchanged, 'others are not touched');
sql_becomes($hub, q{SELECT inserts, updates, deletes FROM tapdata.tables WHERE pipeline = 'cmp'}, '8|1|1', 'counted');
$list{rows}[6] = { id => 9, a => 'a9', b => 9, c => 'third' };
$server->api('/list' => \%list);
caught_up($hub, 'cmp');
wait_for_sql($hub, q{SELECT count(*) = 1 FROM pg_attribute WHERE attrelid = 'cmp.list'::regclass AND attname = 'c'});
wait_for_sql($hub, q{SELECT coalesce(max(c), '') FROM cmp.list}, 'third');
is(sql('SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM cmp.list'), '1 3 4 5 6 7 9', 'a new column within a comparison');

# what is not the list does not delete the rows
$server->api('/list' => { raw => '{"error": "try again"}' });
my ($code) = $hub->psql('postgres', q{SELECT tapdata.wait('cmp', '1 s')});
isnt($code, 0, 'an answer without the list is an error');
error_becomes($hub, 'cmp', qr/leads to nothing/, 'which is said');
is(sql('SELECT count(*) FROM cmp.list'), 7, 'and deletes nothing');
$list{rows} = [];
$server->api('/list' => \%list);
caught_up($hub, 'cmp');
is(sql('SELECT count(*) FROM cmp.list'), 0, 'but an empty list does');

# --- pace -------------------------------------------------------------------------------------

$server->api('/quick' => { rows => \@rows });
pull_http($hub, $server, 'quick', { endpoints => { quick => { key => 'id', interval => '200 ms' } } });
caught_up($hub, 'quick');
push @rows, { id => 99, v => 'polled' };
$server->api('/quick' => { rows => \@rows });
wait_for_sql($hub, q{SELECT count(*) FROM quick.quick WHERE id = 99}, 1);
my $writes = sql(q{SELECT max(xmin::text) FROM quick.quick});
$server->forget;
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
select undef, undef, undef, 0.05 until $server->requests >= 11 || time > $deadline;
is(sql(q{SELECT max(xmin::text) FROM quick.quick}), $writes, 'rows that are the same are not written');
my @times = map { $_->{at} } $server->requests;
ok(keeps_pace(0.175, @times[ 0 .. 10 ]), 'polls keep their interval');
sql(q{SELECT tapdata.drop_pipeline('quick')});

$server->api('/slow' => { rows => [ map { { id => $_ } } 1 .. 42 ], pages => 'link' });
pull_http($hub, $server, 'slow', { requests_per_minute => 300,
	endpoints => { slow => { key => 'id', pagination => 'link' } } }, { interval => '1 day' });
caught_up($hub, 'slow');
@times = map { $_->{at} } grep { $_->{path} =~ /^.slow\?start/ } $server->requests;
cmp_ok(scalar @times, '>=', 20, 'all pages are asked for');
ok(keeps_pace(0.175, @times), 'requests_per_minute');
is(sql('SELECT count(*) FROM slow.slow'), 42, 'all pages');

# --- endpoints that come and go -----------------------------------------------------------------

$server->api('/one' => { rows => \@rows }, '/two' => { rows => \@rows });
pull_http($hub, $server, 'many', { endpoints => { one => { key => 'id' } } }, { interval => '1 day' });
caught_up($hub, 'many');
sql(q{SELECT tapdata.alter_connection('many', options => '{"endpoints": {"one": {"key": "id"}, "two": {"key": "id"}}}')});
wait_for_sql($hub, q{SELECT count(*) FROM tapdata.tables WHERE pipeline = 'many' AND state = 'streaming'}, 2);
caught_up($hub, 'many');
is(sql('SELECT count(*) FROM many.two'), scalar(@rows), 'a new endpoint is a new table');
sql(q{SELECT tapdata.remove_tables('many', ARRAY['two'])});
push @rows, { id => 100, v => 'later' };
$server->api('/one' => { rows => \@rows }, '/two' => { rows => \@rows });
caught_up($hub, 'many');
is(sql('SELECT (SELECT count(*) FROM many.one) - (SELECT count(*) FROM many.two)'), 1, 'one that was removed is not polled');

is(sql(q{SELECT count(*) FROM tapdata.events WHERE severity = 'error' AND pipeline <> 'cmp'}), 0, 'no pipeline failed meanwhile');

done_testing();
