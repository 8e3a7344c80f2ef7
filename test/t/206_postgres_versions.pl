# PostgreSQL 17 and 18 as sources, from the folders that test/services/chroot.sh makes;
# skipped for those that are not there. TAPDATA_SOURCE_PORTS="17=5917,18=5918" names
# servers that run already, which let postgres in without a password.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use File::Temp ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $cache = $ENV{TAPDATA_CACHE} || '/var/cache/tapdata';
my %folders = (17 => "$cache/trixie", 18 => "$cache/sid");
my @running;

my %ports = map { split /=/ } split /,/, $ENV{TAPDATA_SOURCE_PORTS} || '';
plan skip_all => 'needs root rights for chroot' if !%ports && $> != 0 && system('sudo -n true 2>/dev/null') != 0;
my @versions = %ports ? sort keys %ports : grep { -x "$folders{$_}/usr/lib/postgresql/$_/bin/initdb" } sort keys %folders;
plan skip_all => 'no folder of test/services/chroot.sh has PostgreSQL 17 or 18' if !@versions;

sub as_root { return $> == 0 ? @_ : ('sudo', '-n', @_); }

sub in_folder
{
	my ($version, @command) = @_;

	return system(as_root('chroot', $folders{$version}, 'runuser', '-u', 'postgres', '--', @command)) == 0;
}

sub start_source
{
	my ($version) = @_;
	my $bin = "/usr/lib/postgresql/$version/bin";
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $data = `@{[join ' ', as_root('chroot', $folders{$version}, 'runuser', '-u', 'postgres', '--', 'mktemp', '-d', '/tmp/tapdata-XXXXXX')]}`;

	chomp $data;
	push @running, [ $version, $bin, $data ];
	in_folder($version, 'sh', '-c', "$bin/initdb -D $data/data -U postgres -A trust --no-sync >$data/initdb.log 2>&1 && "
		  . "printf '%s\\n' 'port=$port' \"listen_addresses='127.0.0.1'\" \"unix_socket_directories=''\" wal_level=logical "
		  . "shared_memory_type=mmap dynamic_shared_memory_type=mmap fsync=off max_wal_senders=20 max_replication_slots=20 >>$data/data/postgresql.conf && "
		  . "$bin/pg_ctl -D $data/data -l $data/log -w start >$data/start.log 2>&1")
	  or die "PostgreSQL $version did not start";
	return $port;
}

END
{
	local $?;
	for (@running)
	{
		my ($version, $bin, $data) = @$_;

		in_folder($version, 'sh', '-c', "$bin/pg_ctl -D $data/data -m immediate -w stop >/dev/null 2>&1; rm -rf $data");
	}
}

my $hub = new_hub('hub');

for my $version (@versions)
{
	my $port = $ports{$version} || start_source($version);
	my $rows = sub {
		my ($query) = @_;
		my ($out, $err) = run_command([ 'psql', '-XAtq', '-h', '127.0.0.1', '-p', $port, '-U', 'postgres', '-d', 'postgres', '-c', $query ]);
		die $err if $err =~ /ERROR/;
		return $out;
	};
	my $same = sub {
		my ($name) = @_;
		for my $table ('t', 'parted', 'keyless', 'computed')
		{
			my $query = "SELECT string_agg(x::text, E'\\n' ORDER BY x::text) FROM (SELECT * FROM s$version.$table) x";

			is($hub->safe_psql('postgres', $query), $rows->($query), "$version: $name of $table")
			  if $table ne 'computed' || $version >= 18;
		}
	};

	$rows->($_) for (
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
		"CREATE TABLE s$version.computed (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)",
		"INSERT INTO s$version.computed SELECT generate_series(1, 10)");
	$hub->safe_psql('postgres', "SELECT tapdata.connect('v$version', 'postgres://postgres\@127.0.0.1:$port/postgres')");
	is($hub->safe_psql('postgres', "SELECT string_agg(check_name, ',') FROM tapdata.test_connection('v$version') WHERE NOT ok AND check_name LIKE 'source%' AND check_name <> 'source_retention'"),
		'', "$version: test_connection() finds nothing missing");
	pull_from($hub, "p$version", "v$version", ["s$version.*"], "s$version", '{"chunk_rows": 1000, "failover": true}');
	caught_up($hub, "p$version");
	$same->('copy');
	is($rows->('SELECT failover FROM pg_replication_slots'), 't', "$version: the slot is one for failover");
	$rows->($_) for (
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
	is($rows->('SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication)'), '0',
		"$version: nothing is left at the source");
}
done_testing();
