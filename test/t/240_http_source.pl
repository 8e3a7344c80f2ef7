# HTTP as a source: formats, paths, pagination, logins, columns that come and types that do not fit.

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

my $hub = new_hub('http_source', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $server = Tapdata::Http->start(arguments => ['api']);
my @rows = map { { id => $_, name => "name $_", amount => $_ / 4 } } 1 .. 7;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# Pulls endpoints anew and returns what the query says when they are read.
my $pipelines = 0;

sub pulled
{
	my ($options, $query, %arguments) = @_;
	my $name = 'p' . ++$pipelines;
	my $result;

	pull_http($hub, $arguments{uri} || $server, $name, $options, $arguments{options} || { interval => '1 day' });
	caught_up($hub, $name);
	$result = sql("SET search_path = $name; $query");
	sql("SELECT tapdata.drop_pipeline('$name', true); SELECT tapdata.disconnect('$name')") unless $arguments{keep};
	return $result;
}

my $all = q{SELECT string_agg(id || '|' || name || '|' || amount, ',' ORDER BY id) FROM orders};
my $expected = join ',', map { "$_->{id}|$_->{name}|$_->{amount}" } @rows;

# --- formats ------------------------------------------------------------------------------

for my $type ('json', 'ndjson', 'csv')
{
	$server->api('/orders' => { rows => \@rows, type => $type });
	is(pulled({ endpoints => { orders => { key => ['id'] } } }, $all), $expected, "$type");
}
$server->api('/orders' => { rows => \@rows, gzip => JSON::PP::true });
is(pulled({ endpoints => { orders => { key => 'id' } } }, $all), $expected, 'compressed');
$server->api('/orders' => { rows => \@rows, type => 'csv', file => JSON::PP::true });
is(pulled({ endpoints => { orders => { key => 'id' } } }, $all), $expected, 'a file that is compressed');
$server->api('/orders' => { rows => \@rows });
is(pulled({ key => 'id' }, $all, uri => $server->uri(undef, path => 'orders')), $expected, 'an endpoint by the URI alone');
is(pulled({ key => 'id', table_name => 'mine' }, $all =~ s/orders/mine/r, uri => $server->uri(undef, path => 'orders')),
	$expected, 'under a name of its own');
is(pulled({ key => 'id' }, q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname)
	FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0}, uri => $server->uri(undef, path => 'orders')),
	'amount numeric, id bigint, name text', 'types are found');
is(pulled({ endpoints => { orders => { key => 'id', columns => { id => 'int', name => 'varchar(20)', amount => 'float8' } } } },
	q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname)
	FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0}),
	'amount double precision, id integer, name character varying(20)', 'or given');

# --- paths ----------------------------------------------------------------------------------

$server->api('/api/v1/orders' => { rows => \@rows, wrap => [ 'data', 'the items' ] });
for my $path ('$.data."the items"[*]', '$.data."the items"', '$.data.*[*] ? (@.id > 0)')
{
	is(pulled({ endpoints => { orders => { path => '/v1/orders', key => 'id', records => $path } } }, $all,
		uri => $server->uri(undef, path => 'api/')), $expected, "path $path");
}
is(pulled({ endpoints => { orders => { path => '/api/v1/orders', key => 'id', records => '$.data.*[*] ? (@.id > 5)' } } },
	'SELECT count(*) FROM orders'), 2, 'a path with a condition');

# --- pagination -----------------------------------------------------------------------------

for my $pages (
	[ 'link', {} ], [ 'page', {} ], [ 'offset', {} ], [ 'offset', { page_size => 3 } ], [ 'cursor', {} ],
	[ 'page', { more => '$.has_more' } ], [ 'cursor', { format => 'json', max_pages => 4 } ])
{
	my ($style, $more) = @$pages;

	$server->api('/orders' => { rows => \@rows, wrap => ['data'], pages => $style });
	$server->forget;
	is(pulled({ endpoints => { orders => { key => 'id', records => '$.data', pagination => $style, %$more } } }, $all),
		$expected, "pages by $style " . join ' ', %$more);
}
my ($with_size) = grep { $_->{path} =~ /offset=2/ } $server->requests;
$server->forget;
pulled({ endpoints => { orders => { key => 'id', records => '$.data', pagination => 'cursor', page_size => 2,
	query => 'a=b%20c' } } }, 'SELECT 1');
