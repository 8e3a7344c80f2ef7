# What the hints of errors tell a user to do mends the pipeline: hub tables and columns
# that were dropped, constraints of the user, dead letters, a password that changed. And
# what comes back at the source after it was dropped is followed again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');

# The pipeline fails with an error like $pattern after the statement at the source.
sub fails_with
{
	my ($source, $database, $statement, $pattern, $name) = @_;

	$source->do($statement);
	wait_for_state($hub, $database, 'failed') or return;
	like($hub->safe_psql('postgres',
			"SELECT last_error FROM tapdata.status WHERE name = '$database'"),
		$pattern, $name);
	return;
}

sub hub_tables
{
	my ($source, $database) = @_;

	$hub->safe_psql('postgres', "DROP TABLE $database.t");
	fails_with($source, $database, 'UPDATE t SET v = v + 1 WHERE id = 1',
		qr/hub table of \S*t does not exist any more.*resync/, 'dropped hub table');
	sql_ok($hub, "SELECT tapdata.resync('$database', '$database.t')", '', 'resync creates it again');
	caught_up($hub, $database);
	same_rows($source, "$database.t", $hub, "$database.t", 'and copies it');

	$hub->safe_psql('postgres', "DROP TABLE $database.keyless");
	sql_ok($hub, "SELECT tapdata.resync('$database', '$database.keyless')", '',
		'the same for a table without a key');
	caught_up($hub, $database);
	same_rows($source, "$database.keyless", $hub, "$database.keyless", 'and copies it');

	$hub->safe_psql('postgres', "ALTER TABLE $database.t DROP COLUMN v");
	fails_with($source, $database, 'UPDATE t SET v = v + 1 WHERE id = 2',
		qr/has no column "v".*resync/, 'dropped hub column');
	sql_ok($hub, "SELECT tapdata.resync('$database', '$database.t')", '', 'resync adds it again');
	caught_up($hub, $database);
	is($hub->safe_psql('postgres', "SELECT sum(v) FROM $database.t"),
		$source->value('SELECT sum(v) FROM t'), 'with its values');
	return;
}

