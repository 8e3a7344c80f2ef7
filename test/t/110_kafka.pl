# Hub changes on Kafka: what a consumer that others wrote finds in the topics.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Kafka;
use Tapdata::Ledger;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

Tapdata::Kafka->require;

my $kafka = Tapdata::Kafka->start;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");

$hub->safe_psql('postgres', <<'SQL');
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int PRIMARY KEY, customer text, total numeric(10, 2), paid bool,
	at timestamptz, tags text[], extra jsonb);
CREATE TABLE shop."Odd Name" (a int, "B c" text, v text, PRIMARY KEY ("B c", a));
INSERT INTO shop.orders VALUES (1, 'Ann', 12.50, true, '2024-02-29 12:00+00', '{a,b}', '{"x": [1, null]}'),
	(2, 'Bob', NULL, NULL, NULL, NULL, NULL);
SQL

foreach my $test (
	['rows as JSON' => \&json_rows],
	['topics by pattern' => \&topic_pattern],
	['partitions by key' => \&partitions],
	['headers' => \&headers],
	['what is published: operations, rows, columns' => \&selection],
	['transactions are seen whole' => \&whole_transactions],
	['a new column, a truncate' => \&schema],
	['at least once' => \&at_least_once],
	['heartbeats' => \&heartbeats],
	['TLS and passwords' => \&secure],
	['SCRAM' => \&scram],
	['options are checked when they are given' => \&bad_options])
{
	my ($name, $check) = @$test;
	subtest $name => $check;
}
done_testing();

# What is there when everything that was committed is at the target.
sub records
{
	my ($pipeline, $topic) = @_;

	caught_up($hub, $pipeline);
	return $kafka->settled_records($topic);
}

sub drop
{
	my ($name) = @_;

	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name'); SELECT tapdata.disconnect('$name')");
	return;
}

sub json_rows
{
	publish($hub, $kafka, 'json', ['shop.orders'], { topic => 'json.{table}' });
	my @copy = records('json', 'json.orders');
	is(@copy, 2, 'the rows that were there');
	is($copy[0]{key}, '{"id":1}', 'the key');
	like($copy[0]{value}, qr/"total":12\.50,/, 'a number with all its digits');
	is_deeply(from_json($copy[0]{value}),
		{
			id => 1, customer => 'Ann', total => '12.5', paid => 'true',
			at => '2024-02-29T12:00:00+00:00', tags => [ 'a', 'b' ], extra => { x => [ 1, undef ] }
		}, 'a row');
	is_deeply(from_json($copy[1]{value}),
		{ id => 2, customer => 'Bob', map { ($_ => undef) } qw(total paid at tags extra) }, 'a row of nulls');

	$hub->safe_psql('postgres', <<'SQL');
INSERT INTO shop.orders (id, customer) VALUES (3, E'ü€𝄞 "\\ \n\x01');
UPDATE shop.orders SET customer = 'Bert' WHERE id = 2;
UPDATE shop.orders SET id = 20 WHERE id = 2;
DELETE FROM shop.orders WHERE id = 1;
SQL
	my @stream = (records('json', 'json.orders'))[ 2 .. 6 ];
	is(from_json($stream[0]{value})->{customer}, "\x{fc}\x{20ac}\x{1d11e} \"\\ \n\x01", 'an insert, of all kinds of characters');
	is(from_json($stream[1]{value})->{customer}, 'Bert', 'an update');
	is($stream[2]{key}, '{"id":2}', 'a key that changes: first the old one');
	is($stream[2]{value}, undef, '... which goes');
	is($stream[3]{key}, '{"id":20}', '... then the new one');
	is(from_json($stream[3]{value})->{customer}, 'Bert', '... with the row');
	is($stream[4]{key}, '{"id":1}', 'a delete');
	is($stream[4]{value}, undef, '... is a tombstone');
	is(scalar $kafka->records('json.orders'), 7, 'and nothing else');
	drop('json');
	return;
}

sub topic_pattern
{
	$hub->safe_psql('postgres', q(INSERT INTO shop."Odd Name" VALUES (1, 'k', 'v')));
	publish($hub, $kafka, 'pattern', ['shop.*'], { topic => 'hub.{database}.{schema}.{table}' });
	is(records('pattern', 'hub.postgres.shop.orders') + 0, 2, 'a topic for each table');
	my ($odd) = grep { /^hub\.postgres\.shop\.Odd/ } $kafka->topics;
	ok($odd, 'a name that no topic may have is changed to one that it may have') or diag $kafka->topics;
	my ($record) = $kafka->settled_records($odd);
	is($record->{key}, '{"B c":"k","a":1}', 'the columns of a key in its order');
	drop('pattern');

	publish($hub, $kafka, 'single', ['shop.*'], { topic => 'single' });
	is(records('single', 'single') + 0, 3, 'one topic for all tables');
	drop('single');
	return;
}

