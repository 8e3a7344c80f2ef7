# Pages of HTTP as a source: which is the last one, and what is known of them when the endpoint's
# settings are altered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use Tapdata::Http;
use Tapdata::Test;
use Test::More;

my $json = JSON::PP->new->canonical;
my $server = Tapdata::Http->start(arguments => ['api']);
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $uri = $server->uri;

foreach my $test (
	['pages of which nothing is wanted' => \&filtered],
	['tokens like paths' => \&slashes],
	['a page that is away for a moment' => \&away],
	['settings that are altered' => \&altered],
	['secrets that are sent back' => \&secrets],
	['when requests are allowed again' => \&allowed_again])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

sub sql
{
	my (@queries) = @_;

	return $hub->safe_psql('postgres', join '; ', @queries);
}

sub ids
{
	my ($table) = @_;

	return sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM $table");
}

sub polled
{
	my ($name, $endpoint, $options) = @_;

	pull_http($hub, $server, $name, { %{ $options || {} }, endpoints => { items => $endpoint } }, { interval => '1 day', retry_ms => 0 });
	return caught_up($hub, $name);
}

sub stopped
{
	my ($name) = @_;

	return sql("SELECT tapdata.drop_pipeline('$name')");
}

# Orders stand on the first page and the fourth.
sub filtered
{
	my @rows = map { { id => $_, type => $_ < 2 || $_ > 6 ? 'order' : 'note' } } 0 .. 9;
	my %route = (rows => \@rows, wrap => ['items']);
	my %endpoint = (key => 'id', records => '$.items[*] ? (@.type == "order")');

	for my $style ('page', 'offset', 'cursor', 'link')
	{
		for my $deletes ('keep', 'compare')
		{
			$server->api('/items' => { %route, pages => $style });
			polled("${style}_$deletes", { %endpoint, pagination => $style, deletes => $deletes });
			is(ids("${style}_$deletes.items"), '0 1 7 8 9', "$style, deletes: $deletes");
			stopped("${style}_$deletes");
		}
	}

	# nothing is wanted any more, but the list is there
	$server->api('/items' => { %route, pages => 'page' });
	polled('emptied', { %endpoint, pagination => 'page', deletes => 'compare' });
	$_->{type} = 'note' for @rows;
	$server->api('/items' => { %route, pages => 'page' });
	caught_up($hub, 'emptied');
	sql_ok($hub, 'SELECT count(*) FROM emptied.items', '0', 'none of them is wanted any more');
	stopped('emptied');

	# each page has another number of records than of rows
	$server->api('/items' => { rows => [ map { { id => $_ } } 0 .. 5 ], pages => 'offset', wrap => ['items'] });
	polled('by_rows', { key => 'id', pagination => 'offset', records => '$.items[*] ? (@.id != 2)' });
	is(ids('by_rows.items'), '0 1 3 4 5', 'the offset counts what was sent');
	stopped('by_rows');
	my $parts = $json->encode({ endpoints => { items => { key => 'id', pagination => 'offset', records => '$.items[*] ? (@.a == "?)").parts[*]' } } });
	sql_fails($hub, "SELECT tapdata.connect('x', '$uri', '$parts')", '22023', qr/cannot be told by "records".*end with its condition/s,
		'what cannot be counted is refused');

	# conditions that follow each other, and an empty page that is none
	$server->api('/items' => { rows => [ map { { id => $_ } } 0 .. 5 ], pages => 'offset', wrap => ['items'] });
	$server->faults({ path => '/items?offset=6', status => 200, body => '{"items": null}', headers => { 'Content-Type' => 'application/json' }, times => 1_000_000 });
	polled('twice', { key => 'id', pagination => 'offset', records => '$.items[*] ? (@.id != 2) ? (@.id != 4)' });
	is(ids('twice.items'), '0 1 3 5', 'two conditions');
	stopped('twice');
	$server->faults();

	# an answer without the list, where the condition comes first
	$server->api('/items' => { raw => '{"status": "ok", "data": [{"id": 1}]}' });
	polled('status', { key => 'id', deletes => 'compare', records => '$ ? (@.status == "ok").data[*]' });
	is(ids('status.items'), '1', 'a condition on the answer');
	$server->api('/items' => { raw => '{"status": "error"}' });
	my ($code) = $hub->psql('postgres', q{SELECT tapdata.wait('status', '1 s')});
	isnt($code, 0, 'one that it does not fulfil is no empty list');
	error_becomes($hub, 'status', qr/leads to nothing/, 'which is said');
	is(ids('status.items'), '1', 'nothing is deleted');
	stopped('status');
	return;
}

