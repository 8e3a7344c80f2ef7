# What a MySQL or MariaDB target refuses: values it cannot hold, rows that are
# missing or there, tables changed under us, no room, packets too small; and how
# that stops the pipeline or becomes a dead letter.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# column type, a value that has no equal, what the error says
my @unfit = (
	['double precision', "'NaN'", qr/no NaN/],
	['real', "'-Infinity'", qr/no infinity/],
	['numeric', "'NaN'", qr/no NaN/],
	['numeric', '1e-31', qr/more than 30 decimal places/],
	['numeric', '1e40', qr/more than 35 digits/],
	['date', "'infinity'", qr/infinite date/],
	['date', "'0044-03-15 BC'", qr/before Christ/],
	['timestamp', "'20000-01-01'", qr/after 9999/],
	['timestamptz', "'-infinity'", qr/infinite time/],
	['jsonb', q('{"a": 12345678901234567890.12345}'), qr/would round/, 'mysql'],
);

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_refused($flavour) };
}
done_testing();

sub check_refused
{
	my ($flavour) = @_;
	my $hub = new_hub("refused_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
	my $target = Tapdata::MySQL->start(flavour => $flavour, options => ['--max-allowed-packet=1M']);

	$target->sql("CREATE DATABASE app; GRANT ALL ON *.* TO '" . $target->user . "'\@'%'");
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('t', '${\ $target->uri('app') }')));
	check_values($hub, $target, $flavour);
	check_conflicts($hub, $target);
	check_letters($hub, $target);
	check_copy_letters($hub, $target);
	check_packets($hub, $target);
	check_changed_target($hub, $target);
	check_crossing($hub, $target);
	check_locks($hub, $target);
	check_fence($hub, $target);
	check_encoding($flavour, $target);
	return;
}

sub rows
{
	my ($target, $query) = @_;

	return join "\n", map { join '|', map { defined ? $_ : '-' } @$_ } @{ $target->rows($query) };
}

sub publish
{
	my ($hub, $name, $tables, $options) = @_;

	return $hub->safe_psql('postgres', "SELECT tapdata.publish('$name', 't', ARRAY['$tables'], '" . ($options || '{}') . "')");
}

sub last_error
{
	my ($hub, $name) = @_;

	return $hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = '$name'");
}

sub letters
{
	my ($hub, $name, $what) = @_;

	return $hub->safe_psql('postgres', "SELECT $what FROM tapdata.dead_letters WHERE pipeline = '$name' ORDER BY 1");
}