sub partitions
{
	my %of_key;

	$kafka->create_topic($_, partitions => 4) foreach qw(parted java);
	publish($hub, $kafka, 'parted', ['shop.orders'], { topic => 'parted' });
	caught_up($hub, 'parted');
	$hub->safe_psql('postgres', q(
		INSERT INTO shop.orders (id) SELECT g FROM generate_series(1000, 1099) g;
		UPDATE shop.orders SET customer = 'x' WHERE id >= 1000;
		DELETE FROM shop.orders WHERE id >= 1000));
	my @records = records('parted', 'parted');
	is(@records, 302, 'all records');
	$of_key{ $_->{key} }{ $_->{partition} } = 1 foreach @records;
	is_deeply([ grep { keys %{ $of_key{$_} } != 1 } keys %of_key ], [], 'a key stays in its partition');
	is(scalar keys %{ { map { $_->{partition} => 1 } @records } }, 4, 'all partitions are used');
	$kafka->produce_by_java('java', map { [ $_, 'x' ] } keys %of_key);
	my %java = map { ($_->{key} => $_->{partition}) } $kafka->records('java');
	is_deeply({ map { ($_ => (keys %{ $of_key{$_} })[0]) } keys %of_key }, \%java, 'those that a Java program would choose');
	my @order = grep { $_->{key} eq '{"id":1042}' } @records;
	is_deeply([ map { defined $_->{value} ? from_json($_->{value})->{customer} : 'gone' } @order ],
		[ undef, 'x', 'gone' ], 'the changes of a key are in order');
	drop('parted');
	return;
}

sub headers
{
	publish($hub, $kafka, 'heads', ['shop.orders'], { topic => 'heads', snapshot => 'never', headers => 'all' });
	caught_up($hub, 'heads');
	my $xid = $hub->safe_psql('postgres', q(
		BEGIN; INSERT INTO shop.orders (id) VALUES (50); DELETE FROM shop.orders WHERE id = 50;
		SELECT pg_current_xact_id()::xid; COMMIT));
	my @records = records('heads', 'heads');
	is(@records, 2, 'no rows that were there before');
	is($records[0]{headers}{xid}, $xid, 'the transaction');
	is($records[1]{headers}{xid}, $xid, '... of a tombstone too');
	like($records[0]{headers}{lsn}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'the LSN');
	is($hub->safe_psql('postgres', "SELECT '$records[0]{headers}{lsn}'::pg_lsn < '$records[1]{headers}{lsn}'::pg_lsn"),
		't', '... grows');
	is($records[0]{headers}{table}, 'shop.orders', 'the table') or diag explain $records[0]{headers};
	is($records[0]{headers}{op} . $records[1]{headers}{op}, 'cd', 'the operation');
	drop('heads');

	publish($hub, $kafka, 'plain', ['shop.orders'], { topic => 'plain' });
	my ($record) = records('plain', 'plain');
	is_deeply($record->{headers}, {}, 'none of them');
	drop('plain');
	return;
}

sub selection
{
	publish($hub, $kafka, 'part', ['shop.orders'], {
			topic => 'part',
			where => { 'shop.orders' => 'id < 100' },
			columns => { 'shop.orders' => [ 'id', 'customer' ] },
			publish => 'insert,update,delete' });
	caught_up($hub, 'part');
	$hub->safe_psql('postgres', q(
		INSERT INTO shop.orders (id, customer) VALUES (60, 'in'), (160, 'out');
		UPDATE shop.orders SET id = 61 WHERE id = 160;
		UPDATE shop.orders SET id = 260 WHERE id = 60;
		DELETE FROM shop.orders WHERE id IN (61, 260)));
	my @records = grep { $_->{key} =~ /6\d/ } records('part', 'part');
	is_deeply([ map { [ $_->{key}, $_->{value} ] } @records ],
		[
			[ '{"id":60}', '{"id":60,"customer":"in"}' ],
			[ '{"id":61}', '{"id":61,"customer":"out"}' ],
			[ '{"id":60}', undef ],
			[ '{"id":61}', undef ]
		], 'rows that come into the filter are inserted, those that leave it deleted');
	drop('part');
	return;
}