# Base64 may begin with a slash.
sub slashes
{
	for my $token ('/', '/AbC+/', '/items_')
	{
		$server->api('/items' => { rows => [ map { { id => $_ } } 1 .. 5 ], wrap => ['items'], pages => 'cursor', token => $token });
		polled('slashes', { key => 'id', records => '$.items', pagination => 'cursor' });
		is(ids('slashes.items'), '1 2 3 4 5', "tokens as ${token}2");
		sql(q{SELECT tapdata.drop_pipeline('slashes', true); SELECT tapdata.disconnect('slashes')});
	}

	# and these are URLs
	for my $next ('/items?cursor=c2', '/other?cursor=c2', '/items/2')
	{
		my ($path) = $next =~ /^([^?]*)/;

		$server->api('/items' => { raw => $json->encode({ items => [ { id => 1 } ], next => $next }) },
			($path eq '/items' ? () : ($path => { raw => $json->encode({ items => [ { id => 2 } ] }) })));
		$server->faults({ path => $next, status => 200, headers => { 'Content-Type' => 'application/json' },
			body => $json->encode({ items => [ { id => 2 } ] }), times => 1_000_000 }) if $path eq '/items';
		polled('links', { key => 'id', records => '$.items', pagination => 'cursor' });
		is(ids('links.items'), '1 2', "a link as $next");
		sql(q{SELECT tapdata.drop_pipeline('links', true); SELECT tapdata.disconnect('links')});
		$server->faults();
	}
	return;
}

# Where all that is missing would be deleted, one 404 is not the end of the list.
sub away
{
	my %route = (rows => [ map { { id => $_ } } 1 .. 6 ], wrap => ['items'], pages => 'page');

	$server->api('/items' => \%route);
	polled('away', { key => 'id', records => '$.items', pagination => 'page', deletes => 'compare' });
	is(ids('away.items'), '1 2 3 4 5 6', 'all pages');
	$server->faults({ path => '/items?page=2', status => 404 });
	caught_up($hub, 'away');
	is(ids('away.items'), '1 2 3 4 5 6', 'a page that is there when it is asked for again');
	$server->faults({ path => '/items?page=3', status => 404, times => 1_000_000 });
	caught_up($hub, 'away');
	is(ids('away.items'), '1 2 3 4', 'one that stays away ends the list');
	stopped('away');
	$server->faults();
	polled('more', { key => 'id', records => '$.items', pagination => 'page', deletes => 'compare', more => '$.has_more' });
	$server->faults({ path => '/items?page=3', status => 404, times => 1_000_000 });
	my ($code) = $hub->psql('postgres', q{SELECT tapdata.wait('more', '2 min')});
	isnt($code, 0, 'where the server says that there is a page,');
	error_becomes($hub, 'more', qr/404/, 'it must be there');
	is(ids('more.items'), '1 2 3 4 5 6', 'nothing is deleted');
	stopped('more');
	$server->faults();
	return;
}