sub check_values
{
	my ($hub, $target, $flavour) = @_;
	my @cases = grep { !$_->[3] || $_->[3] eq $flavour } @unfit;

	$hub->safe_psql('postgres', 'CREATE SCHEMA unfit; CREATE TABLE unfit.t (id int PRIMARY KEY, '
		. join(', ', map { "c$_ $cases[$_][0]" } 0 .. $#cases) . ')');
	publish($hub, 'unfit', 'unfit.t', '{"on_error": "dead_letter"}');
	caught_up($hub, 'unfit');
	$hub->safe_psql('postgres', join ';', 'INSERT INTO unfit.t (id) VALUES (100)',
		map { "INSERT INTO unfit.t (id, c$_) VALUES ($_, $cases[$_][1])" } 0 .. $#cases);
	$hub->safe_psql('postgres', 'INSERT INTO unfit.t (id) VALUES (101)');
	caught_up($hub, 'unfit');
	is(rows($target, 'SELECT id FROM unfit.t ORDER BY id'), "100\n101", 'only what fits is at the target');
	for my $i (0 .. $#cases)
	{
		like(letters($hub, 'unfit', "error FROM tapdata.dead_letters d WHERE change->'new'->>'id' = '$i' --"), $cases[$i][2], "refused: $cases[$i][1] as $cases[$i][0]");
	}
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('unfit')");
	return;
}

# Rows that the target should have, or should not have.
sub check_conflicts
{
	my ($hub, $target) = @_;
	my %changes = (
		insert => ['INSERT INTO conflict.t VALUES (10, 10)', qr/Duplicate entry/],
		update => ['UPDATE conflict.t SET v = 20 WHERE id = 2', qr/no such row/],
		rekey => ['UPDATE conflict.t SET id = 33 WHERE id = 3', qr/no such row/],
		delete => ['DELETE FROM conflict.t WHERE id = 4', qr/no such row/]);

	$hub->safe_psql('postgres', 'CREATE SCHEMA conflict; CREATE TABLE conflict.t (id int PRIMARY KEY, v int); INSERT INTO conflict.t SELECT g, g FROM generate_series(1, 5) g');
	publish($hub, 'conflict', 'conflict.t');
	caught_up($hub, 'conflict');
	foreach my $name (sort keys %changes)
	{
		my ($sql, $error) = @{ $changes{$name} };

		$target->sql('INSERT IGNORE INTO conflict.t VALUES (10, 99)') if $name eq 'insert';
		$target->sql('DELETE FROM conflict.t WHERE id IN (2, 3, 4)');
		$hub->safe_psql('postgres', "BEGIN; UPDATE conflict.t SET v = v + 1 WHERE id IN (1, 5); $sql; COMMIT");
		wait_for_state($hub, 'conflict', 'failed');
		like(last_error($hub, 'conflict'), $error, "$name: stops");
		like(last_error($hub, 'conflict'), qr/conflict\.t.*id/, "$name: tells table and key");
		$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('conflict', '{"conflicts": "overwrite"}'); SELECT tapdata.start('conflict')});
		caught_up($hub, 'conflict');
		$hub->safe_psql('postgres', q{SELECT tapdata.alter_pipeline('conflict', '{"conflicts": "error"}')});
		is(rows($target, 'SELECT * FROM conflict.t WHERE id IN (1, 5) ORDER BY id'),
			$hub->safe_psql('postgres', 'SELECT * FROM conflict.t WHERE id IN (1, 5) ORDER BY id'), "$name: goes on when the hub shall win");
	}
	is(rows($target, 'SELECT id, v FROM conflict.t WHERE id > 5 ORDER BY id'), "10|10\n33|3", 'the hub has won');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('conflict')");
	return;
}

sub check_letters
{
	my ($hub, $target) = @_;

	$target->sql(q{
		CREATE DATABASE letters;
		CREATE TABLE letters.t (id int PRIMARY KEY, name varchar(5), small tinyint, data varbinary(10), CHECK (small <> 13));});
	$hub->safe_psql('postgres', q{
		CREATE SCHEMA letters;
		CREATE TABLE letters.t (id int PRIMARY KEY, name text, small int, data bytea);
		INSERT INTO letters.t VALUES (1, 'one', 1, '\x01');});
	publish($hub, 'letters', 'letters.t', '{"on_error": "dead_letter"}');
	caught_up($hub, 'letters');
	$hub->safe_psql('postgres', q{
		BEGIN;
		INSERT INTO letters.t VALUES (2, 'two', 2, '\x02'), (3, 'too long', 3, '\x03'), (4, 'it''s', 13, '\x00ff'), (5, 'five', 1000, NULL), (6, 'six', 6, NULL);
		UPDATE letters.t SET name = 'ONE' WHERE id = 1;
		UPDATE letters.t SET name = 'three' WHERE id = 3;
		UPDATE letters.t SET small = -129 WHERE id = 2;
		DELETE FROM letters.t WHERE id = 6;
		COMMIT;});
	caught_up($hub, 'letters');
	is(rows($target, 'SELECT id, name, small FROM letters.t ORDER BY id'), "1|ONE|1\n2|two|2", 'the rest of the transaction is there');
	is(letters($hub, 'letters', "change->>'op' || coalesce(change->'new'->>'id', '') || ' ' || (change->'new'->>'name') || ' ' || sqlstate"),
		"insert3 too long 22001\ninsert4 it's 23514\ninsert5 five 22003\nupdate2 two 22003\nupdate3 three 23000", 'what was refused is kept');
	like(letters($hub, 'letters', "change->'new'->>'data' || ' ' || error FROM tapdata.dead_letters d WHERE change->'new'->>'id' = '4' --"),
		qr/^\\x00ff table "letters.t", `id` = 4: /, 'with all values, table and key');
	$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('letters'); SELECT tapdata.drop_pipeline('letters')");
	return;
}

# LOAD DATA LOCAL takes errors for warnings.
sub check_copy_letters
{
	my ($hub, $target) = @_;

	$target->sql(q{
		CREATE TABLE letters.copy (id int PRIMARY KEY, name varchar(5), small tinyint, data varbinary(3));
		CREATE TABLE letters.copy_stop LIKE letters.copy;});
	$hub->safe_psql('postgres', q{
		CREATE TABLE letters.copy AS SELECT g AS id, 'n' || g AS name, (g % 100)::int AS small, '\x0001ff'::bytea AS data FROM generate_series(1, 1000) g;
		UPDATE letters.copy SET small = 1000 WHERE id = 500;
		UPDATE letters.copy SET data = '\x00010203' WHERE id = 700;
		ALTER TABLE letters.copy ADD PRIMARY KEY (id);
		CREATE TABLE letters.copy_stop AS TABLE letters.copy;
		ALTER TABLE letters.copy_stop ADD PRIMARY KEY (id);});
	publish($hub, 'copied', 'letters.copy', '{"on_error": "dead_letter"}');
	caught_up($hub, 'copied');
	is(rows($target, "SELECT COUNT(*), SUM(small), COUNT(DISTINCT data), MIN(HEX(data)) FROM letters.copy"),
		$hub->safe_psql('postgres', q{SELECT count(*), sum(small), 1, '0001FF' FROM letters.copy WHERE id NOT IN (500, 700)}), 'rows of a copy that fit');
	is(letters($hub, 'copied', "change->'new'->>'id'"), "500\n700", 'and those that do not');
	publish($hub, 'stopped', 'letters.copy_stop');
	wait_for_state($hub, 'stopped', 'failed');
	like(last_error($hub, 'stopped'), qr/letters\.copy_stop/, 'a copy stops at what does not fit');
	$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('copied'); SELECT tapdata.drop_pipeline('copied'); SELECT tapdata.drop_pipeline('stopped')");
	return;
}

sub check_packets
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', q{
		CREATE SCHEMA packet;
		CREATE TABLE packet.t (id int PRIMARY KEY, data text);});
	publish($hub, 'packet', 'packet.t', '{"on_error": "dead_letter", "batch_bytes": 67108864}');
	caught_up($hub, 'packet');
	$hub->safe_psql('postgres', q{
		BEGIN;
		INSERT INTO packet.t SELECT g, repeat(md5(g::text), 3000) FROM generate_series(1, 100) g;
		INSERT INTO packet.t VALUES (1000, repeat('x', 2000000));
		UPDATE packet.t SET data = 'short' WHERE id % 2 = 0 AND id < 50;
		COMMIT;});
	caught_up($hub, 'packet');
	is(rows($target, 'SELECT COUNT(*), SUM(LENGTH(data)) FROM packet.t'),
		$hub->safe_psql('postgres', 'SELECT count(*), sum(length(data)) FROM packet.t WHERE id < 1000'), 'a transaction of many packets');
	like(letters($hub, 'packet', 'error'), qr/max_allowed_packet/, 'a row that no packet holds');
	$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('packet'); SELECT tapdata.drop_pipeline('packet')");
	return;
}

