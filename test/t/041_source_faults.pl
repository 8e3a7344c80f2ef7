# What goes wrong with sources: logs that are gone, servers that change places or
# stop, threads that are killed, rights that are lost. A pipeline carries on by
# itself where it can, and says what to do where it cannot.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my ($source, $hub);
my %log_updates = (mariadb => '--log-slave-updates=ON', mysql => '--log-replica-updates=ON');

foreach my $flavour (usable_flavours())
{
	$source = Tapdata::MySQL->start(flavour => $flavour, name => "${flavour}_primary",
		options => [ '--server-id=11', $log_updates{$flavour} ]);
	$hub = new_hub("faults_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
	$source->sql(<<'SQL');
CREATE DATABASE shop;
CREATE TABLE shop.t (id int PRIMARY KEY, v int);
INSERT INTO shop.t VALUES (1, 1), (2, 2), (3, 3);
SQL
	pull($hub, $source, 'shop');
	caught_up($hub, 'shop');

	foreach my $test (
		['the thread that sends the log is killed' => \&killed_thread],
		['the source is down for a while' => \&source_down],
		['rights are revoked' => \&lost_rights],
		['two pipelines with one server_id' => \&same_server_id],
		['a hub that is slow to take the log' => \&slow_hub],
		['a row of 60 MB' => \&large_row],
		['memory through a transaction of 300 MB' => \&large_transaction],
		['failover to a replica' => \&failover],
		['the log was purged' => \&purged],
		['the log was reset' => \&reset_log],
		$flavour eq 'mysql' ? ['files instead of GTIDs, and permissive modes' => \&gtid_modes] : ())
	{
		my ($name, $check) = @$test;
		subtest "$flavour: $name" => $check;
	}
	$hub->stop('fast');
	$source->kill9;
}
done_testing();

sub compare
{
	my ($when) = @_;

	caught_up($hub, 'shop');
	return same_rows($source, 'shop.t', $hub, 'shop.t', $when);
}

sub last_error
{
	my ($pipeline) = @_;

	return $hub->safe_psql('postgres',
		"SELECT last_error FROM tapdata.status WHERE name = '$pipeline'");
}

sub kill_dump_threads
{
	return $source->end_threads(q(COMMAND LIKE 'Binlog Dump%'));
}

sub killed_thread
{
	my $restarts = q(SELECT restarts FROM tapdata.status WHERE name = 'shop');
	my $before = $hub->safe_psql('postgres', $restarts);

	kill_dump_threads();
	$source->do('UPDATE shop.t SET v = v + 10');
	compare('it carries on');
	cmp_ok($hub->safe_psql('postgres', $restarts), '>', $before, 'with a new connection');
	return;
}

sub source_down
{
	$source->do('UPDATE shop.t SET v = v + 10');
	$source->stop;
	wait_for_state($hub, 'shop', 'retrying');
	error_becomes($hub, 'shop', qr/connect|connection|server|source/, 'status says why');
	sql_fails($hub, q(SELECT tapdata.wait('shop', '1 s')), '08...', qr/could not connect to the source/,
		'wait() does not wait for ever');
	$source->restart;
	$source->do('UPDATE shop.t SET v = v + 10');
	compare('it carries on when the source is back');
	$source->kill9;
	$source->restart;
	$source->do('INSERT INTO shop.t VALUES (10, 10)');
	compare('also when it crashed');
	return;
}

sub lost_rights
{
	my $grantee = q('tap'@'%');

	$source->sql("SET sql_log_bin = 0; REVOKE REPLICATION SLAVE ON *.* FROM $grantee;");
	kill_dump_threads();
	wait_for_state($hub, 'shop', 'failed');
	like(last_error('shop'), qr/REPLICATION SLAVE|denied/, 'the right that is missing is named');
	sql_ok($hub, q(SELECT hint FROM tapdata.test_connection('shop') WHERE check_name = 'privileges: replication'),
		q(Run at the source: GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'tap'@'%';),
		'test_connection says how to mend it');
	$source->sql("SET sql_log_bin = 0; GRANT REPLICATION SLAVE ON *.* TO $grantee;");
	$source->do('UPDATE shop.t SET v = v + 10');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('shop')));
	compare('start() after the GRANT');
	return;
}