sub altered
{
	my %route = (etag => JSON::PP::true, raw => $json->encode({ old => [ { id => 1 } ], new => [ { id => 2 } ] }));
	my $alter = sub { my ($name, %endpoint) = @_; sql(qq(SELECT tapdata.alter_connection('$name', options => '${\ $json->encode({ endpoints => { items => { key => 'id', %endpoint } } })}'))); };

	$server->api('/items' => \%route);
	polled('altered', { key => 'id', records => '$.old' });
	$alter->('altered', records => '$.new');
	caught_up($hub, 'altered');
	is(ids('altered.items'), '1 2', 'what was not changed is read by another path');
	stopped('altered');

	# it stands before the third page when it is altered
	my @rows = map { { id => $_, at => $_ } } 1 .. 8;
	$server->api('/items' => { rows => \@rows, wrap => ['items'], pages => 'page' });
	$server->faults({ path => '/items?page=3', status => 503, times => 1_000_000 });
	pull_http($hub, $server, 'paged', { endpoints => { items => { key => 'id', records => '$.items', pagination => 'page', columns => { id => 'int' } } } },
		{ interval => '1 day', retry_ms => 0 });
	wait_for_sql($hub, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM paged.items}, '1 2 3 4');
	wait_for_sql($hub, q{SELECT restarts > 0 FROM tapdata.status WHERE name = 'paged'});
	unshift @rows, { id => -1 }, { id => 0 };
	$server->api('/items' => { rows => \@rows, wrap => ['items'], pages => 'page' });
	$alter->('paged', records => '$.items', pagination => 'page', columns => { id => 'int' }, query => 'all=1');
	$server->faults();
	caught_up($hub, 'paged');
	is(ids('paged.items'), '-1 0 1 2 3 4 5 6 7 8', 'another list is read from its first page');
	stopped('paged');

	# the cursor is a number, and then a time
	@rows = map { { id => $_, n => $_ * 1000, at => "2026-01-0$_" } } 1 .. 3;
	$server->api('/items' => { rows => \@rows, since => [ 'since', 'at' ] });
	my %columns = (columns => { id => 'int', n => 'int', at => 'date' });
	polled('cursor', { key => 'id', cursor => 'id', cursor_parameter => 'ignored', %columns });
	$server->forget;
	$alter->('cursor', cursor => 'at', %columns);
	caught_up($hub, 'cursor');
	my ($first) = $server->requests;
	unlike($first->{path}, qr/since/, 'the value of another column is no cursor');
	$server->forget;
	caught_up($hub, 'cursor');
	ok((grep { $_->{path} =~ /since=2026-01-03/ } $server->requests), 'until it has one of its own')
	  or diag explain [ map { $_->{path} } $server->requests ];
	sql_ok($hub, q{SELECT dead_letters FROM tapdata.status WHERE name = 'cursor'}, '0', 'without an error of data');
	stopped('cursor');
	return;
}

sub secrets
{
	$server->api('/items' => { rows => [ { id => 1 } ] });
	polled('secrets', { key => 'id' }, { query => 'app=s%2Fcret&api_key=s%2Fcret-9&v=1' });
	$server->faults({ path => '/items', status => 500, body => 'bad key s/cret-9 (sent as s%2Fcret-9)', times => 1_000_000 });
	$hub->psql('postgres', q{SELECT tapdata.wait('secrets', '1 s')});
	my $error = error_becomes($hub, 'secrets', qr/bad key/, 'the error of the server is shown');
	unlike($error, qr/cret-9/, 'without the key');
	is(sql(q{SELECT count(*) FROM tapdata.events WHERE message ~ 'cret-9'}), 0, 'nor do events have it');
	stopped('secrets');
	$server->faults();

	# a parameter whose end is a secret is not it
	$server->api('/items' => { rows => [ map { { id => $_ } } 1 .. 4 ], pages => 'link', parameter => [ 'key', 'a' ] });
	$server->forget;
	polled('parts', { key => 'id', pagination => 'link', query => 'monkey=ab' }, { query => 'key=a' });
	is(ids('parts.items'), '1 2 3 4', 'it is sent beside one that looks alike');
	ok(!(grep { $_->{path} !~ /[?&]monkey=ab(?:&|$)/ } $server->requests), 'which stays as it is');
	stopped('parts');
	return;
}

# A date is no number of seconds; milliseconds are.
sub allowed_again
{
	my $reset = sub {
		my ($name, $value) = @_;

		$server->api('/items' => { rows => [ { id => 1 } ] });
		polled($name, { key => 'id' });
		$server->faults({ path => '/items', status => 200, body => '[{"id": 2}]', headers => { 'Content-Type' => 'application/json',
			'X-RateLimit-Remaining' => '0', 'X-RateLimit-Reset' => $value } });
		caught_up($hub, $name);
		my $begin = time;
		caught_up($hub, $name);
		stopped($name);
		return time - $begin;
	};

	cmp_ok($reset->('dated', '2026-01-01T00:00:00Z'), '<', 120, 'a date is not taken for seconds');
	cmp_ok($reset->('milliseconds', int((time + 2) * 1000)), '<', 120, 'nor are milliseconds');
	return;
}
