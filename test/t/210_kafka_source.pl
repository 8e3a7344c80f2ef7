# Topics become tables: JSON, CSV and raw messages, keys, new fields, what cannot be read.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Test;
use Test::More;

Tapdata::Kafka->require;

my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

foreach my $test (
	['JSON objects, columns found in a sample' => \&json_inferred],
	['JSON objects, columns given' => \&json_given],
	['new fields' => \&new_fields],
	['upsert by key, tombstones delete' => \&upsert],
	['keys that only the message has' => \&message_keys],
	['CSV' => \&csv],
	['raw' => \&raw],
	['metadata' => \&metadata],
	['topics by pattern, dots and all' => \&patterns],
	['topics that cannot be described yet' => \&not_yet],
	['what cannot be read' => \&malformed],
	['discover' => \&discover],
	['a hub in another encoding' => \&encoding],
	['options are checked when they are given' => \&bad_options])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

sub records_to
{
	my ($topic, @values) = @_;

	$kafka->produce($topic, map { ref $_ ? $_ : [ '', $_ ] } @values);
	return;
}

# A pipeline under the name of its topic, unless tables are given.
sub pull_topic
{
	my ($name, $options, @tables) = @_;

	@tables = ($name) unless @tables;
	pull($hub, $kafka, $name, tables => \@tables, options => $options);
	return caught_up($hub, $name);
}

sub drop
{
	my ($name) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	return;
}

sub json_inferred
{
	records_to('json',
		'{"id": 1, "name": "Zoë \u20ac", "amount": 12.50, "paid": true, "at": "2024-02-29T12:00:00Z", "tags": [1, {"a": null}], "zip": "01234"}',
		'{"id": 12345678901, "name": null, "amount": 1e3, "paid": false}',
		'{"name": "\"quoted\" \\\\ \n", "id": -1}');
	pull_topic('json', '{}');
	is(column_types($hub, 'json.json'),
		'id bigint, name text, amount numeric, paid boolean, at timestamp with time zone, tags jsonb, zip text',
		'types are found');
	sql_ok($hub, "SELECT id, name, amount, paid, at AT TIME ZONE 'UTC', tags, zip FROM json.json WHERE id = 1",
		"1|Zo\xc3\xab \xe2\x82\xac|12.50|t|2024-02-29 12:00:00|[1, {\"a\": null}]|01234", 'a row');
	sql_ok($hub, 'SELECT count(*), min(id), max(id), max(amount) FROM json.json', '3|-1|12345678901|1000', 'all of them');
	records_to('json', '{"id": 4, "name": "later"}');
	caught_up($hub, 'json');
	sql_ok($hub, 'SELECT name FROM json.json WHERE id = 4', 'later', 'what comes later');
	sql_becomes($hub, "SELECT direction, state, position FROM tapdata.status WHERE name = 'json'",
		'pull|streaming|json:0=4', 'the status');
	drop('json');
	return;
}

sub json_given
{
	records_to('given', '{"id": "7", "amount": "1.5", "more": 1, "Odd Field": "x"}', '{"id": 8}');
	pull_topic('given',
		'{"columns": {"id": "int", "amount": "numeric(10,3)", "odd": {"type": "varchar(5)", "field": "Odd Field"}}}');
	is(column_types($hub, 'given.given'), 'id integer, odd character varying(5), amount numeric(10,3)', 'types as given');
	sql_ok($hub, 'SELECT id, amount, odd FROM given.given ORDER BY id', "7|1.500|x\n8||", 'no other field is taken');
	drop('given');
	return;
}

