# Elasticsearch's _bulk as a target. The server is a real OpenSearch, from the jars of Maven
# Central; what it cannot be told to do (items that are refused with 429, and the like) is a
# recorded contract of _bulk in test/services/http_server.py.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;

Tapdata::OpenSearch->require;
Tapdata::Http->require;

my $search = Tapdata::OpenSearch->start;
my $hub = new_hub('search', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

sub ids
{
	my ($index) = @_;

	return join ' ', sort keys %{ $search->documents($index) };
}

sub drop
{
	my ($name) = @_;

	sql("SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	return;
}

# The rows of s.items, and its documents, in one form.
sub same_documents
{
	my ($name, $index) = @_;
	my $documents = $search->documents($index || 's-items');
	my $found = join "\n", map { "$_|" . (defined $documents->{$_}{v} ? $documents->{$_}{v} : '') }
	  sort { $a <=> $b } keys %$documents;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($found, sql(q{SELECT id, v FROM s.items ORDER BY id}), $name);
}

# --- the copy, and types -------------------------------------------------------------------

sql(q{
	CREATE SCHEMA s;
	CREATE TABLE s.items (id int PRIMARY KEY, v text);
	CREATE TABLE s."Types" (a text, b int, flag bool, n numeric(20,4), big bigint, f float8, at timestamptz, d date,
		j jsonb, u uuid, bin bytea, tags text[], huge text, PRIMARY KEY (a, b));
	ALTER TABLE s."Types" ALTER huge SET STORAGE external;
	INSERT INTO s.items SELECT n, 'item ' || n FROM generate_series(1, 2500) n;
	INSERT INTO s."Types" VALUES ('k|1', 1, true, 12345.6789, 9007199254740993, 1.5, '2026-01-02 03:04:05.678901+00',
		'2026-02-03', '{"x": [1, 2], "y": {"z": null}}', '00000000-0000-0000-0000-000000000001', '\xdeadbeef',
		'{a,b}', repeat('h', 9000)), ('', 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);});
publish_http($hub, $search, 'search', ['s.*'], {});
caught_up($hub, 'search');
same_documents('the copy');

my $types = $search->documents('s-types');
is_deeply([ sort keys %$types ], [ '\\e|2', 'k\\|1|1' ], 'ids of several columns');
my $document = $types->{'k\\|1|1'};
is_deeply([ @$document{qw(flag n f at d u bin)} ],
	[ 'true', '12345.6789', '1.5', '2026-01-02T03:04:05.678901+00:00', '2026-02-03', '00000000-0000-0000-0000-000000000001', '3q2+7w==' ],
	'values');
is_deeply($document->{j}, { x => [ 1, 2 ], y => { z => undef } }, 'jsonb');
is_deeply($document->{tags}, [ 'a', 'b' ], 'an array');
is($document->{big}, 9007199254740993, 'a large number');
my $mapping = $search->call('GET', 's-types/_mapping')->{'s-types'}{mappings}{properties};
is_deeply([ map { $mapping->{$_}{type} } qw(a b flag n big f at u bin) ],
	[qw(text integer boolean double long double date keyword binary)], 'the mapping');
is($search->call('GET', 's-items/_search', { query => { match => { v => '77' } } })->{hits}{hits}[0]{_id}, 77,
	'full-text search');

# --- changes -------------------------------------------------------------------------------

sql(q{
	BEGIN; INSERT INTO s.items VALUES (3000, 'a'); UPDATE s.items SET v = 'b' WHERE id = 3000; COMMIT;
	UPDATE s.items SET v = v || '!' WHERE id <= 100;
	UPDATE s.items SET id = id + 10000 WHERE id IN (1, 2);
	DELETE FROM s.items WHERE id > 2000 AND id < 2600;
	BEGIN; DELETE FROM s.items WHERE id = 500; INSERT INTO s.items VALUES (500, 'again'); COMMIT;
	BEGIN; UPDATE s.items SET id = -id WHERE id IN (600, 601); UPDATE s.items SET id = 1201 + id WHERE id < 0; COMMIT;});
caught_up($hub, 'search');
same_documents('changes');

# a delete and an insert of the same key by two sessions: the insert is earlier in the log
{
	my $first = $hub->background_psql('postgres');
	my $second = $hub->background_psql('postgres');

	$first->query_safe('BEGIN; DELETE FROM s.items WHERE id = 700');
	$second->{stdin} .= "INSERT INTO s.items VALUES (700, 'later');\n";
	$second->{run}->pump_nb;
	wait_for_sql($hub, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%later%'}, 1);
	$first->query_safe('COMMIT');
	$first->quit;
	$second->quit;
}
caught_up($hub, 'search');
is($search->documents('s-items')->{700}{v}, 'later', 'the order of commits decides, not that of the log');

sql(q{BEGIN; INSERT INTO s.items VALUES (4000, 'gone'); TRUNCATE s.items; INSERT INTO s.items SELECT n, 'new' FROM generate_series(1, 1500) n; COMMIT;});
caught_up($hub, 'search');
same_documents('a truncate between changes of one transaction');

# --- columns that come, large values that do not change ----------------------------------------

sql(q{ALTER TABLE s.items ADD COLUMN price numeric; INSERT INTO s.items VALUES (5000, 'x', 1.25);});
caught_up($hub, 'search');
is($search->documents('s-items')->{5000}{price}, 1.25, 'a new column');
is($search->call('GET', 's-items/_mapping')->{'s-items'}{mappings}{properties}{price}{type}, 'double', 'has its type');
sql(q{ALTER TABLE s."Types" REPLICA IDENTITY FULL; UPDATE s."Types" SET flag = false WHERE b = 1;});
caught_up($hub, 'search');
is(length $search->documents('s-types')->{'k\\|1|1'}{huge}, 9000, 'a large value that did not change is kept');
sql(q{ALTER TABLE s."Types" REPLICA IDENTITY DEFAULT; UPDATE s."Types" SET flag = NULL WHERE b = 1;});
wait_for_state($hub, 'search', 'failed');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'search'}), qr/column "huge".*ALTER TABLE s."Types" REPLICA IDENTITY FULL/s,
	'without the old row it is an error that says what to do');