ok((grep { $_->{path} eq '/orders?a=b%20c&cursor=c2&per_page=2' } $server->requests), 'parameters')
  or diag explain [ map { $_->{path} } $server->requests ];

# each page is a transaction where rows have keys
pull_http($hub, $server, 'pages', { endpoints => { orders => { key => 'id', records => '$.data', pagination => 'cursor' } } });
caught_up($hub, 'pages');
cmp_ok(sql(q{SELECT count(DISTINCT xmin::text) FROM pages.orders}), '>', 1, 'pages are transactions');
sql(q{SELECT tapdata.drop_pipeline('pages')});

# --- logins -----------------------------------------------------------------------------------

my %login = (
	basic => [ { login => 'hub:pass word' }, {}, { user => 'hub:pass%20word' } ],
	bearer => [ { login => 'Bearer abc' }, { bearer_token => 'abc' } ],
	header => [ { header => [ 'X-Api-Key', 'k3y' ] }, { secret_headers => { 'X-Api-Key' => 'k3y' } } ],
	query => [ { parameter => [ 'api_key', 'k3y' ] }, { query => 'api_key=k3y' } ],
	oauth => [ { login => 'oauth' }, { oauth_token_url => $server->url . '/token', oauth_client_id => 'hub',
		oauth_client_secret => 's3cret', oauth_scope => 'read' } ]);

for my $kind (sort keys %login)
{
	my ($route, $options, $uri) = @{ $login{$kind} };

	for my $pages ('none', 'link')
	{
		$server->api('/orders' => { rows => \@rows, pages => $pages, %$route });
		is(pulled({ %$options, endpoints => { orders => { key => 'id', pagination => $pages } } }, $all,
			uri => $server->uri(undef, %{ $uri || {} })), $expected, "login by $kind, pages by $pages");
	}
}
$server->api('/orders' => { rows => \@rows, login => 'oauth' }, '/token' => { body => JSON::PP::true });
is(pulled({ %{ $login{oauth}[1] }, oauth_login => 'body', endpoints => { orders => { key => 'id' } } }, $all), $expected,
	'OAuth with the login in the body');

# a token that the server takes back is fetched once more
$server->api('/orders' => { rows => \@rows, login => 'oauth' }, '/token' => { expires => 1, says => 3600 });
pull_http($hub, $server, 'expiring', { %{ $login{oauth}[1] }, endpoints => { orders => { key => 'id' } } }, { interval => '300ms' });
caught_up($hub, 'expiring');
$server->forget;
my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
sleep 0.1 until (grep { $_->{path} eq '/token' } $server->requests) >= 2 || time > $deadline;
cmp_ok(scalar(grep { $_->{path} eq '/token' } $server->requests), '>=', 2, 'tokens that were taken back are replaced');
sql_becomes($hub, q{SELECT state, restarts FROM tapdata.status WHERE name = 'expiring'}, 'streaming|0', 'without a restart');
sql(q{SELECT tapdata.drop_pipeline('expiring')});

# --- rows that do not fit ---------------------------------------------------------------------

$server->api('/orders' => { rows => [ @rows[ 0 .. 2 ] ] });
pull_http($hub, $server, 'grows', { endpoints => { orders => { key => 'id' } } },
	{ interval => '1 day', on_error => 'dead_letter' });
