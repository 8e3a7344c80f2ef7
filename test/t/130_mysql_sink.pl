# MySQL and MariaDB as targets: tables that are created and checked, types, the
# first copy, every kind of change in the stream, schema changes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# column => type, values; what the target shows, where it is not the hub's text
my @types = (
	['c_bool', 'boolean', 'true', 'false', '1', '0'],
	['c_int2', 'smallint', '-32768', '32767'],
	['c_int4', 'integer', '-2147483648', '2147483647'],
	['c_int8', 'bigint', '-9223372036854775808', '9223372036854775807'],
	['c_oid', 'oid', '0', '4294967295'],
	['c_numeric', 'numeric(30,10)', '-12345678901234567890.1234567891', '0.0000000001'],
	['c_whole', 'numeric(20)', '18446744073709551615', '0'],
	['c_left', 'numeric(3,-2)', '12300', '-99900'],
	['c_digits', 'numeric(70,5)', '1' x 60 . '.00001', '-1.50000'],
	['c_free', 'numeric', '3.14159265358979323846264338327', '-7', '3.141592653589793238462643383270', '-7.000000000000000000000000000000'],
	['c_float8', 'double precision', '0.1', '-1.7976931348623157e+308', '0.1', '-1.7976931348623157e308'],
	['c_text', 'text', q{it's "quoted" \\ and 日本語 🐘}, ' spaces  '],
	['c_long', 'text', 'x' x 70000, ''],
	['c_varchar', 'varchar(20)', 'ünïcödé', 'twenty characters ok'],
	['c_char', 'char(5)', 'ab', 'abcde'],
	['c_bytea', 'bytea', '\x00ff27225c0a1a', '\x', '00FF27225C0A1A', ''],
	['c_date', 'date', '0001-01-01', '9999-12-31'],
	['c_time', 'time', '00:00:00', '23:59:59.999999', '00:00:00.000000', '23:59:59.999999'],
	['c_time2', 'time(2)', '24:00:00', '12:34:56.78', '24:00:00.00', '12:34:56.78'],
	['c_timetz', 'timetz', '12:34:56.789+02', '00:00:00-08'],
	['c_timestamp', 'timestamp', '2024-02-29 12:34:56.123456', '1000-01-01 00:00:00', '2024-02-29 12:34:56.123456', '1000-01-01 00:00:00.000000'],
	['c_timestamp0', 'timestamp(0)', '2024-02-29 12:34:56', '1969-12-31 23:59:59'],
	['c_timestamptz', 'timestamptz', '2024-07-01 12:00:00+02', '1899-12-31 00:00:00+00', '2024-07-01 10:00:00.000000', '1899-12-31 00:00:00.000000'],
	['c_interval', 'interval', '1 year 2 mons 3 days 04:05:06.789', '-00:00:01'],
	['c_uuid', 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'],
	['c_bit', 'bit(10)', '1010101010', '0000000001', '682', '1'],
	['c_varbit', 'bit varying(100)', '101', '1' x 100],
	['c_inet', 'inet', '192.168.0.1/24', '::1'],
	['c_cidr', 'cidr', '10.0.0.0/8', '2001:db8::/32'],
	['c_macaddr', 'macaddr', '08:00:2b:01:02:03', 'ff:ff:ff:ff:ff:ff'],
	['c_json', 'json', '{"b" : 1, "a": [1.10, 2]}', 'null'],
	['c_mood', 'mood', 'happy', 'it\'s sad'],
	['c_point', 'point', '(1,2.5)', '(-1,0)'],
	['c_range', 'int4range', '[1,10)', 'empty'],
	['c_composite', 'pair', '(1,"a b")', '(,)'],
	['c_domain', 'positive', '5', '6'],
	['c_xml', 'xml', '<a>b</a>', '<x/>'],
	['c_tsvector', 'tsvector', "'a':1 'b':2", "'x'"],
	['c_name', 'name', 'a name', 'n'],
);

# what SELECTs read of a column
my %shown = (
	c_bytea => 'HEX(c_bytea)',
	c_bit => 'c_bit + 0',
	c_float8 => 'CONCAT(c_float8)',
);

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_sink($flavour) };
}
done_testing();

sub check_sink
{
	my ($flavour) = @_;
	my $hub = new_hub("sink_$flavour");
	my $target = Tapdata::MySQL->start(flavour => $flavour,
		options => [ '--sql-mode=', '--default-time-zone=-05:00', '--local-infile=' . ($flavour eq 'mysql' ? 'ON' : 'OFF') ]);

	$target->sql('CREATE DATABASE app; GRANT ALL ON *.* TO ' . account($target));
	$hub->safe_psql('postgres', qq(SELECT tapdata.connect('t', '${\ $target->uri('app') }')));
	check_types($hub, $target);
	return;
}

sub account
{
	my ($target) = @_;

	return "'" . $target->user . "'\@'%'";
}

sub columns
{
	my ($which, @picked) = @_;

	return join ', ', map { $_->[0] . ($which eq 'definition' ? " $_->[1]" : '') } @picked ? @picked : @types;
}

sub literal
{
	my ($value) = @_;

	$value =~ s/'/''/g;
	return "'$value'";
}

sub row
{
	my ($id, $value) = @_;

	return "($id, " . join(', ', map { literal($_->[$value]) } @types) . ')';
}

sub check_types
{
	my ($hub, $target) = @_;

	$hub->safe_psql('postgres', q{
		CREATE TYPE mood AS ENUM ('happy', 'it''s sad');
		CREATE TYPE pair AS (a int, b text);
		CREATE DOMAIN positive AS int CHECK (VALUE > 0);
		SET TimeZone = 'UTC';
		CREATE TABLE types (id int PRIMARY KEY, } . columns('definition') . q{);
		INSERT INTO types VALUES } . row(1, 2) . ', ' . row(2, 3) . q{;
		INSERT INTO types (id) VALUES (3);
		SELECT tapdata.publish('types', 't', ARRAY['public.types']);});
	caught_up($hub, 'types');
	is($target->value('SELECT COUNT(*) FROM public.types'), 3, 'three rows were copied');
	compare_types($target, 0, 'copied');
	$hub->safe_psql('postgres', 'INSERT INTO types VALUES ' . row(11, 2) . ', ' . row(12, 3) . '; INSERT INTO types (id) VALUES (13)');
	caught_up($hub, 'types');
	compare_types($target, 10, 'streamed');
	$hub->safe_psql('postgres', "SELECT tapdata.stop('types')");
	return;
}

sub compare_types
{
	my ($target, $first, $how) = @_;

	foreach my $type (@types)
	{
		my ($name, undef, @values) = @$type;
		my @expected = (@values == 4 ? @values[2, 3] : @values, undef);
		my $shown = $shown{$name} || $name;
		my @got = map { $_->[0] } @{ $target->rows("SELECT $shown FROM public.types WHERE id > $first AND id < $first + 10 ORDER BY id") };

		utf8::encode($_) foreach grep { defined && utf8::is_utf8($_) } @got;
		is_deeply([ map { defined $_ && length > 100 ? length : $_ } @got ],
			[ map { defined $_ && length > 100 ? length : $_ } @expected ], "$how: $name");
	}
	return;
}

1;
