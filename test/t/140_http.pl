# The HTTP sink as a webhook: forms of bodies, headers, logins, signatures, TLS, options
# that are wrong, and what each change says.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;

Tapdata::Http->require;

my $hub = new_hub('http', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $server = Tapdata::Http->start(arguments => ['webhook']);

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# Publishes s.* anew with these options and returns the changes that it sends for $statements.
my $pipelines = 0;

sub sent
{
	my ($options, $statements, %arguments) = @_;
	my $name = 'p' . ++$pipelines;

	$server->forget;
	publish_http($hub, $arguments{target} || $server, $name, $arguments{tables} || ['s.*'],
		{ snapshot => 'never', %$options }, %arguments);
	wait_for_state($hub, $name, 'streaming');
	sql($_) for ref $statements ? @$statements : $statements;
	caught_up($hub, $name);
	my @changes = $server->changes;
	sql("SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	return @changes;
}

sub values_of
{
	my ($key, @changes) = @_;

	return join ' ', map { defined $_->{$key} ? $_->{$key} : 'null' } @changes;
}

# --- what a change says -----------------------------------------------------------------

sql(q{
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v text, big text);
	CREATE TABLE s.none (a int, b text);
	ALTER TABLE s.none REPLICA IDENTITY FULL;
	ALTER TABLE s.t ALTER big SET STORAGE external;
	INSERT INTO s.t VALUES (1, 'ä"\\ ' || chr(10) || 'x', repeat('x', 5000)), (2, NULL, '');});

publish_http($hub, $server, 'copy', ['s.t']);
caught_up($hub, 'copy');
my @changes = $server->changes;
is(values_of('op', @changes), 'read read', 'the copy');
is($changes[0]{after}{v}, "\x{e4}\"\\ \nx", 'text');
is(length $changes[0]{after}{big}, 5000, 'a large value');
is($changes[0]{xid}, undef, 'rows of a copy have no transaction');
is_deeply($changes[0]{key}, { id => 1 }, 'key');
my ($request) = $server->requests;
is("$request->{method} $request->{path}", 'POST /', 'method and path');
is($request->{headers}{'content-type'}, 'application/json', 'type of the body');
like($request->{headers}{'idempotency-key'}, qr/\S{20,}/, 'an idempotency key');
ok(!exists $request->{headers}{authorization}, 'no login');
ok(!exists $request->{headers}{expect}, 'it does not wait for leave to send');

$server->forget;
sql(q{BEGIN; INSERT INTO s.t VALUES (3, 'three'); UPDATE s.t SET v = 'one' WHERE id = 1;
	UPDATE s.t SET id = 20 WHERE id = 2; DELETE FROM s.t WHERE id = 3; COMMIT;});
sql('TRUNCATE s.t');
caught_up($hub, 'copy');
@changes = $server->changes;
is(values_of('op', @changes), 'insert update update delete truncate', 'kinds');
is(values_of('table', @changes), 't t t t t', 'tables');
is(values_of('seq', @changes), '0 1 2 3 0', 'places in the transaction');
my %xids = map { $_->{xid} => 1 } @changes;
is(scalar keys %xids, 2, 'transactions');
like($changes[0]{commit_time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/, 'time of the commit');
like($changes[0]{lsn}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'LSN');
is($changes[0]{origin}, undef, 'a local change');
is_deeply($changes[1]{unchanged}, ['big'], 'a large value that did not change is left out, and named');
ok(!exists $changes[1]{after}{big}, 'and is not NULL');
is_deeply([ $changes[2]{before}{id}, $changes[2]{key}{id} ], [ 2, 20 ], 'a key that changes');
is_deeply([ $changes[3]{key}, $changes[3]{after} ], [ { id => 3 }, undef ], 'a delete');
is_deeply([ $changes[4]{key}, $changes[4]{before}, $changes[4]{after} ], [ undef, undef, undef ], 'a truncate');
sql(q{SELECT tapdata.drop_pipeline('copy'); SELECT tapdata.disconnect('copy');});

# --- origins ------------------------------------------------------------------------------

@changes = sent({}, q{SELECT pg_replication_origin_create('elsewhere');
	SELECT pg_replication_origin_session_setup('elsewhere'); INSERT INTO s.none VALUES (1, 'x');});
is(values_of('origin', @changes), 'elsewhere', 'the origin');
is_deeply($changes[0]{key}, undef, 'a table without a key');

# --- forms of bodies ------------------------------------------------------------------------

my $ten = q{INSERT INTO s.t SELECT n, 'v' || n FROM generate_series(1, 10) n; DELETE FROM s.t;};

is(scalar(sent({ body => 'array' }, $ten)), 20, 'array');
is(scalar(sent({ body => 'ndjson' }, $ten)), 20, 'ndjson');
($server->requests)[0]{headers}{'content-type'} eq 'application/x-ndjson' or fail('type of ndjson');
is(scalar(sent({ body => 'single', method => 'PUT' }, $ten)), 20, 'single');
is(scalar(grep { $_->{method} eq 'PUT' && $_->{body} =~ /^\{.*\}$/ } $server->requests), 20, 'a request each, by PUT');

# --- transactions stay together, and limits are kept -------------------------------------

sent({ batch_rows => 10 }, [ map { "BEGIN; INSERT INTO s.t VALUES ($_), (-$_); UPDATE s.t SET v = 'x' WHERE id = $_; COMMIT" } 1 .. 30 ]);
my %requests;
my @sizes;
for my $taken ($server->requests)
{
	my @xids = map { $_->{xid} } @{ JSON::PP::decode_json($taken->{body}) };

	push @sizes, scalar @xids;
	my %once = map { $_ => 1 } @xids;
	$requests{$_}++ for keys %once;
}
is(scalar(grep { $_ > 1 } values %requests), 0, 'no transaction that fits is divided');
is(scalar keys %requests, 30, 'all of them were sent');
is(scalar(grep { $_ > 10 } @sizes), 0, 'no request has more changes than batch_rows');
@changes = sent({ batch_rows => 10 }, 'DELETE FROM s.t');
is(scalar(@changes), 60, 'a transaction that does not fit');
is(scalar(grep { $_->{seq} != 0 } @changes), 59, 'is sent in parts');
is(values_of('seq', @changes), join(' ', 0 .. 59), 'in order');
@changes = sent({ batch_bytes => 1024, batch_rows => 1000 }, q{INSERT INTO s.t SELECT n, repeat('y', 200) FROM generate_series(1, 100) n});
is(scalar(@changes), 100, 'a limit of bytes');
is(scalar(grep { length $_->{body} > 2000 } $server->requests), 0, 'is kept');
sql('TRUNCATE s.t');

# --- more requests at a time ------------------------------------------------------------------

$server->faults(map { { do => 'slow', seconds => 0.05 } } 1 .. 10);
@changes = sent({ max_in_flight => 4, batch_rows => 20 },
	[ (map { my $round = $_; "INSERT INTO s.t SELECT n, '$round' FROM generate_series(1, 50) n ON CONFLICT (id) DO UPDATE SET v = excluded.v" } 1 .. 6),
		'UPDATE s.t SET id = id + 100 WHERE id <= 3', 'UPDATE s.t SET v = 7 WHERE id > 100', 'TRUNCATE s.t', 'INSERT INTO s.t VALUES (1, 8)' ]);
my %last;
my $in_order = 1;
for my $change (@changes)
{
	%last = () if $change->{op} eq 'truncate';
	next unless $change->{key};
	my $id = $change->{key}{id};
	my $position = sprintf '%s %06d', (join '', map { sprintf '%08X', hex } split m{/}, $change->{commit_lsn}), $change->{seq};

	$in_order = 0 if ($last{$id} || '') ge $position;
	$last{$id} = $position;
}
is(scalar(@changes), 308, 'several requests at a time');
ok($in_order, 'with the changes of each key in order');
is_deeply([ keys %last ], [1], 'and a truncate between what was before and after it');
@changes = sent({ max_in_flight => 4 },
	['BEGIN; INSERT INTO s.t SELECT n FROM generate_series(11, 18) n; TRUNCATE s.t; INSERT INTO s.t SELECT n FROM generate_series(11, 18) n; COMMIT']);
is(values_of('op', @changes), join(' ', ('insert') x 8, 'truncate', ('insert') x 8),
	'a truncate in the middle of batches that are open');
sql('TRUNCATE s.t');

# --- headers, logins, signatures -------------------------------------------------------------

sub headers_of
{
	my ($connection_options, $options, %arguments) = @_;

	sent($options || {}, 'INSERT INTO s.none VALUES (1)', connection_options => $connection_options, %arguments);
	my ($first) = $server->requests;
	return $first;
}

$request = headers_of({
		headers => { 'X-One' => '1' },
		secret_headers => { 'X-Api-Key' => 'k3y' },
		signature_secret => 's3cret',
		signature_header => 'X-Signature',
		query => 'token=abc%20d' },
	{ headers => { 'X-Two' => 'two', 'X-Empty' => '' } },
	target => $server->uri('http', path => 'hooks/a%20b'));
is($request->{headers}{'x-one'}, '1', "a connection's header");
is($request->{headers}{'x-two'}, 'two', "a pipeline's header");
is($request->{headers}{'x-empty'}, '', 'an empty header');
is($request->{headers}{'x-api-key'}, 'k3y', 'a secret header');
is($request->{path}, '/hooks/a%20b?token=abc%20d', 'path and query');
is($request->{headers}{'x-signature'}, 'sha256=' . hmac_sha256_hex($request->{body}, 's3cret'), 'the signature');

$request = headers_of({}, {}, target => $server->uri('http', user => 'me:p%40ss'));
is($request->{headers}{authorization}, 'Basic bWU6cEBzcw==', 'a login by name and password');
$request = headers_of({ bearer_token => 't0ken' }, {});
is($request->{headers}{authorization}, 'Bearer t0ken', 'a login by token');

my $file = PostgreSQL::Test::Utils::tempdir() . '/secret';
append_to_file($file, "from-file\n");
chmod 0644, $file;
$request = headers_of({ bearer_token_file => $file, signature_secret_file => $file }, {});
is($request->{headers}{authorization}, 'Bearer from-file', 'a token in a file');
is($request->{headers}{'x-tapdata-signature'}, 'sha256=' . hmac_sha256_hex($request->{body}, 'from-file'),
	'a secret in a file');

# --- TLS ------------------------------------------------------------------------------------

{
	my $clear = $server;
	my $certificates;

	$server = Tapdata::Http->start(name => 'tls', arguments => [ 'webhook', 'client-tls' ]);
	$certificates = $server->directory . '/tls';
	my %options = (ssl_ca => "$certificates/ca.pem", ssl_cert => "$certificates/client.crt", ssl_key => "$certificates/client.key");
	my $local = $server->uri('https', host => 'localhost');

	is(scalar(sent({}, 'INSERT INTO s.none VALUES (1)', target => $local, connection_options => \%options)), 1,
		'TLS with a certificate of the client');
	is(scalar(sent({}, 'INSERT INTO s.none VALUES (1)', target => $server->uri('https'),
				connection_options => { %options, ssl_mode => 'verify_ca' })), 1,
		'another name, which verify_ca does not look at');
	for my $case (
		[ $local, {}, qr/certificate/i, 'an authority that is not trusted' ],
		[ $server->uri('https'), \%options, qr/certificate|name/i, 'another name than the certificate has' ])
	{
		my ($uri, $options, $message, $name) = @$case;

		sql("SELECT tapdata.connect('tls', '$uri', '" . JSON::PP::encode_json($options) . "')");
		sql_fails($hub, q{SELECT tapdata.publish('tls', 'tls', ARRAY['s.*'])}, '28000', $message, $name);
		sql(q{SELECT tapdata.disconnect('tls')});
	}
	$server->stop;
	$server = $clear;
}

# --- secrets are not shown -------------------------------------------------------------------

sql("SELECT tapdata.connect('secret', '" . $server->uri('http', user => 'me:pAssw0rd') . q{',
	'{"signature_secret": "pAssw0rd", "secret_headers": {"X-Key": "pAssw0rd"}, "query": "token=pAssw0rd"}')});
sql(q{SELECT tapdata.publish('secret', 'secret', ARRAY['s.*'], '{"retry_ms": 0, "snapshot": "never"}')});
wait_for_state($hub, 'secret', 'streaming');
$server->faults({ status => 500, times => 3, body => 'broken with pAssw0rd and bWU6cEFzc3cwcmQ=' });
sql('INSERT INTO s.none VALUES (2)');
caught_up($hub, 'secret');
unlike(
	sql(q{SELECT (SELECT string_agg(c::text, ' ') FROM tapdata.connections c) || (SELECT string_agg(s::text, ' ') FROM tapdata.status s)
		|| (SELECT string_agg(e::text, ' ') FROM tapdata.events e)}),
	qr/pAssw0rd|bWU6cEFzc3cwcmQ/, 'no view shows a secret');
like(sql('SELECT message FROM tapdata.events'), qr/HTTP status 500: broken with \*{8} and \*/, 'an error says what the server said');
unlike(slurp_file($hub->logfile) =~ s/^.*STATEMENT:.*$//gmr, qr/pAssw0rd|bWU6cEFzc3cwcmQ/, 'neither does the log');
sql(q{SELECT tapdata.drop_pipeline('secret'); SELECT tapdata.disconnect('secret')});

# --- another encoding than UTF-8 ---------------------------------------------------------------

sql(q{CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LOCALE 'C'});
sub latin
{
	return $hub->safe_psql('latin', 'SET client_encoding = UTF8; ' . shift);
}
latin(q{CREATE EXTENSION tapdata; CREATE TABLE "t}
	  . qq{\xc3\xa4} . q{" (id int PRIMARY KEY, "v} . qq{\xc3\xa4} . q{" text);});
latin("SELECT tapdata.connect('latin', '" . $server->uri . q{'); SELECT tapdata.publish('latin', 'latin', ARRAY['public.*'], '{"on_error": "dead_letter"}')});
caught_up($hub, 'latin', undef, 'latin');
$server->forget;
latin(qq{INSERT INTO "t\xc3\xa4" VALUES (1, '\xc3\xbc')});
caught_up($hub, 'latin', undef, 'latin');
@changes = $server->changes;
is("$changes[0]{table} " . $changes[0]{after}{"v\x{e4}"}, "t\x{e4} \x{fc}", 'names and values are UTF-8');
$server->faults({ status => 400, body => "n\x{f6}" });
latin(qq{INSERT INTO "t\xc3\xa4" VALUES (2, '\xc3\x9f')});
caught_up($hub, 'latin', undef, 'latin');
is(latin(qq{SELECT change->>'table', change->'after'->>'v\xc3\xa4', error FROM tapdata.dead_letters}) =~ s/SET\n//r,
	"t\xc3\xa4|\xc3\x9f|HTTP status 400: n??", 'dead letters are in the encoding of the hub');
latin(q{SELECT tapdata.drop_pipeline('latin'); SELECT tapdata.disconnect('latin')});

# --- checks of a connection --------------------------------------------------------------------

sub check
{
	my ($uri, $options) = @_;

	sql("SELECT tapdata.connect('check', '$uri', '" . ($options || '{}') . "')");
	my $checks = sql(q{SELECT check_name, ok, detail, hint FROM tapdata.test_connection('check')});
	sql(q{SELECT tapdata.disconnect('check')});
	return $checks;
}

like(check($server->uri), qr/^reachable\|t\|http:.*^login\|t\|.*^kind\|t\|/ms, 'all is well');
like(check('http://127.0.0.1:1/'), qr/^reachable\|f\|.*connect.*\|Check host and port/m, 'nobody there');
like(check('http://no.such.host.invalid/'), qr/^reachable\|f\|.*resolve/m, 'a host that there is not');
$server->faults({ status => 401, times => 2 });
like(check($server->uri('http', user => 'me:wrong')), qr/^login\|f\|HTTP status 401\|Check user and password/m, 'a login that fails');
$server->faults();
like(check($server->uri('http', user => 'me:x')), qr/^tls\|f\|secrets are sent without TLS/m, 'a password without TLS');
like(check($server->uri('elasticsearch+http')), qr/^kind\|f\|the server is neither/m, 'not Elasticsearch');
like(check($server->uri('clickhouse+http')), qr/^kind\|f\|the server is no ClickHouse/m, 'not ClickHouse');

# --- bad input --------------------------------------------------------------------------------

sub refused
{
	my ($uri, $options, $pattern) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql_fails($hub, "SELECT tapdata.connect('bad', '$uri', '$options')", '22023', $pattern, "$uri $options");
	return;
}

refused('http:///x', '{}', qr/host/);
refused('http://a%2Fb/', '{}', qr/host|URI/);
refused('http://a%40b/', '{}', qr/host|URI/);
refused('http://h/', '{"headers": "x"}', qr/not a JSON object/);
refused('http://h/', '{"headers": {"a b": "1"}}', qr/not the name of a header/);
refused('http://h/', '{"headers": {"A": "1\\r\\nB: 2"}}', qr/control character/);
refused('http://h/', '{"headers": {"Authorization": "x"}}', qr/secret_headers/);
refused('http://h/', '{"headers": {"Content-Length": "1"}}', qr/made by the connector/);
refused('http://h/', '{"headers": {"A": [1]}}', qr/not a string/);
refused('http://h/?headers=%7B', '{}', qr/not JSON/);
refused('http://h/', '{"query": "a b"}', qr/escaped/);
refused('http://h/', '{"dialect": "x"}', qr/dialect/);
refused('elasticsearch+http://h/', '{"dialect": "clickhouse"}', qr/begins with/);
refused('http://h/', '{"ssl_mode": "require"}', qr/without TLS/);
refused('https://h/', '{"ssl_mode": "verify_ca"}', qr/ssl_ca/);
refused('http://u:p@h/', '{"bearer_token": "x"}', qr/both/);
refused('http://h/', '{"bearer_token": "a\\nb"}', qr/control character/);
refused('http://h/', '{"password": "x"}', qr/names no user/);
refused('clickhouse+http://h/a/b', '{}', qr/name of a database/);
refused('http://h/', '{"signature_header": "Host"}', qr/signature_header/);
refused('http://h/', '{"timeout_ms": 0}', qr/timeout_ms/);
refused('http://h/', '{"batch_rows": 5}', qr/batch_rows/);

sql("SELECT tapdata.connect('hook', '" . $server->uri . "')");
for my $case (
	[ '{"body": "xml"}', '22023', qr/array, ndjson, single/ ],
	[ '{"method": "GET"}', '22023', qr/POST, PUT/ ],
	[ '{"max_in_flight": 100}', '22023', qr/from 1 to 32/ ],
	[ '{"batch_rows": 0}', '22023', qr/batch_rows/ ],
	[ '{"index": "x"}', '22023', qr/no meaning for a target of the kind webhook/ ],
	[ '{"table": "x"}', '22023', qr/no meaning for a target of the kind webhook/ ],
	[ '{"index": "{nothing}"}', '22023', qr/braces/ ])
{
	my ($options, $sqlstate, $pattern) = @$case;

	sql_fails($hub, "SELECT tapdata.publish('bad', 'hook', ARRAY['s.*'], '$options')", $sqlstate, $pattern, $options);
}
sql_fails($hub, q{SELECT tapdata.pull('bad', 'hook', ARRAY['*'])}, '22023', qr/names no endpoint to read/, 'a webhook is no source');
sql("SELECT tapdata.connect('search', '" . $server->uri('elasticsearch+http') . "')");
sql_fails($hub, q{SELECT tapdata.pull('bad', 'search', ARRAY['*'])}, '22023', qr/is a target, not a source/, 'nor is Elasticsearch');
sql_fails($hub, q{SELECT tapdata.discover('search')}, '0A000', qr/is a target, not a source/, 'which has no tables to show');
sql_fails($hub, q{SELECT tapdata.publish('bad', 'search', ARRAY['s.*'], '{"interval": "5s"}')}, '22023', qr/interval/, 'options of a source');

sql_ok($hub, q{SELECT source, sink FROM tapdata.connectors WHERE name = 'http'}, 't|t', 'it is a source and a target');

done_testing();