sub check_changed_target
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', 'CREATE SCHEMA changed; CREATE TABLE changed.t (id int PRIMARY KEY, v int)');
	publish($hub, 'changed', 'changed.t');
	caught_up($hub, 'changed');
	$target->sql('ALTER TABLE changed.t RENAME COLUMN v TO w');
	$hub->safe_psql('postgres', 'INSERT INTO changed.t VALUES (1, 1)');
	wait_for_state($hub, 'changed', 'failed');
	like(last_error($hub, 'changed'), qr/changed\.t.*Unknown column/s, 'a column that is gone stops the pipeline');
	$target->sql('ALTER TABLE changed.t RENAME COLUMN w TO v');
	$hub->safe_psql('postgres', "SELECT tapdata.start('changed')");
	caught_up($hub, 'changed');
	is(rows($target, 'SELECT * FROM changed.t'), '1|1', 'mended, it goes on');
	$target->sql('DROP TABLE changed.t');
	$hub->safe_psql('postgres', 'INSERT INTO changed.t VALUES (2, 2)');
	wait_for_state($hub, 'changed', 'failed');
	$hub->safe_psql('postgres', "SELECT tapdata.start('changed')");
	ok( $hub->poll_query_until(
			'postgres', q{SELECT state = 'failed' AND last_error LIKE '%"changed.t"%is gone%' FROM tapdata.status WHERE name = 'changed'}),
		'a table that is gone is not made again without its rows');
	$hub->safe_psql('postgres', "SELECT tapdata.resync('changed', 'changed.t')");
	wait_for_sql($hub, q{SELECT state FROM tapdata.tables WHERE pipeline = 'changed'}, 'streaming');
	caught_up($hub, 'changed');
	is(rows($target, 'SELECT * FROM changed.t ORDER BY id'), "1|1\n2|2", 'resync makes a table again that is gone');
	$target->sql('DELETE FROM app.tapdata_progress');
	$hub->safe_psql('postgres', 'INSERT INTO changed.t VALUES (3, 3)');
	wait_for_state($hub, 'changed', 'failed');
	like(last_error($hub, 'changed'), qr/position of pipeline "changed" at the target/, 'a position that is gone is noticed');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('changed')");
	return;
}