sub same_server_id
{
	my $uri = $source->uri('');

	$source->sql('CREATE DATABASE twin; CREATE TABLE twin.a (id int PRIMARY KEY); CREATE TABLE twin.b (id int PRIMARY KEY);');
	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('twin', '$uri', '{"server_id": 777}');
		SELECT tapdata.pull('twin_a', 'twin', ARRAY['twin.a']);));
	caught_up($hub, 'twin_a');
	$hub->safe_psql('postgres', q(SELECT tapdata.pull('twin_b', 'twin', ARRAY['twin.b'])));
	wait_for_sql($hub, q(SELECT count(*) > 0 FROM tapdata.events WHERE pipeline LIKE 'twin%'
		AND severity IN ('error', 'warning') AND message ~ 'server_id'));
	pass('the error names server_id');
	$hub->safe_psql('postgres', q(SELECT tapdata.alter_connection('twin', options => '{}')));
	$source->sql('INSERT INTO twin.a VALUES (1); INSERT INTO twin.b VALUES (2);');
	caught_up($hub, 'twin_a');
	caught_up($hub, 'twin_b');
	sql_ok($hub, 'SELECT a.id, b.id FROM twin.a, twin.b', '1|2', 'without the option both run');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('twin_a'), tapdata.drop_pipeline('twin_b')));
	return;
}

# The source may not give up a pipeline that waits for a lock of the hub.
sub slow_hub
{
	my $restarts = q(SELECT restarts FROM tapdata.status WHERE name = 'shop');
	my $before = $hub->safe_psql('postgres', $restarts);

	$source->sql('SET GLOBAL net_write_timeout = 1; CREATE TABLE shop.big (id int PRIMARY KEY AUTO_INCREMENT, filler longtext);');
	$source->disconnect;
	caught_up($hub, 'shop');
	my $locker = $hub->background_psql('postgres');
	$locker->query_safe('BEGIN; LOCK TABLE shop.t, shop.big IN ACCESS EXCLUSIVE MODE');
	$source->do("INSERT INTO shop.big (filler) VALUES (REPEAT('x', 1000000))") for 1 .. 30;
	$source->do('UPDATE shop.t SET v = v + 10');
	sleep 4;
	$locker->query_safe('COMMIT');
	$locker->quit;
	compare('what waited for a lock in the hub arrives');
	same_rows($source, 'shop.big', $hub, 'shop.big', 'and all large rows',
		source_columns => 'id, LENGTH(filler)', hub_columns => 'id, length(filler)');
	is($hub->safe_psql('postgres', $restarts), $before, 'on the same connection');
	$source->sql('SET GLOBAL net_write_timeout = 60');
	return;
}

sub large_row
{
	my @columns = (
		source_columns => 'id, LENGTH(filler), SHA2(filler, 256)',
		hub_columns => q(id, length(filler), encode(sha256(convert_to(filler, 'UTF8')), 'hex')));

	$source->do("INSERT INTO shop.big VALUES (1000, REPEAT('0123456789', 6000000))");
	caught_up($hub, 'shop');
	$source->do("UPDATE shop.big SET filler = CONCAT(filler, 'end') WHERE id = 1000");
	caught_up($hub, 'shop');
	same_rows($source, 'shop.big', $hub, 'shop.big', 'by the log', @columns);
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('shop', 'shop.big')));
	caught_up($hub, 'shop');
	same_rows($source, 'shop.big', $hub, 'shop.big', 'by the copy', @columns);
	$source->do('DELETE FROM shop.big');
	caught_up($hub, 'shop');
	return;
}

sub private_kilobytes
{
	my ($pid) = @_;
	my $sum = 0;

	open my $file, '<', "/proc/$pid/smaps_rollup" or return 0;
	while (my $line = <$file>)
	{
		$sum += $1 if $line =~ /^Private_(?:Clean|Dirty):\s+(\d+)/;
	}
	close $file;
	return $sum;
}

sub large_transaction
{
	# a worker that has not met a row of 60 MB before
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('shop')));
	wait_for_state($hub, 'shop', 'stopped');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('shop')));
	caught_up($hub, 'shop');

	my $pid = pipeline_pid($hub, 'shop');
	my $most = 0;
	my $rows = 1;

	$source->sql('CREATE TABLE shop.wide (id int PRIMARY KEY AUTO_INCREMENT, filler varchar(2000));');
	my $db = $source->connect('shop');
	$db->begin_work;
	$db->do("INSERT INTO wide (filler) VALUES (REPEAT('x', 1000))");
	for (; $rows < 200_000; $rows *= 2)
	{
		$db->do('INSERT INTO wide (filler) SELECT filler FROM wide');
	}
	$db->do('UPDATE wide SET filler = REPEAT("y", 200) WHERE id % 2 = 0');
	$db->commit;
	$db->disconnect;

	my $end = time + 240;
	my $there = 0;
	while (!$there && time < $end)
	{
		my $now = private_kilobytes($pid);

		$most = $now if $now > $most;
		$there = $hub->safe_psql('postgres', q(SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('shop.wide')))) eq 't'
		  && $hub->safe_psql('postgres', 'SELECT count(*) FROM shop.wide') >= $rows;
		sleep 0.05;
	}
	caught_up($hub, 'shop');
	cmp_ok($most, '>', 0, 'measured');
	cmp_ok($most, '<', 64 * 1024, 'private memory stays below 64 MB');
	note "$most kB";
	same_rows($source, 'shop.wide', $hub, 'shop.wide', 'and all rows are there',
		source_columns => "COUNT(*), SUM(id), SUM(LENGTH(filler))", hub_columns => 'count(*), sum(id), sum(length(filler))');
	$source->do('DROP TABLE shop.wide');
	caught_up($hub, 'shop');
	return;
}