caught_up($hub, 'grows');
$server->api('/orders' => { rows => [ @rows[ 0 .. 2 ], { id => 4, name => 'new', place => 'here', tags => [ 'a', 1 ] } ] });
caught_up($hub, 'grows');
is(sql('SELECT id, place, tags FROM grows.orders WHERE id > 2 ORDER BY id'), "3||\n4|here|[\"a\", 1]", 'new fields become columns');
$server->api('/orders' => { rows => [ { id => 5, name => 'five' }, { id => 'six' }, { id => 7, name => 'seven' } ] });
caught_up($hub, 'grows');
is(sql('SELECT count(*), max(id) FROM grows.orders'), '6|7', 'a row that does not fit is left out');
$server->api('/orders' => { rows => [ { id => 'six' }, { id => 8, name => 'eight' } ] });
caught_up($hub, 'grows') for 1 .. 2;
is(sql('SELECT count(*), max(id) FROM grows.orders'), '7|8', 'later ones are read');
is(sql(q{SELECT count(*) FROM tapdata.dead_letters WHERE pipeline = 'grows'}), 1, 'which is told once');
is(sql(q{SELECT change->>'record', change->>'data' ~ 'six', sqlstate, error ~ 'id' FROM tapdata.dead_letters WHERE pipeline = 'grows'}),
	'2|t|22P02|t', 'it is a dead letter');
like(sql(q{SELECT change->>'url' FROM tapdata.dead_letters WHERE pipeline = 'grows' LIMIT 1}), qr{^http://.*/orders$}, 'that says where it was');

# --- what is refused ------------------------------------------------------------------------------

my $uri = $server->uri;
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"endpoints": {"a": {}}}')), '22023', qr/neither a "key" nor a "cursor"/);
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"endpoints": {"a": {"keys": "id"}}}')), '22023', qr/no setting "keys"/);
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"endpoints": {"a": {"key": "id", "pagination": "next"}}}')), '22023', qr/none, link, page, offset, cursor/);
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"endpoints": {"a": {"key": "id", "records": "data[*"}}}')), '42601', qr/jsonpath/);
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"endpoints": {"a": {"key": "id", "interval": "1 month"}}}')), '22023', qr/interval/);
sql_fails($hub, qq(SELECT tapdata.connect('x', '$uri', '{"oauth_client_id": "a"}')), '22023', qr/oauth_token_url/);
sql("SELECT tapdata.connect('optional', '$uri', '{\"endpoints\": {\"a\": {\"key\": \"id\"}}}')");
for my $option ('"snapshot": "never"', '"workers": 4', '"chunk_rows": 10', '"indexes": true')
{
	sql_fails($hub, "SELECT tapdata.pull('optional', 'optional', '{*}', options => '{$option}')", '22023',
		qr/has no effect with connector "http"\n.*DETAIL:.*stream of records.*HINT:  Valid options are: ddl,/s, "$option, which an API does not have");
}
sql_fails($hub, qq(SELECT tapdata.connect('x', '${uri}y', '{"endpoints": {"a": {"deletes": "compare", "append": true}}}')), '22023', qr/no "key"/);
sql(qq(SELECT tapdata.connect('none', '$uri', '{"endpoints": {"nothing": {"key": "id"}}}')));
sql_fails($hub, q{SELECT tapdata.pull('none', 'none', ARRAY['*'])}, 'HV000', qr/404/, 'an endpoint that is not there');
is(sql(q{SELECT count(*) FROM tapdata.test_connection('none') WHERE NOT ok}), 1, 'test_connection() says it');
is(sql(q{SELECT count(*) FROM tapdata.test_connection('grows') WHERE NOT ok}), 0, 'or that all is well');
sql(qq(SELECT tapdata.connect('astray', '${uri}orders', '{"key": "id", "records": "\$.nowhere[*]"}')));
like(sql(q{SELECT ok, required, detail || hint FROM tapdata.test_connection('astray', 'source')}),
	qr/^f\|f\|"orders".*leads to nothing in HTTP status 200: .*Correct the path/s, 'a path of records that leads to nothing, with the answer');
sql_fails($hub, q{SELECT * FROM tapdata.discover('astray')}, '55000', qr/leads to nothing.*test_connection\(\) shows/s, 'discover() says it, too');
sql(qq(SELECT tapdata.connect('bare', '${uri}bare')));
is(sql(q{SELECT string_agg(DISTINCT needed_for, ',') FROM tapdata.test_connection('bare', 'source') WHERE NOT ok}), 'source', 'a connection without options of a source is checked as one where that is asked for');

done_testing();