# While transactions are written, a consumer never sees some of one.
sub whole_transactions
{
	my $ledger = Tapdata::Ledger->new($hub);
	my ($states, $last, @wrong) = (0, 0);

	publish($hub, $kafka, 'ledger', ['ledger.*'], { topic => 'ledger' });
	caught_up($hub, 'ledger');
	$ledger->open(clients => 2, pause => 0.01);
	$hub->safe_psql('postgres', q(
		BEGIN; SAVEPOINT a; INSERT INTO ledger.entry (amount) SELECT 0 FROM generate_series(1, 100); ROLLBACK TO a;
		INSERT INTO ledger.entry (amount) SELECT 0 FROM generate_series(1, 2000);
		UPDATE ledger.account SET balance = balance WHERE false; COMMIT));
	my $began = time;

	# for some seconds, and on a slow machine until there was something to see
	while (time < $began + 4 || ($states <= 2 && time < $began + $PostgreSQL::Test::Utils::timeout_default))
	{
		my @records = $kafka->records('ledger');
		my ($sum, $zeros) = (0, 0);
		my $rows = folded(grep { $_->{value} =~ /balance/ } @records);

		$sum += from_json($_)->{balance} foreach values %$rows;
		$zeros = grep { $_->{value} =~ /"amount":0\b/ } @records;
		push @wrong, "sum $sum" if $sum != $ledger->sum;
		push @wrong, "$zeros of 2000 rows" if $zeros && $zeros != 2000;
		$states++ if @records != $last;
		$last = @records;
	}
	$ledger->close;
	is_deeply(\@wrong, [], 'every state that is seen is one of the hub');
	cmp_ok($states, '>', 2, "$states states were seen");
	drop('ledger');
	$hub->safe_psql('postgres', 'DROP SCHEMA ledger CASCADE');
	return;
}

sub schema
{
	publish($hub, $kafka, 'schema', ['shop.orders'], { topic => 'schema', snapshot => 'never' });
	caught_up($hub, 'schema');
	$hub->safe_psql('postgres', q(
		INSERT INTO shop.orders (id) VALUES (70);
		ALTER TABLE shop.orders ADD COLUMN extra_column int DEFAULT 5;
		INSERT INTO shop.orders (id) VALUES (71);
		ALTER TABLE shop.orders DROP COLUMN tags;
		DELETE FROM shop.orders WHERE id IN (70, 71)));
	my @records = records('schema', 'schema');
	ok(!exists from_json($records[0]{value})->{extra_column}, 'before the column was there');
	is(from_json($records[1]{value})->{extra_column}, 5, 'and after');
	drop('schema');

	publish($hub, $kafka, 'emptied', ['shop."Odd Name"'], { topic => 'emptied' });
	caught_up($hub, 'emptied');
	$hub->safe_psql('postgres', 'TRUNCATE shop."Odd Name"');
	caught_up($hub, 'emptied');
	pass('a truncate does not stop it');
	drop('emptied');
	return;
}

sub at_least_once
{
	publish($hub, $kafka, 'least', ['shop.orders'], { topic => 'least', delivery => 'at_least_once' });
	my $before = () = records('least', 'least');
	$hub->safe_psql('postgres', 'INSERT INTO shop.orders (id) SELECT g FROM generate_series(2000, 2999) g');
	my @records = records('least', 'least');
	is(@records, $before + 1000, 'every row');
	is($records[-1]{offset}, @records - 1, 'without marks of transactions');
	drop('least');
	$hub->safe_psql('postgres', 'DELETE FROM shop.orders WHERE id >= 2000');
	return;
}

sub secure
{
	my ($user, $password, $port) = map { $kafka->{$_} } qw(user password secure_port);
	my $escaped = $password =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger;
	my %tls = (ssl_ca => $kafka->{ca});

	publish($hub, $kafka, 'secure', ['shop.orders'], { topic => 'secure' },
		uri => "kafka+ssl://$user:$escaped\@127.0.0.1:$port", connection_options => \%tls);
	cmp_ok(scalar records('secure', 'secure'), '>', 0, 'through TLS, with a password');
	unlike($hub->safe_psql('postgres', 'SELECT * FROM tapdata.connections'), qr/\Q$password\E|\Q$escaped\E/,
		'the password is not shown');
	drop('secure');

	foreach my $test (
		['a wrong password' => "kafka+ssl://$user:wrong\@127.0.0.1:$port", {%tls}, qr/authentication/i],
		['a certificate of nobody that is trusted' => "kafka+ssl://$user:$escaped\@127.0.0.1:$port",
			{}, qr/certificate|SSL/i])
	{
		my ($what, $uri, $options, $message) = @$test;
		my $text = join ', ', map { "\"$_\": \"$options->{$_}\"" } keys %$options;

		$hub->safe_psql('postgres', "SELECT tapdata.connect('refused', '$uri', '{$text}')");
		my $checks = $hub->safe_psql('postgres', "SELECT check_name, ok, detail, hint FROM tapdata.test_connection('refused')");
		like($checks, $message, "$what: a check says so");
		unlike($checks, qr/\Q$password\E|wrong/, '... without the password');
		like($checks, qr/\|f\|/, '... and fails');
		$hub->safe_psql('postgres', "SELECT tapdata.disconnect('refused')");
	}
	return;
}