# A row that comes to meet the condition, of which WAL has not all.
sub check_crossing
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', q(CREATE SCHEMA crossing; CREATE TABLE crossing.t (id int PRIMARY KEY, v text); ALTER TABLE crossing.t ALTER v SET STORAGE external));
	publish($hub, 'crossing', 'crossing.t', '{"where": "id > 100"}');
	caught_up($hub, 'crossing');
	$hub->safe_psql('postgres', q(INSERT INTO crossing.t VALUES (1, repeat('x', 3000)), (2, 'small'); UPDATE crossing.t SET id = 102 WHERE id = 2));
	caught_up($hub, 'crossing');
	is(rows($target, 'SELECT * FROM crossing.t'), '102|small', 'a row that comes to meet the condition is inserted');
	$hub->safe_psql('postgres', 'UPDATE crossing.t SET id = 101 WHERE id = 1');
	wait_for_state($hub, 'crossing', 'failed');
	like(last_error($hub, 'crossing'), qr/is not known whole.*REPLICA IDENTITY FULL/s, 'not without a value that WAL does not have');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('crossing')");
	return;
}

# Deadlocks and lock waits are nothing to stop for.
sub check_locks
{
	my ($hub, $target) = @_;
	my $session = $target->connect;

	$target->sql('SET GLOBAL innodb_lock_wait_timeout = 1');
	$hub->safe_psql('postgres', 'CREATE SCHEMA locks; CREATE TABLE locks.t (id int PRIMARY KEY, v int); INSERT INTO locks.t VALUES (1, 1)');
	publish($hub, 'locks', 'locks.t');
	caught_up($hub, 'locks');
	$session->do('BEGIN');
	$session->do('SELECT * FROM locks.t WHERE id = 1 FOR UPDATE');
	$hub->safe_psql('postgres', 'UPDATE locks.t SET v = 2');
	wait_for_sql($hub, "SELECT count(*) > 0 FROM tapdata.events WHERE pipeline = 'locks' AND message LIKE '%Lock wait timeout%'", 't');
	$session->do('COMMIT');
	caught_up($hub, 'locks');
	is(rows($target, 'SELECT * FROM locks.t'), '1|2', 'a lock is waited for');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('locks')");
	return;
}