sub new_fields
{
	records_to('grow', '{"id": 1}');
	pull_topic('grow', '{}');
	records_to('grow', '{"id": 2, "note": "n", "n": 3}', '{"id": 3, "note": "m"}');
	caught_up($hub, 'grow');
	is(column_types($hub, 'grow.grow'), 'id bigint, note text, n bigint', 'columns are added');
	sql_ok($hub, 'SELECT * FROM grow.grow ORDER BY id', "1||\n2|n|3\n3|m|", 'with their values');
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('grow');
		SELECT tapdata.alter_pipeline('grow', '{"on_unknown_field": "ignore"}');));
	records_to('grow', '{"id": 4, "unheard": 1}');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('grow')));
	caught_up($hub, 'grow');
	sql_ok($hub, 'SELECT * FROM grow.grow WHERE id = 4', '4||', 'ignored where that is wanted');
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('grow');
		SELECT tapdata.alter_pipeline('grow', '{"on_unknown_field": "stop"}'); SELECT tapdata.start('grow')));
	records_to('grow', '{"id": 5, "unheard": 1}');
	wait_for_state($hub, 'grow', 'failed');
	sql_ok($hub, "SELECT last_error ~ 'unheard.*offset \\d+ of partition 0 of topic .grow' FROM tapdata.status WHERE name = 'grow'", 't',
		'or the pipeline stops, and says where');
	drop('grow');

	$kafka->create_topic('empty');
	pull_topic('empty', '{}');
	records_to('empty', '{"a": 1, "b": [2]}');
	caught_up($hub, 'empty');
	sql_ok($hub, 'SELECT a, b FROM empty.empty', '1|[2]', 'a topic that was empty gets all of its columns so');
	drop('empty');
	return;
}

sub upsert
{
	records_to('up', [ '{"id": 1}', '{"id": 1, "v": "a"}' ], [ '{"id": 2}', '{"id": 2, "v": "b"}' ],
		[ '{"id": 1}', '{"id": 1, "v": "c"}' ]);
	pull_topic('up', '{"key": ["id"]}');
	sql_ok($hub, 'SELECT * FROM up.up ORDER BY id', "1|c\n2|b", 'the last one of each key');
	records_to('up', [ '{"id": 2}', undef ], [ '{"id": 9}', undef ], [ '{"id": 3}', '{"id": 3}' ]);
	caught_up($hub, 'up');
	sql_ok($hub, 'SELECT * FROM up.up ORDER BY id', "1|c\n3|", 'a tombstone deletes; a row is replaced whole');
	sql_ok($hub, q(SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'up.up'::regclass),
		'PRIMARY KEY (id)', 'the hub table has the key');
	drop('up');
	return;
}

sub message_keys
{
	records_to('mk', [ 'u1', '{"v": 1}' ], [ 'u2', '{"v": 2}' ], [ 'u1', '{"v": 3}' ], [ 'u2', undef ]);
	pull_topic('mk', '{"key": ["_key"]}');
	sql_ok($hub, 'SELECT _key, v FROM mk.mk', 'u1|3', 'the whole key as a column');
	drop('mk');

	records_to('mf', [ '{"a": 1, "b": "x"}', '{"v": 1}' ], [ '{"b": "x", "a": 1}', '{"v": 2}' ],
		[ '{"a": 2, "b": "x"}', '{"v": 3}' ], [ '{"a": 2, "b": "x"}', undef ]);
	pull_topic('mf', '{"key": ["a", "b"]}');
	sql_ok($hub, 'SELECT a, b, v FROM mf.mf', '1|x|2', 'fields of the key as columns');
	drop('mf');

	records_to('ms', [ '5', '{"v": 1}' ], [ '"6"', '{"v": 2}' ], [ '5', undef ]);
	pull_topic('ms', '{"key": ["id"], "columns": {"id": "int", "v": "int"}}');
	sql_ok($hub, 'SELECT id, v FROM ms.ms', '6|2', 'a single value as the key');
	drop('ms');
	return;
}

