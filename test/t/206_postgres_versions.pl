# PostgreSQL 13 to 18 as sources, as far as they are not the hub's own version, by the programs
# that test/services/postgres_programs.sh finds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my %programs = map { my $folder = postgres_programs($_); $folder ? ($_ => $folder) : () } 13, 14, 16, 17, 18;
plan skip_all => 'there is no other version of PostgreSQL' if !%programs;

my $hub = new_hub('hub');

for my $version (sort keys %programs)
{
	my $source = new_source("source$version", undef, install_path => $programs{$version});
	my $same = sub {
		my ($name) = @_;

		same_as_source($hub, $source, "s$version.$_", "s$version.$_", "$version: $name of $_")
		  for 't', 'parted', 'keyless';
		same_as_source($hub, $source, "s$version.computed", "s$version.computed", "$version: $name of computed",
			$version >= 18 ? 'id, stored' : 'id');
	};

	at_source($source,
		"CREATE SCHEMA s$version",
		"CREATE TYPE s$version.mood AS ENUM ('a', 'b')",
		"CREATE TABLE s$version.t (id int PRIMARY KEY, v text, m s$version.mood, n numeric, d timestamptz)",
		"INSERT INTO s$version.t SELECT i, 'v' || i, 'a', i / 3.0, '2024-01-01 00:00:00+00' FROM generate_series(1, 5000) i",
		"CREATE TABLE s$version.parted (id int PRIMARY KEY, v text) PARTITION BY HASH (id)",
		"CREATE TABLE s$version.p0 PARTITION OF s$version.parted FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
		"CREATE TABLE s$version.p1 PARTITION OF s$version.parted FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
		"INSERT INTO s$version.parted SELECT i, 'v' FROM generate_series(1, 100) i",
		"CREATE TABLE s$version.keyless (a int, b jsonb)",
		"ALTER TABLE s$version.keyless REPLICA IDENTITY FULL",
		"INSERT INTO s$version.keyless SELECT i % 3, '{}' FROM generate_series(1, 10) i",
		"CREATE TABLE s$version.computed (id int PRIMARY KEY, stored int GENERATED ALWAYS AS (id * 2) STORED"
		  . ($version >= 18 ? ', virtual int GENERATED ALWAYS AS (id * 3) VIRTUAL)' : ')'),
		"INSERT INTO s$version.computed SELECT generate_series(1, 10)");
	connect_source($hub, $source, "v$version");
	is($hub->safe_psql('postgres', "SELECT string_agg(check_name, ',') FROM tapdata.test_connection('v$version') WHERE NOT ok AND check_name LIKE 'source%' AND check_name <> 'source_retention'"),
		'', "$version: test_connection() finds nothing missing");
	my $failover = $version >= 17 ? 'true' : 'false';
	pull_from($hub, "p$version", "v$version", ["s$version.*"], "s$version", qq({"chunk_rows": 1000, "failover": $failover}));
	caught_up($hub, "p$version");
	$same->('copy');
	is($hub->safe_psql('postgres', "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 's$version.computed'::regclass AND attnum > 0"),
		$version >= 18 ? 'id,stored' : 'id', "$version: generated columns that are in the log are in the hub");
	is($source->safe_psql('postgres', 'SELECT failover FROM pg_replication_slots'), 't', "$version: the slot is one for failover") if $version >= 17;
	at_source($source,
		"UPDATE s$version.t SET v = 'w', m = 'b' WHERE id % 5 = 0",
		"DELETE FROM s$version.t WHERE id % 7 = 0",
		"UPDATE s$version.t SET id = -id WHERE id % 11 = 0",
		"UPDATE s$version.parted SET v = 'w' WHERE id < 10",
		"DELETE FROM s$version.keyless WHERE a = 1",
		"INSERT INTO s$version.computed VALUES (11)",
		"UPDATE s$version.computed SET id = 100 WHERE id = 1",
		"ALTER TABLE s$version.t ADD x int DEFAULT 7",
		"INSERT INTO s$version.t (id, v) VALUES (100000, 'after')");
	caught_up($hub, "p$version");
	$same->('stream');
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('p$version')");
	is($source->safe_psql('postgres', 'SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)'), '0',
		"$version: nothing is left at the source");
	check_refused($version, $source) if $version < 17;
	$version >= 14 ? check_stream($version, $source) : check_large($version, $source);
	check_standby($version, $source) if $version == 14 || $version == 16;
	remove($source);
}
done_testing();