# A session that the server believes alive is ended before the position is read.
sub check_fence
{
	my ($hub, $target) = @_;
	my $session = $target->connect;
	my $identity;

	$hub->safe_psql('postgres', 'CREATE SCHEMA fence; CREATE TABLE fence.t (id int PRIMARY KEY, v int)');
	publish($hub, 'fence', 'fence.t');
	caught_up($hub, 'fence');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('fence')");
	wait_for_state($hub, 'fence', 'stopped');
	$identity = $target->value('SELECT pipeline FROM app.tapdata_progress ORDER BY updated_at DESC LIMIT 1');
	wait_for_lock($session, "CONCAT('tapdata.', LEFT(SHA2('$identity', 256), 40))");
	$session->do('BEGIN');
	$session->do('INSERT INTO fence.t VALUES (1, 666)');
	$hub->safe_psql('postgres', "INSERT INTO fence.t VALUES (1, 1); SELECT tapdata.start('fence')");
	caught_up($hub, 'fence');
	is(rows($target, 'SELECT * FROM fence.t'), '1|1', 'what an earlier session had not committed is gone');
	ok(!eval { $session->do('COMMIT'); 1 }, 'the earlier session has been ended');
	return;
}

sub wait_for_lock
{
	my ($session, $name) = @_;

	my ($got) = $session->selectrow_array("SELECT GET_LOCK($name, 60)");
	is($got, 1, 'a stopped pipeline holds no lock');
	return;
}

# A hub whose encoding is not that of the target: names, values, keys, letters.
sub check_encoding
{
	my ($flavour, $target) = @_;
	my $hub = new_hub("latin1_$flavour", '', extra => [ '--encoding=LATIN1', '--locale=C' ]);

	$hub->safe_psql('postgres', qq(
		SET client_encoding = 'UTF8';
		CREATE SCHEMA "schön";
		CREATE TABLE "schön"."größe" ("schlüssel" text PRIMARY KEY, "wört" varchar(10), d double precision);
		INSERT INTO "schön"."größe" VALUES ('ä', 'übel', 1), ('plain', 'plain', 1);
		SELECT tapdata.connect('t', '${\ $target->uri('app') }');
		SELECT tapdata.publish('latin1', 't', ARRAY['"schön".*'], '{"on_error": "dead_letter"}');));
	caught_up($hub, 'latin1');
	$hub->safe_psql('postgres', q(
		SET client_encoding = 'UTF8';
		INSERT INTO "schön"."größe" VALUES ('ö', 'süß', 2), ('x', 'y', 2);
		UPDATE "schön"."größe" SET "wört" = 'ÄÖÜ' WHERE "schlüssel" = 'ä';
		UPDATE "schön"."größe" SET "schlüssel" = 'ß' WHERE "schlüssel" = 'ö';
		DELETE FROM "schön"."größe" WHERE "schlüssel" = 'plain';));
	caught_up($hub, 'latin1');
	is($target->sql('SELECT * FROM `schön`.`größe` ORDER BY 1'), "x\ty\t2\nß\tsüß\t2\nä\tÄÖÜ\t1", 'names and values of a hub in LATIN1');
	$target->sql(q(DELETE FROM `schön`.`größe` WHERE `schlüssel` = 'ß'));
	$hub->safe_psql('postgres', q(SET client_encoding = 'UTF8'; UPDATE "schön"."größe" SET "wört" = 'é' WHERE "schlüssel" = 'ß'));
	caught_up($hub, 'latin1');
	like($hub->safe_psql('postgres', q(SET client_encoding = 'UTF8'; SELECT error || (change->'new'->>'wört') FROM tapdata.dead_letters)),
		qr/table "schön.größe", `schlüssel` = 'ß': .*é$/, 'a letter in the encoding of the hub');
	return;
}