drop('search');

# --- an index that somebody deleted ----------------------------------------------------------

sql("SELECT tapdata.connect('gone', '" . $search->uri . q{'); SELECT tapdata.publish('gone', 'gone', ARRAY['s.items'])});
caught_up($hub, 'gone');
sql(q{SELECT tapdata.stop('gone')});
wait_for_state($hub, 'gone', 'stopped');
$search->call('DELETE', 's-items');
sql(q{INSERT INTO s.items VALUES (5001, 'y', 2); SELECT tapdata.start('gone');});
wait_for_state($hub, 'gone', 'failed');
like(sql(q{SELECT last_error FROM tapdata.status WHERE name = 'gone'}), qr/index "s-items" of the target is gone.*resync/s,
	'an index that is gone is not made again without its documents');
sql(q{SELECT tapdata.resync('gone', 's.items')});
wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE pipeline = 'gone'}, 'streaming');
caught_up($hub, 'gone');
same_documents('but filled again when it is copied again');
drop('gone');

# --- repeats never go back ------------------------------------------------------------------

{
	my $before = $search->call('GET', 's-items/_doc/1');

	sql("SELECT tapdata.connect('again', '" . $search->uri . q{'); SELECT tapdata.publish('again', 'again', ARRAY['s.items'])});
	caught_up($hub, 'again');
	same_documents('a copy into what is there');
	cmp_ok($search->call('GET', 's-items/_doc/1')->{_version}, '>', $before->{_version}, 'versions are positions, and grow');
	$search->call('PUT', 's-items/_doc/1?version=1152921504606846976&version_type=external', { v => 'from the future' });
	sql(q{UPDATE s.items SET v = 'now' WHERE id = 1});
	caught_up($hub, 'again');
	is($search->documents('s-items')->{1}{v}, 'from the future', 'a document that is newer stays');
	sql(q{DELETE FROM s.items WHERE id = 1});
	$search->call('DELETE', 's-items/_doc/1?version=1152921504606846976&version_type=external_gte');
	caught_up($hub, 'again');
	sql(q{DELETE FROM s.items WHERE id > 1000; SELECT tapdata.resync('again', 's.items');});
	wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE pipeline = 'again'}, 'streaming');
	caught_up($hub, 'again');
	same_documents('resync replaces what is there');
	drop('again');
}

# --- what the server refuses ----------------------------------------------------------------

sql(q{CREATE TABLE s.bad (id int PRIMARY KEY, n int, at timestamp)});
$search->call('PUT', 'strange', { mappings => { properties => { n => { type => 'ip' } } } });
publish_http($hub, $search, 'strange', ['s.bad'], { index => 'strange', on_error => 'dead_letter' });
caught_up($hub, 'strange');
sql(q{INSERT INTO s.bad VALUES (1, 1, NULL), (2, NULL, '2026-01-01'), (3, 3, NULL)});
caught_up($hub, 'strange');
is(ids('strange'), '2', 'what the mapping takes is stored');
is(sql(q{SELECT string_agg(change->'after'->>'id', ' ' ORDER BY change->'after'->>'id') FROM tapdata.dead_letters WHERE pipeline = 'strange'}), '1 3',
	'what it refuses is a dead letter each');
like(sql(q{SELECT max(error) FROM tapdata.dead_letters WHERE pipeline = 'strange'}), qr/^mapper_parsing_exception \(status 400\): failed to parse field \[n\]/,
	'that says why');