# Another server that replays the source's log.
sub start_replica
{
	my $replica = Tapdata::MySQL->start(flavour => $source->flavour, name => $source->flavour . '_replica',
		options => [ '--server-id=12', $log_updates{ $source->flavour } ]);
	my ($port, $user, $password) = ($source->port, $source->user, $source->password);

	$replica->sql(
		$source->is_mariadb
		? "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=$port, MASTER_USER='$user', "
		  . "MASTER_PASSWORD='$password', MASTER_USE_GTID=slave_pos, MASTER_SSL=0; START SLAVE;"
		: "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=$port, SOURCE_USER='$user', "
		  . "SOURCE_PASSWORD='$password', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1; START REPLICA;");
	return $replica;
}

sub replica_has_all
{
	my ($replica) = @_;

	return $replica->value('SELECT MASTER_GTID_WAIT(?, 600)', $source->value('SELECT @@global.gtid_binlog_pos')) == 0
	  if $source->is_mariadb;
	return $replica->value('SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 600)', $source->value('SELECT @@global.gtid_executed')) == 0;
}

sub point_to
{
	my ($server) = @_;
	my $uri = $server->uri('');

	$hub->safe_psql('postgres', qq(SELECT tapdata.alter_connection('shop', '$uri')));
	return;
}

sub failover
{
	my $primary = $source;
	my $mariadb = $source->is_mariadb;
	my $replica = start_replica();
	my $stranger = Tapdata::MySQL->start(flavour => $source->flavour, name => $source->flavour . '_stranger',
		options => ['--server-id=13']);

	ok(replica_has_all($replica), 'the replica has all');
	$replica->sql($mariadb ? 'STOP SLAVE' : 'STOP REPLICA');
	$primary->do('UPDATE shop.t SET v = v + 1');
	$primary->do('INSERT INTO shop.t VALUES (100, 100)');
	compare('the hub has more than the replica');

	point_to($replica);
	wait_for_state($hub, 'shop', 'failed');
	like(last_error('shop'), qr/does not have|not in the|purged|ahead|more GTIDs/,
		'a replica that lacks transactions is refused');
	like(last_error('shop'), qr/resync/, 'with the way out');

	$stranger->sql('CREATE DATABASE shop; CREATE TABLE shop.t (id int PRIMARY KEY, v int); INSERT INTO shop.t VALUES (500, 1);');
	$stranger->do('UPDATE shop.t SET v = v + 1') for 1 .. 200;
	point_to($stranger);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('shop')));
	wait_for_state($hub, 'shop', 'failed');
	like(last_error('shop'), qr/does not have|not in the|purged|ahead|more GTIDs|diverged/,
		'a server of another history is refused');
	$stranger->kill9;

	# the replica is promoted when it has all
	$replica->sql($mariadb ? 'START SLAVE' : 'START REPLICA');
	ok(replica_has_all($replica), 'the replica has caught up');
	point_to($replica);
	$hub->safe_psql('postgres', q(SELECT tapdata.start('shop')));
	$source = $replica;
	compare('the replica is followed');
	$primary->do('UPDATE shop.t SET v = v + 1');
	$source = $primary;
	ok(replica_has_all($replica), 'and the primary through it');
	$source = $replica;
	compare('a change of the primary comes through the replica');
	$primary->kill9;
	$replica->sql($mariadb ? 'STOP SLAVE; RESET SLAVE ALL' : 'STOP REPLICA; RESET REPLICA ALL');
	$replica->do('UPDATE shop.t SET v = v + 1 WHERE id < 3');
	$replica->do('INSERT INTO shop.t VALUES (101, 101)');
	compare('the promoted replica is followed');
	sql_ok($hub, q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'shop' AND kind = 'resync' AND source_table = 'shop.t'),
		'0', 'without another copy');
	return;
}

sub oldest_and_newest
{
	my @files = map { $_->[0] } @{ $source->rows('SHOW BINARY LOGS') };

	return @files[ 0, -1 ];
}