sub csv
{
	records_to('csv', '1,"a, ""b""",2024-01-02', '2,,');
	pull_topic('csv', '{"format": "csv", "fields": ["id", "name", "day"], "key": ["id"]}');
	is(column_types($hub, 'csv.csv'), 'id bigint, name text, day date', 'names given, types found');
	sql_ok($hub, 'SELECT * FROM csv.csv ORDER BY id', "1|a, \"b\"|2024-01-02\n2||", 'rows');
	drop('csv');

	records_to('tsv', 'x;1', "y;\\N");
	pull_topic('tsv', '{"format": "csv", "csv_delimiter": ";", "csv_null": "\\\\N"}');
	sql_ok($hub, 'SELECT column1, column2 FROM tsv.tsv ORDER BY 1', "x|1\ny|", 'another dialect, names made');
	drop('tsv');
	return;
}

sub raw
{
	records_to('raw', [ 'k', 'v' ], [ 'k', undef ]);
	pull_topic('raw', '{"format": "raw"}');
	is(column_types($hub, 'raw.raw'), 'key bytea, value bytea, headers jsonb, timestamp timestamp with time zone', 'columns');
	sql_ok($hub, q(SELECT convert_from(key, 'UTF8'), value IS NULL, headers, now() - timestamp < '1 hour' FROM raw.raw ORDER BY 2),
		"k|f||t\nk|t||t", 'messages as they are');
	drop('raw');

	records_to('rawkey', [ 'k', '{"a": 1}' ], [ 'l', '{"a": 2}' ], [ 'k', undef ]);
	pull_topic('rawkey', '{"format": "raw", "key": ["key"], "columns": {"key": "text", "value": "jsonb"}}');
	sql_ok($hub, q(SELECT key, value->'a' FROM rawkey.rawkey), 'l|2', 'by key, as other types');
	drop('rawkey');
	return;
}

sub metadata
{
	my $err = '';
	my $in = "k\t{\"a\": 1}\n";

	IPC::Run::run([ $kafka->kcat('-P', '-t', 'meta'), '-K', "\t", '-H', 'h=1', '-H', 'g=x' ],
		'<', \$in, '2>', \$err) or die $err;
	$in = "k\t{\"a\": 2}\n";
	IPC::Run::run([ $kafka->kcat('-P', '-t', 'meta'), '-K', "\t", '-H', 'h=1', '-H', 'h=2' ],
		'<', \$in, '2>', \$err) or die $err;
	pull_topic('meta', '{"metadata": "all"}');
	sql_ok($hub, 'SELECT a, _topic, _partition, _offset, _key, _headers FROM meta.meta ORDER BY a',
		"1|meta|0|0|k|{\"g\": \"x\", \"h\": \"1\"}\n2|meta|0|1|k|[{\"key\": \"h\", \"value\": \"1\"}, {\"key\": \"h\", \"value\": \"2\"}]",
		'where messages come from');
	sql_ok($hub, q(SELECT bool_and(now() - _timestamp < '1 hour') FROM meta.meta), 't', 'and when');
	drop('meta');
	return;
}

