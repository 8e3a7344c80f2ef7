# Values of a PostgreSQL source are stored bit for bit as the hub itself makes them from
# their text, whichever way they were read: short and long, with modifiers and without.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');
my $source = new_source('source');

# Of each type, an expression over i.
my %made = (
	smallint => "(i * 7919 % 65536 - 32768)",
	integer => "(hashint8(i))",
	bigint => "(hashint8extended(i, 0))",
	real => "(CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN '-0' ELSE sin(i)::real END)",
	'double precision' => "(CASE i % 50 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' ELSE exp(i % 1400 - 700.0::float8) END)",
	boolean => "(i % 3 = 0)",
	text => "(left(repeat(md5(i::text) || 'é漢😀', 1 + i % 5), i % 200))",
	'varchar(20)' => "(left(repeat('é漢😀' || i, 10), i % 21))",
	bytea => "(substring(sha512(i::text::bytea) FROM 1 FOR i % 65))",
	uuid => "(md5(i::text)::uuid)",
	date => "(CASE i % 50 WHEN 0 THEN 'infinity' WHEN 1 THEN '4713-01-01 BC' WHEN 2 THEN '5874897-12-31' ELSE '2000-01-01'::date + i * 31 END)",
	(map {
			$_ => "(CASE i % 50 WHEN 0 THEN '-infinity' WHEN 1 THEN '4713-11-24 00:00:00 BC' WHEN 2 THEN '294276-12-31 23:59:59.999999' "
			  . "ELSE '2000-01-01'::timestamptz + (i * 86400.123457 - 1e9) * interval '1 second' END)"
		} qw(timestamp timestamptz)),
	'timestamp(0)' => "('2000-01-01'::timestamp + (i * 86400.5) * interval '1 second')",
	'timestamptz(3)' => "('2000-01-01'::timestamptz + (i * 86400.1237) * interval '1 second')",
	numeric => "(CASE i % 100 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' WHEN 2 THEN 0 WHEN 3 THEN 0.00 "
	  . "ELSE round((hashint8extended(i, 1)::numeric * 10::numeric ^ (i % 7)) / 10::numeric ^ (i % 45), i % 40) END)",
	'numeric(12,2)' => "((hashint8(i)::numeric * 4 / 10) / 10::numeric ^ (i % 12))",
	'numeric(9,9)' => "(hashint8(i)::numeric / 10::numeric ^ (10 + i % 5))",
	'numeric(30,15)' => "(hashint8extended(i, 2)::numeric / 10::numeric ^ (4 + i % 20))",
	'numeric(1000)' => "(10::numeric ^ (i % 900) - i % 2)",
	'numeric(400,300)' => "(hashint8(i) / 10::numeric ^ (i % 290))");
$made{numeric} =~ s/'-Infinity'/0/ if $source->pg_version < 14;
my @types = sort keys %made;

sub insert_rows
{
	my ($first, $last) = @_;

	$source->safe_psql('postgres', "SET timezone = 'UTC'; INSERT INTO s.v SELECT i, "
		  . join(', ', map { "($made{$_})::$_" } @types) . " FROM generate_series($first, $last) i");
	return;
}

sub is_bit_for_bit
{
	my ($what) = @_;
	my $columns = join ', ', map { "v$_" } 0 .. $#types;
	my $text = "SELECT id, $columns FROM";

	caught_up($hub, 'p');
	is( $hub->safe_psql('postgres', "SET timezone = 'UTC'; $text h.v ORDER BY id"),
		$source->safe_psql('postgres', "SET timezone = 'UTC'; $text s.v ORDER BY id"),
		"$what reads as in the source");
	$hub->safe_psql('postgres', 'DROP TABLE IF EXISTS again; CREATE TABLE again (LIKE h.v); INSERT INTO again SELECT id, '
		  . join(', ', map { "v$_\::text::$types[$_]" } 0 .. $#types) . ' FROM h.v');
	for my $i (0 .. $#types)
	{
		is( $hub->safe_psql('postgres',
				"SELECT count(*) FROM h.v a JOIN again b USING (id) WHERE NOT record_image_eq(ROW(a.v$i), ROW(b.v$i))"),
			0, "$what, type $types[$i]: the bits are those of its text");
	}
	return;
}

$source->safe_psql('postgres', 'CREATE SCHEMA s; CREATE TABLE s.v (id int PRIMARY KEY, '
	  . join(', ', map { "v$_ $types[$_]" } 0 .. $#types) . ')');
insert_rows(1, 2000);
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.*'], 'h');
is_bit_for_bit('copy');
insert_rows(2001, 4000);
is_bit_for_bit('stream');

$hub->stop;
$source->stop;
done_testing();