# Five versions are much for a disk.
sub remove
{
	my ($node) = @_;

	$node->stop('immediate');
	$node->clean_node;
	return;
}

# What the version does not have is refused by its name.
sub check_refused
{
	my ($version, $source) = @_;
	my $pull = "SELECT tapdata.pull('refused', 'v$version', ARRAY['s$version.*'], 'refused',";

	sql_fails($hub, "$pull '{\"failover\": true}')", '0A000', qr/source_failover.*PostgreSQL 17/s, "$version: no slot for failover");
	sql_fails($hub, "$pull '{\"ddl_messages\": true}')", '0A000', qr/source_ddl_messages.*PostgreSQL 14.*leave out/si,
		"$version: no messages of event triggers") if $version < 14;
	is($source->safe_psql('postgres', 'SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)'), '0',
		"$version: nothing is made at the source for it");
	return;
}

# A large transaction where the server sends none in progress, in text.
sub check_large
{
	my ($version, $source) = @_;

	at_source($source, "ALTER SYSTEM SET logical_decoding_work_mem = '64kB'", 'SELECT pg_reload_conf()',
		"CREATE SCHEMA f$version",
		"CREATE TABLE f$version.t (id int PRIMARY KEY, v text, b bytea, x float8[])");
	pull_from($hub, "f$version", "v$version", ["f$version.*"], "f$version");
	caught_up($hub, "f$version");
	my $insert = "INSERT INTO f$version.t SELECT i, repeat('v', 100), decode(md5(i::text), 'hex'), ARRAY[i / 3.0, 'NaN'] FROM generate_series";
	at_source($source,
		"BEGIN; $insert(1, 2000) i; SAVEPOINT a; $insert(3001, 6000) i; ROLLBACK TO a; DELETE FROM f$version.t WHERE id < 100; COMMIT",
		"BEGIN; $insert(7001, 9000) i; ROLLBACK");
	caught_up($hub, "f$version");
	same_as_source($hub, $source, "f$version.t", "f$version.t", "$version: a large transaction");
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('f$version', true)");
	return;
}

# From 16 on a standby is a source, too, whose publication is made at the primary.
sub check_standby
{
	my ($version, $primary) = @_;
	my $standby = PostgreSQL::Test::Cluster->new("standby$version", install_path => $primary->install_path);
	my $pull = "SELECT tapdata.pull('y$version', 'y$version', ARRAY['s$version.keyless', 's$version.parted'], 'y$version'";

	at_source($primary,
		"CREATE PUBLICATION given FOR TABLE s$version.parted, s$version.keyless WITH (publish_via_partition_root)",
		"SELECT pg_create_physical_replication_slot('standby')");
	$primary->backup('b');
	$standby->init_from_backup($primary, 'b', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "primary_slot_name = 'standby'\nhot_standby_feedback = on\n");
	$standby->start;
	connect_source($hub, $standby, "y$version", options => { target_session_attrs => '"any"' });
	if ($version < 16)
	{
		sql_fails($hub, "$pull, '{\"publication\": \"given\"}')", '0A000', qr/source_primary.*PostgreSQL 16/s, "$version: a standby is no source");
		remove($standby);
		return;
	}
	sql_fails($hub, "$pull)", '55000', qr/source_publication.*standby.*at the primary/s, "$version: a standby makes no publication");
	$hub->safe_psql('postgres', "$pull, '{\"publication\": \"given\"}')");

	# a slot there begins where the primary tells its transactions next
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	$primary->safe_psql('postgres', 'SELECT pg_log_standby_snapshot(), pg_sleep(0.1)')
	  until time > $end || $hub->safe_psql('postgres', "SELECT state FROM tapdata.status WHERE name = 'y$version'") eq 'streaming';
	caught_up($hub, "y$version");
	at_source($primary, "UPDATE s$version.parted SET v = 'at the primary' WHERE id % 2 = 0", "DELETE FROM s$version.keyless WHERE a = 2");
	$primary->wait_for_catchup($standby);
	caught_up($hub, "y$version");
	same_as_source($hub, $primary, "s$version.$_", "y$version.$_", "$version: $_ by a standby") for qw(parted keyless);
	my ($code, $out, $err) = $hub->psql('postgres', "SELECT tapdata.drop_pipeline('y$version')");
	is("$code$err", '0', "$version: a standby is left without a complaint");
	is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_replication_slots"), '0', "$version: nothing is left at the standby");
	remove($standby);
	return;
}