sub patterns
{
	records_to("shop.eu.$_", qq({"t": "$_"})) foreach qw(orders items);
	records_to('shopping', '{"t": 0}');
	pull_topic('dots', '{"refresh_ms": 200}', 'shop.*');
	sql_ok($hub, q(SELECT string_agg(source_table, ' ' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = 'dots'),
		'"shop.eu.items" "shop.eu.orders"', 'a dot is a character of a topic');
	sql_ok($hub, 'SELECT t FROM dots."shop.eu.items"', 'items', 'tables have the names of topics');
	records_to('shop.us', '{"t": "new"}');
	wait_for_sql($hub, q(SELECT t FROM dots."shop.us"), 'new');
	sql_becomes($hub, q(SELECT position FROM tapdata.status WHERE name = 'dots'),
		'shop.eu.items:0=1;shop.eu.orders:0=1;shop.us:0=1', 'a topic that is new is added');
	$hub->safe_psql('postgres', q(SELECT tapdata.remove_tables('dots', ARRAY['shop.eu.items'])));
	records_to('shop.eu.orders', '{"t": "more"}');
	caught_up($hub, 'dots');
	wait_for_sql($hub, q(SELECT position FROM tapdata.status WHERE name = 'dots'), 'shop.eu.orders:0=2;shop.us:0=1');
	drop('dots');
	return;
}

# They must not stop the others, and are added when their messages tell columns.
sub not_yet
{
	my $options = '"refresh_ms": 200, "key": ["id"], "on_error": "dead_letter"';
	my $events = q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'yet' AND kind = 'warning' AND source_table = '"%s"' AND message LIKE '%s');

	records_to('yet.first', '{"id": 1, "v": "a"}');
	pull_topic('yet', "{$options}", 'yet.*');
	stop_pipeline($hub, 'yet');
	$kafka->create_topic('yet.empty');
	records_to('yet.garbage', 'no JSON', '[1]');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('yet')));
	sql_becomes($hub, sprintf($events, 'yet.empty', '%left out%key column "id"%'), 1, 'an empty topic has no key column');
	sql_becomes($hub, sprintf($events, 'yet.garbage', '%left out%JSON object%'), 1, 'another one has no JSON');
	sql_fails($hub, q(SELECT tapdata.add_tables('yet', '{yet.empty}')),
		'42703', qr/the key column "id" is in no message of topic "yet.empty"/, 'a call raises it');

	records_to('yet.first', '{"id": 1, "v": "b"}', '{"id": 2, "v": "c"}');
	caught_up($hub, 'yet');
	sql_ok($hub, 'SELECT id, v FROM yet."yet.first" ORDER BY id', "1|b\n2|c", 'others go on');
	records_to('yet.empty', '{"id": 7, "v": "x"}', '{"id": 7, "v": "y"}');
	records_to('yet.garbage', '{"id": 8, "v": "z"}');
	sql_becomes($hub, 'SELECT id, v FROM yet."yet.empty"', '7|y', 'a topic is added with its first messages, and its key');
	sql_becomes($hub, 'SELECT id, v FROM yet."yet.garbage"', '8|z', 'and one that has had none that could be read');
	sql_ok($hub, sprintf($events, $_, '%left out%'), 1, "of $_ was told once") foreach qw(yet.empty yet.garbage);
	drop('yet');
	return;
}

sub malformed
{
	records_to('bad', '{"id": 1, "v": 1}', '{"id": 2, "v": 2}');
	pull_topic('bad', '{"on_error": "dead_letter"}');
	records_to('bad', '{"id": 3, ', '{"id": 4, "v": 4}', '[5]', [ 'key', '{"id": 6, "v": "six"}' ], '{"id": 7, "v": 7}',
		"{\"id\": 8, \"v\": \"\xff\"}", '{"id": 9, "v": 9}', '{"id":' x 200 . '1' . '}' x 200);
	caught_up($hub, 'bad');
	sql_ok($hub, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM bad.bad', '1 2 4 7 9', 'the others are there, once');
	sql_ok($hub, q(SELECT change->>'topic', change->>'partition', change->>'offset', change->>'key', sqlstate
			FROM tapdata.dead_letters WHERE pipeline = 'bad' AND change->>'value' = '{"id": 6, "v": "six"}'),
		'bad|0|5|key|22P02', 'a dead letter says where it stood');
	sql_ok($hub, q(SELECT string_agg(change->>'offset', ' ' ORDER BY (change->>'offset')::int) FROM tapdata.dead_letters
			WHERE pipeline = 'bad'), '2 4 5 7 9', 'each is one');
	sql_ok($hub, q(SELECT encode(decode(change->>'value_base64', 'base64'), 'escape') FROM tapdata.dead_letters
			WHERE pipeline = 'bad' AND change->>'offset' = '7'), '{"id": 8, "v": "\377"}', 'bytes are kept');
	drop('bad');

	pull($hub, $kafka, 'stops', tables => ['bad']);
	wait_for_state($hub, 'stops', 'failed');
	like($hub->safe_psql('postgres', q(SELECT last_error FROM tapdata.status WHERE name = 'stops')),
		qr/JSON.*context: offset 2 of partition 0 of topic "bad";/, 'without: it stops, and says where');
	drop('stops');

	records_to('nojson', 'a,b', 'c,d');
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('nojson', '${\ $kafka->uri }')));
	sql_fails($hub, q(SELECT tapdata.pull('nojson', 'nojson', ARRAY['nojson'])), '55000', qr/format/,
		'a topic of something else');
	$hub->safe_psql('postgres', q(SELECT tapdata.disconnect('nojson')));
	return;
}

