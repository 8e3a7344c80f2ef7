# PostgreSQL 17 and 18 as sources, by the programs in the folders that
# test/services/chroot.sh makes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my %programs = map { my $folder = postgres_programs($_); $folder ? ($_ => $folder) : () } 17, 18;
plan skip_all => 'no folder of test/services/chroot.sh has PostgreSQL 17 or 18' if !%programs;

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
	pull_from($hub, "p$version", "v$version", ["s$version.*"], "s$version", '{"chunk_rows": 1000, "failover": true}');
	caught_up($hub, "p$version");
	$same->('copy');
	is($hub->safe_psql('postgres', "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 's$version.computed'::regclass AND attnum > 0"),
		$version >= 18 ? 'id,stored' : 'id', "$version: generated columns that are in the log are in the hub");
	is($source->safe_psql('postgres', 'SELECT failover FROM pg_replication_slots'), 't', "$version: the slot is one for failover");
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
	check_stream($version, $source);
}
done_testing();

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
	cmp_ok($source->safe_psql('postgres', 'SELECT sum(stream_txns) FROM pg_stat_replication_slots'), '>=', 1, "$version: it came while it was in progress");
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('f$version', true)");
	return;
}