# A type that cannot be stored, of a table that is copied while the others stream.
sub types
{
	my ($source, $database) = @_;

	$source->do('CREATE TABLE flags (id int PRIMARY KEY, f tinyint(1))');
	$source->do('INSERT INTO flags VALUES (1, 0), (2, 1)');
	caught_up($hub, $database);
	$hub->safe_psql('postgres', qq(
		SELECT tapdata.alter_pipeline('$database', '{"tinyint1": "boolean"}');
		SELECT tapdata.resync('$database', '$database.flags')));
	wait_for_sql($hub, "SELECT last_error LIKE '%of type smallint%drop the table%resync%'
		FROM tapdata.tables WHERE source_table = '$database.flags'")
	  and pass('a hub column of another type is told in tapdata.tables');
	$hub->safe_psql('postgres', "DROP TABLE $database.flags");
	$hub->safe_psql('postgres', "SELECT tapdata.resync('$database', '$database.flags')");
	caught_up($hub, $database);
	sql_ok($hub, "SELECT string_agg(f::text, ' ' ORDER BY id) FROM $database.flags", 'false true',
		'a dropped table comes back with the new type');
	sql_ok($hub, "SELECT last_error IS NULL FROM tapdata.tables WHERE source_table = '$database.flags'",
		't', 'and without the error');
	return;
}

# The hub may have foreign keys that the copy of one table, or of all, must not trip over.
sub foreign_keys
{
	my ($source, $database) = @_;

	$source->do('CREATE TABLE child (id int PRIMARY KEY, t_id int)');
	$source->do('INSERT INTO child VALUES (1, 1), (2, 2)');
	caught_up($hub, $database);
	$hub->safe_psql('postgres', "ALTER TABLE $database.child ADD FOREIGN KEY (t_id) REFERENCES $database.t");
	for my $what ("'$database.t'", "'$database.child'", 'NULL')
	{
		sql_ok($hub, "SELECT tapdata.resync('$database', $what)", '', "resync of $what with a foreign key in the hub");
		caught_up($hub, $database);
		same_rows($source, "$database.$_", $hub, "$database.$_", "$_ is copied")
		  for 't', 'child';
	}
	$source->do('DROP TABLE child');
	$hub->safe_psql('postgres', "DROP TABLE $database.child");
	return;
}

sub constraints
{
	my ($source, $database) = @_;

	$hub->safe_psql('postgres', "ALTER TABLE $database.t ADD CONSTRAINT small CHECK (v < 1000)");
	fails_with($source, $database, 'UPDATE t SET v = 5000 WHERE id = 1',
		qr/violates check constraint "small"/, 'a constraint of the user');
	$hub->safe_psql('postgres', qq(
		ALTER TABLE $database.t DROP CONSTRAINT small;
		SELECT tapdata.start('$database')));
	caught_up($hub, $database);
	same_rows($source, "$database.t", $hub, "$database.t", 'start goes on without it',
		hub_columns => 'id, v');
	return;
}

sub dead_letters
{
	my ($source, $database) = @_;

	$hub->safe_psql('postgres', qq(
		SELECT tapdata.alter_pipeline('$database', '{"on_error": "dead_letter"}');
		ALTER TABLE $database.t ADD CONSTRAINT small CHECK (v < 10000)));
	$source->do('INSERT INTO t VALUES (20, 20000)');
	$source->do('UPDATE t SET v = 20001 WHERE id = 20');
	$source->do('INSERT INTO t VALUES (21, 30000)');
	$source->do('DELETE FROM t WHERE id = 21');
	$source->do('INSERT INTO t VALUES (22, 22)');
	caught_up($hub, $database);
	sql_ok($hub, qq(SELECT string_agg(change->>'op', ' ') FROM tapdata.dead_letters),
		'insert update insert delete', 'changes that cannot be stored are set aside');
	sql_ok($hub, "SELECT v FROM $database.t WHERE id = 22", '22', 'the others are stored');
	$hub->safe_psql('postgres', "ALTER TABLE $database.t DROP CONSTRAINT small");
	sql_ok($hub, "SELECT tapdata.retry_dead_letters('$database')", '4', 'a retry stores them');
	same_rows($source, "$database.t", $hub, "$database.t", 'and all rows are equal',
		hub_columns => 'id, v');
	return;
}

sub recreated
{
	my ($source, $database) = @_;

	$source->do('DROP TABLE t');
	$source->do('CREATE TABLE t (id bigint, w varchar(10), PRIMARY KEY (id, w))');
	$source->do("INSERT INTO t VALUES (1, 'one'), (1, 'two')");
	caught_up($hub, $database);
	same_rows($source, "$database.t", $hub, "$database.t",
		'a table that was dropped and made with other columns', hub_columns => 'id, w');
	return;
}

# Of the table without a key the stream has met nothing by then.
sub dropped_database
{
	my ($source, $database) = @_;

	$source->do("DROP DATABASE $database");
	$source->do("CREATE DATABASE $database");
	$source->do("USE $database");
	$source->do('CREATE TABLE keyless (a int, b int)');
	$source->do('INSERT INTO keyless VALUES (5, 6)');
	caught_up($hub, $database);
	same_rows($source, "$database.keyless", $hub, "$database.keyless",
		'a database that was dropped and made again');
	sql_ok($hub, "SELECT state FROM tapdata.tables WHERE source_table = '$database.t'",
		'dropped', 'and a table that did not come back');
	return;
}

sub password
{
	my ($source, $database) = @_;
	my $uri = $source->uri('');

	$uri =~ s/:\w+\@/:changed\@/;
	$source->do(q(ALTER USER ') . $source->user . q('@'%' IDENTIFIED BY 'changed'));
	$hub->safe_psql('postgres', "SELECT tapdata.stop('$database')");
	wait_for_state($hub, $database, 'stopped');
	$hub->safe_psql('postgres', "SELECT tapdata.start('$database')");
	wait_for_state($hub, $database, 'failed');
	sql_fails($hub, "SELECT tapdata.wait('$database')", '55000', qr/Access denied/,
		'a password that changed');
	$hub->safe_psql('postgres', qq(
		SELECT tapdata.alter_connection('$database', '$uri');
		SELECT tapdata.start('$database')));
	ok(caught_up($hub, $database), 'alter_connection and start');
	return;
}

foreach my $flavour (usable_flavours())
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $database = "mend_$flavour";

	$source->do("CREATE DATABASE $database");
	$source->do("USE $database");
	$source->do('CREATE TABLE t (id int PRIMARY KEY, v int)');
	$source->do('INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)');
	$source->do('CREATE TABLE keyless (a int)');
	$source->do('INSERT INTO keyless VALUES (1), (1), (2)');
	pull($hub, $source, $database);
	caught_up($hub, $database);

	subtest $flavour => sub {
		hub_tables($source, $database);
		foreign_keys($source, $database);
		types($source, $database);
		constraints($source, $database);
		dead_letters($source, $database);
		recreated($source, $database);
		dropped_database($source, $database);
		password($source, $database);
	};
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$database')");
	$source->stop;
}

done_testing();