# Transactions in progress, event triggers, and changes of another origin.
sub check_stream
{
	my ($version, $source) = @_;
	my $many = "INSERT INTO f$version.t (id, v) SELECT i, repeat('v', 100) FROM generate_series";
	my ($share) = run_command([ 'pg_config', '--sharedir' ]);

	at_source($source, "ALTER SYSTEM SET logical_decoding_work_mem = '64kB'", 'SELECT pg_reload_conf()',
		slurp_file("$share/tapdata/source_ddl.sql"),
		"CREATE SCHEMA f$version",
		"CREATE TABLE f$version.t (id int PRIMARY KEY, v text, stored int GENERATED ALWAYS AS (id * 2) STORED)",
		"CREATE TABLE f$version.gone (id int PRIMARY KEY)",
		"SELECT pg_replication_origin_create('elsewhere')");
	pull_from($hub, "f$version", "v$version", ["f$version.*"], "f$version", '{"ddl_messages": true, "source_origin": "none", "ddl_drop": true}');
	caught_up($hub, "f$version");
	at_source($source,
		"BEGIN; $many(1, 2000) i; SAVEPOINT a; $many(3001, 6000) i; ROLLBACK TO a; DELETE FROM f$version.t WHERE id < 100; COMMIT",
		"BEGIN; $many(7001, 9000) i; ROLLBACK",
		"ALTER TABLE f$version.t ADD x date",
		"ALTER TABLE f$version.t RENAME v TO w",
		"DROP TABLE f$version.gone",
		"SELECT pg_replication_origin_session_setup('elsewhere'); INSERT INTO f$version.t (id) VALUES (-1); INSERT INTO f$version.t (id) SELECT generate_series(-5000, -2)",
		"CREATE TABLE f$version.new (id int PRIMARY KEY)",
		"INSERT INTO f$version.new VALUES (1)");
	wait_for_sql($hub, "SELECT string_agg(source_table || ' ' || state, ',' ORDER BY source_table) FROM tapdata.tables WHERE pipeline = 'f$version'",
		"f$version.new streaming,f$version.t streaming");
	caught_up($hub, "f$version");
	is($hub->safe_psql('postgres', "SELECT count(*), min(id), max(id) FROM f$version.t"), '1901|100|2000',
		"$version: what was rolled back or is of another origin does not arrive");
	is($hub->safe_psql('postgres', "SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute WHERE attrelid = 'f$version.t'::regclass AND attnum > 0 AND NOT attisdropped"),
		$version >= 18 ? 'id,stored,w,x' : 'id,w,x', "$version: the format is what the event trigger told");
	if ($version < 16)
	{
		# such servers do not know where a transaction in progress comes from
		$hub->safe_psql('postgres', qq(SELECT tapdata.alter_pipeline('f$version', '{"source_origin": "any"}')));
		at_source($source, "BEGIN; ${\ ($many =~ s/, v\)/, w)/r)}(20001, 22000) i; COMMIT");
		caught_up($hub, "f$version");
		is($hub->safe_psql('postgres', "SELECT count(*) FROM f$version.t WHERE id > 20000"), 2000, "$version: a large transaction");
	}
	sql_becomes($source, 'SELECT sum(stream_txns) >= 1 FROM pg_stat_replication_slots', 't', "$version: it came while it was in progress");
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('f$version', true)");
	return;
}