# Debian 12's librdkafka is too old for SCRAM with Kafka 4: then that has to be said.
sub scram
{
	my ($user, $port) = map { $kafka->{$_} } qw(user secure_port);
	my $escaped = $kafka->{password} =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger;

	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('scram', 'kafka+ssl://$user:$escaped\@127.0.0.1:$port',
		'{"ssl_ca": "$kafka->{ca}", "sasl_mechanism": "SCRAM-SHA-256"}')));
	my $checks = $hub->safe_psql('postgres', "SELECT ok, hint FROM tapdata.test_connection('scram') WHERE NOT ok");
	ok($checks eq '' || $checks =~ /2\.6\.1/, 'it works, or says which librdkafka it needs') or diag $checks;
	$hub->safe_psql('postgres', "SELECT tapdata.disconnect('scram')");
	return;
}

sub heartbeats
{
	publish($hub, $kafka, 'quiet', ['shop."Odd Name"'],
		{ topic => 'quiet', heartbeat_topic => 'quiet.heartbeat', heartbeat_ms => 1000 });
	caught_up($hub, 'quiet');
	my @beats = $kafka->wait_for_records('quiet.heartbeat', 2);
	like($beats[0]{value}, qr/"ts_ms":\d{13}\b/, 'the time');

	# nothing of the table changes, and yet the slot lets go of WAL
	my $before = $hub->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
	$hub->safe_psql('postgres', 'CREATE TABLE noise AS SELECT generate_series(1, 1000) AS n');
	wait_for_sql($hub, "SELECT bool_and(confirmed_flush_lsn > '$before') FROM pg_replication_slots WHERE active");
	drop('quiet');
	return;
}

sub bad_options
{
	$hub->safe_psql('postgres', "SELECT tapdata.connect('bus', '${\ $kafka->uri }')");
	foreach my $test (
		['{"topic": ""}' => qr/topic/],
		['{"topic": "a b"}' => qr/topic/],
		['{"topic": "{tabel}"}' => qr/tabel|placeholder/],
		['{"format": "xml"}' => qr/format/],
		['{"delivery": "perhaps"}' => qr/delivery/],
		['{"kafka.no.such.property": "1"}' => qr/no\.such\.property/],
		['{"kafka.batch.size": "many"}' => qr/batch\.size/],
		['{"format": "avro"}' => qr/schema_registry/],
		['{"kafka.transactional.id": "mine"}' => qr/transactional\.id/],
		['{"kafka.plugin.library.paths": "x.so"}' => qr/plugin\.library/],
		['{"kafka.test.mock.num.brokers": "1"}' => qr/test\.mock/],
		['{"headers": "lsn,nothing"}' => qr/headers/],
		['{"toppic": "x"}' => qr/toppic/])
	{
		my ($options, $message) = @$test;

		sql_fails($hub, "BEGIN; SELECT tapdata.publish('p', 'bus', ARRAY['shop.orders'], '$options'); ROLLBACK",
			'(22023|42\w\w\w|HV00\w|0A000|22\w\w\w)', $message, $options);
	}
	sql_fails($hub, "SELECT tapdata.connect('c', 'kafka://127.0.0.1:0')", '\w+', qr/port/, 'a port that is none');

	# librdkafka makes a command for the shell of them
	$hub->safe_psql('postgres', 'CREATE ROLE reader; GRANT USAGE ON SCHEMA tapdata TO reader; '
		  . 'GRANT pg_read_server_files TO reader');
	sql_fails($hub, "SET ROLE reader; SELECT tapdata.connect('c', 'kafka://127.0.0.1:1', "
		  . qq['{"kafka.sasl.kerberos.$_": "x"}')], '42501', qr/kerberos\.$_/, "Kerberos for who may not run programs: $_")
	  foreach ('principal', 'keytab', 'service.name');
	$hub->safe_psql('postgres', 'REVOKE USAGE ON SCHEMA tapdata FROM reader; DROP ROLE reader');
	sql_fails($hub, "SELECT tapdata.connect('c', 'kafka:///')", '\w+', qr/host/, 'no host');
	$hub->safe_psql('postgres', "SELECT tapdata.disconnect('bus')");
	return;
}