drop('strange');

sub refused
{
	my ($options, $pattern, $tables) = @_;
	my $list = join ',', map { "'$_'" } @{ $tables || ['s.bad'] };

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql("SELECT tapdata.connect('refused', '" . $search->uri . "')");
	my ($code, undef, $error) = $hub->psql('postgres', "SELECT tapdata.publish('refused', 'refused', ARRAY[$list], '$options')");
	if ($code == 0)
	{
		wait_for_state($hub, 'refused', 'failed');
		$error = sql(q{SELECT last_error FROM tapdata.status WHERE name = 'refused'});
		sql(q{SELECT tapdata.drop_pipeline('refused')});
	}
	like($error, $pattern, $options);
	sql(q{SELECT tapdata.disconnect('refused')});
	return;
}

refused('{"index": "a b"}', qr/cannot be the name of an index.*option "index"/s);
refused('{"index": "_x"}', qr/cannot be the name of an index/);
refused('{"index": "one"}', qr/would share the index "one"/, [ 's.bad', 's.items' ]);
refused('{"body": "single"}', qr/no meaning for a target of the kind elasticsearch/);
sql('CREATE TABLE s.nokey (a int); ALTER TABLE s.nokey REPLICA IDENTITY FULL');
refused('{}', qr/has no key.*primary key/s, ['s.nokey']);
like(sql("SELECT tapdata.connect('c', '" . $search->uri . q{'); SELECT check_name, ok, detail FROM tapdata.test_connection('c')}),
	qr/^kind\|t\|OpenSearch 2\./m, 'test_connection() tells the server');

# --- items that are refused for now, by contract -------------------------------------------------

{
	my $contract = Tapdata::Http->start(name => 'contract', arguments => ['bulk']);
	my $documents;

	sql(q{CREATE TABLE s.c (id int PRIMARY KEY, v text)});
	publish_http($hub, $contract->uri('elasticsearch+http'), 'contract', ['s.c'],
		{ on_error => 'dead_letter', batch_rows => 100 });
	caught_up($hub, 'contract');
	$contract->faults(
		{ do => 'item', id => '3', status => 429, type => 'rejected_execution_exception', times => 2 },
		{ do => 'item', id => '4', status => 503, type => 'unavailable_shards_exception' },
		{ do => 'item', id => '5', status => 403, type => 'cluster_block_exception' },
		{ do => 'item', id => '6', status => 400, type => 'mapper_parsing_exception', reason => "caf\x{e9}" });
	$contract->forget;
	sql(q{INSERT INTO s.c SELECT n, 'v' || n FROM generate_series(1, 10) n; UPDATE s.c SET v = 'later' WHERE id = 3;});
	caught_up($hub, 'contract');
	$documents = $contract->documents;
	is(join(' ', map { s{.*/}{}r } sort { ($a =~ s{.*/}{}r) <=> ($b =~ s{.*/}{}r) } keys %$documents), '1 2 3 4 5 7 8 9 10',
		'items that failed are sent again, alone');
	is($documents->{'s-c/3'}{v}, 'later', 'with the order of a document kept');
	is(sql(q{SELECT error FROM tapdata.dead_letters WHERE pipeline = 'contract'}), 'mapper_parsing_exception (status 400): caf??',
		'an item that is refused for good is a dead letter');
	my @again = grep { $_->{path} =~ /_bulk/ } $contract->requests;
	is((() = $again[1]{body} =~ /"_id"/g), 3, 'only those');

	for my $body ('<html>', '{"items":[]}', '{"items":[{"index":{"status":200}}]} x', '[' x 100_000, '{"items":[{"index":{"status":"200"}}]}')
	{
		$contract->faults({ status => 200, body => $body, path => '/_bulk' });
		sql(q{INSERT INTO s.c SELECT max(id) + 1, 'after garbage' FROM s.c});
		caught_up($hub, 'contract');
	}
	is(scalar(grep { $_->{v} eq 'after garbage' } values %{ $contract->documents }), 5, 'answers that are none are no acknowledgements');
	is(sql(q{SELECT restarts FROM tapdata.status WHERE name = 'contract'}), 0, 'without a new session');

	# a delete of what is not there, and several changes of a document in one request
	$contract->forget;
	sql(q{BEGIN; DELETE FROM s.c WHERE id = 1; INSERT INTO s.c VALUES (1, 'a'); UPDATE s.c SET v = 'b' WHERE id = 1; COMMIT;
		BEGIN; INSERT INTO s.c VALUES (99); DELETE FROM s.c WHERE id = 99; COMMIT});
	caught_up($hub, 'contract');
	is($contract->documents->{'s-c/1'}{v}, 'b', 'the last change of a document counts');
	drop('contract');
	$contract->stop;
}

done_testing();