sub fails_for_its_log
{
	my ($what) = @_;

	$hub->safe_psql('postgres', q(SELECT tapdata.start('shop')));
	wait_for_state($hub, 'shop', 'failed');
	sql_fails($hub, q(SELECT tapdata.wait('shop')), '55000', qr/shop/, "$what: wait() fails, too");
	like(last_error('shop'), qr/purged|no longer|discarded|begins behind|does not have|not in the|more GTIDs/,
		"$what: the reason");
	like(last_error('shop'), qr/tapdata\.resync\(\)/, "$what: the way out");
	sql_ok($hub, q(SELECT count(*) FROM shop.t), $hub->safe_psql('postgres', 'SELECT count(*) FROM shop.t'),
		"$what: the hub keeps what it has");
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('shop')));
	compare("$what: resync() mends it");
	$source->do('UPDATE shop.t SET v = v + 1');
	compare("$what: and it streams");
	return;
}

sub purged
{
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('shop')));
	wait_for_state($hub, 'shop', 'stopped');
	$source->do('UPDATE shop.t SET v = v + 1');
	$source->do('FLUSH BINARY LOGS') for 1 .. 2;
	kill_dump_threads();
	$source->do('UPDATE shop.t SET v = v + 1');
	my ($oldest, $newest) = oldest_and_newest();

	# a file that the server still has a use for is kept without an error
	for (1 .. 1000)
	{
		$source->do("PURGE BINARY LOGS TO '$newest'");
		last if $oldest ne (oldest_and_newest())[0];
		sleep 0.1;
	}
	isnt($oldest, (oldest_and_newest())[0], 'the log was purged');
	fails_for_its_log('purged');
	return;
}

sub reset_log
{
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('shop')));
	wait_for_state($hub, 'shop', 'stopped');
	$source->do($source->is_mariadb ? 'RESET MASTER' : 'RESET BINARY LOGS AND GTIDS');
	$source->do('UPDATE shop.t SET v = v + 1');
	fails_for_its_log('reset');
	return;
}

sub gtid_modes
{
	my $before = $source;

	$source = Tapdata::MySQL->start(flavour => 'mysql', name => 'mysql_files',
		options => [ '--gtid-mode=OFF', '--enforce-gtid-consistency=OFF' ]);
	$source->sql(<<'SQL');
CREATE DATABASE files;
CREATE TABLE files.t (id int PRIMARY KEY, v int);
CREATE TABLE files.plain (id int PRIMARY KEY, v int) ENGINE = MyISAM;
INSERT INTO files.t VALUES (1, 1);
SQL
	pull($hub, $source, 'files');
	caught_up($hub, 'files');
	$source->sql(<<'SQL');
USE files;
FLUSH BINARY LOGS;
BEGIN;
INSERT INTO t VALUES (2, 2);
INSERT INTO plain VALUES (2, 2);
COMMIT;
FLUSH BINARY LOGS;
SQL
	caught_up($hub, 'files');
	$source->restart;
	$source->do('INSERT INTO files.t VALUES (3, 3)');
	caught_up($hub, 'files');
	$hub->safe_psql('postgres', q(SELECT tapdata.stop('files')));
	$source->sql('FLUSH BINARY LOGS; UPDATE files.t SET v = v + 1; FLUSH BINARY LOGS; INSERT INTO files.plain VALUES (5, 5);');
	$hub->stop('immediate');
	$hub->start;
	$hub->safe_psql('postgres', q(SELECT tapdata.start('files')));
	caught_up($hub, 'files');
	same_rows($source, 'files.t', $hub, 'files.t', 'files are followed over rotations and restarts');
	same_rows($source, 'files.plain', $hub, 'files.plain', 'and without transactions');

	my $uri = $source->uri('');
	$source->sql('SET GLOBAL enforce_gtid_consistency = ON');
	foreach my $mode ('OFF_PERMISSIVE', 'ON_PERMISSIVE')
	{
		$source->sql("SET GLOBAL gtid_mode = $mode");
		$hub->safe_psql('postgres', qq(SELECT tapdata.connect('mode', '$uri')));
		sql_fails($hub, q(SELECT tapdata.pull('mode', 'mode', ARRAY['files.*'], into_schema => 'mode')),
			'55000', qr/gtid_mode.*Finish the change/s, "$mode is refused with the reason");
		$hub->safe_psql('postgres', q(SELECT tapdata.disconnect('mode')));
	}
	$source->sql('SET GLOBAL gtid_mode = ON');
	$source->do('INSERT INTO files.t VALUES (9, 9)');

	# a running pipeline goes on by files; a new copy begins with GTIDs
	wait_for_sql($hub, 'SELECT count(*) FROM files.t WHERE id = 9', '1');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('files')));
	caught_up($hub, 'files');
	$source->do('INSERT INTO files.t VALUES (10, 10)');
	caught_up($hub, 'files');
	sql_ok($hub, q(SELECT "position" ~ '^[0-9a-f-]+:1-' FROM tapdata.status WHERE name = 'files'), 't',
		'a new copy begins with GTIDs');
	same_rows($source, 'files.t', $hub, 'files.t', 'after the change to gtid_mode ON');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('files')));
	$source->kill9;
	$source = $before;
	return;
}