sub discover
{
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('all', '${\ $kafka->uri }')));
	sql_ok($hub, q(SELECT source_table, estimated_rows, columns FROM tapdata.discover('all', 'grow')),
		'grow|5|' . $hub->safe_psql('postgres', q(SELECT columns FROM tapdata.discover('all', 'grow'))), 'a topic');
	sql_ok($hub, q(SELECT jsonb_path_query_array(columns, '$[*].name') FROM tapdata.discover('all', 'raw')),
		'["key", "value", "headers", "timestamp"]', 'what is not JSON is shown raw');
	sql_ok($hub, q(SELECT count(*) > 10, bool_and(source_table NOT LIKE '\_\_%') FROM tapdata.discover('all')), 't|t', 'all');
	$hub->safe_psql('postgres', q(SELECT tapdata.disconnect('all')));
	return;
}

sub encoding
{
	$hub->safe_psql('postgres', q(CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'));
	$hub->safe_psql('latin', 'CREATE EXTENSION tapdata');
	records_to('latin', "{\"v\": \"\xc3\xa9\"}");
	pull($hub, $kafka, 'latin', tables => ['latin'], database => 'latin', options => '{"on_error": "dead_letter"}');
	records_to('latin', "{\"v\": \"\xe2\x82\xac\"}", '{"v": "last"}');
	caught_up($hub, 'latin', undef, 'latin');
	is($hub->safe_psql('latin', q(SELECT string_agg(encode(convert_to(v, 'UTF8'), 'hex'), ' ' ORDER BY v = 'last') FROM latin.latin)),
		'c3a9 6c617374', 'converted');
	is($hub->safe_psql('latin', q(SELECT change->>'offset' FROM tapdata.dead_letters)), '1', 'or a dead letter');
	$hub->safe_psql('latin', q(SELECT tapdata.drop_pipeline('latin')));
	return;
}

sub bad_options
{
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('o', '${\ $kafka->uri }')));
	records_to('options', '{"id": 1}');
	foreach my $case (
		['{"format": "xml"}', qr/json/],
		['{"key": 1}', qr/list of columns/],
		['{"key": ["nothing"]}', qr/"nothing"/],
		['{"mode": "upsert"}', qr/"key"/],
		['{"columns": {"a": "nonsense"}}', qr/nonsense/],
		['{"start": "yesterdayish"}', qr/option "start".*yesterdayish.*HINT.*earliest/s],
		['{"start_offsets": {"a": 1}}', qr/offsets by partition/],
		['{"metadata": "everything"}', qr/partition/],
		['{"csv_delimiter": "ab"}', qr/single character/],
		['{"kafka.no.such.property": "1"}', qr/no\.such\.property/],
		['{"kafka.plugin.library.paths": "x"}', qr/library/],
		['{"workers": 4}', qr/"workers" has no effect with connector "kafka".*HINT:  Valid options are: snapshot, ddl,/s],
		['{"chunk_rows": 10}', qr/"chunk_rows" has no effect/],
		['{"indexes": true}', qr/"indexes" has no effect/],
		['{"snapshot": "never", "start": "earliest"}', qr/"snapshot" has no effect beside "start"/])
	{
		my ($options, $pattern) = @$case;

		sql_fails($hub, "SELECT tapdata.pull('o', 'o', ARRAY['options'], options => '$options')",
			qr/22\w{3}|42\w{3}/, $pattern, $options);
	}
	sql_fails($hub, q(SELECT tapdata.pull('o', 'o', ARRAY['no_such_topic'])), '42P01', qr/no_such_topic/, 'no such topic');
	return;
}
