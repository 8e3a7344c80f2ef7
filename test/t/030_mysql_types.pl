# Every type of MySQL and MariaDB: a row that is copied and the same row from
# the log are the same in the hub, bit for bit, and are what the source holds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# column, its type, its values; the rows are made of the n-th values of all
# columns, the last one of a short list being repeated as NULL
my @common = (
	[ti => 'tinyint', qw(-128 127 0)],
	[tu => 'tinyint unsigned', qw(255 0 1)],
	[t1 => 'tinyint(1)', qw(0 1 -5)],
	[si => 'smallint', qw(-32768 32767 -1)],
	[su => 'smallint unsigned', qw(65535 0 1)],
	[mi => 'mediumint', qw(-8388608 8388607 -1)],
	[mu => 'mediumint unsigned', qw(16777215 0 1)],
	[ii => 'int', qw(-2147483648 2147483647 -1)],
	[iu => 'int unsigned', qw(4294967295 0 1)],
	[iz => 'int(8) unsigned zerofill', qw(42 0 4294967295)],
	[bi => 'bigint', qw(-9223372036854775808 9223372036854775807 -1)],
	[bu => 'bigint unsigned', qw(18446744073709551615 0 9223372036854775808)],
	[d1 => 'decimal(65,30)', '12345678901234567890123456789012345.123456789012345678901234567890',
		'-0.000000000000000000000000000001', '0', '-99999999999999999999999999999999999.999999999999999999999999999999'],
	[d2 => 'decimal(10,0)', qw(9999999999 -9999999999 0)],
	[d3 => 'decimal(12,4) unsigned', qw(12345678.9012 0 0.0001)],
	[d4 => 'decimal(18,9)', qw(123456789.987654321 -123456789.000000001 -0.5)],
	[d5 => 'decimal(6,2) zerofill', qw(12.30 0 9999.99)],
	[f1 => 'float', qw(1.1 -3.4028234e38 1.17549435e-38 16777217 -0.0 123456.789)],
	[f2 => 'double', qw(1.1 -1.7976931348623157e308 2.2250738585072014e-308 0.1 -0.0 1e22)],
	[f3 => 'float(7,3)', qw(1234.567 -0.001 0)],
	[f4 => 'double(20,6)', qw(12345678901234.567891 -0.000001 0)],
	[b1 => 'bit(1)', qw(b'1' b'0')],
	[b7 => 'bit(7)', qw(b'1010101' b'0')],
	[b64 => 'bit(64)', qw(b'1000000000000000000000000000000000000000000000000000000000000001' b'1')],
	[y => 'year', qw(1901 2155 0 2024)],
	[da => 'date', qw('1000-01-01' '9999-12-31' '2024-02-29' '0000-00-00' '2024-00-15' '2024-02-00')],
	[dt => 'datetime', q('1000-01-01 00:00:00'), q('9999-12-31 23:59:59'), q('0000-00-00 00:00:00'), q('2024-03-31 02:30:00')],
	[dt6 => 'datetime(6)', q('1000-01-01 00:00:00.000001'), q('9999-12-31 23:59:59.999999'),
		q('2024-03-31 02:30:00.5'), q('0000-00-00 00:00:00')],
	[dt3 => 'datetime(3)', q('2024-10-27 02:30:00.123'), q('1970-01-01 00:00:00.999')],
	[ts => 'timestamp NULL', q('1970-01-01 00:00:01'), q('2038-01-19 03:14:07'), q('0000-00-00 00:00:00')],
	[ts6 => 'timestamp(6) NULL', q('1970-01-01 00:00:01.000001'), q('2038-01-19 03:14:07.999999'),
		q('2024-03-31 01:30:00.5')],
	[tm => 'time', q('-838:59:59'), q('838:59:59'), q('00:00:00'), q('25:00:01')],
	[tm6 => 'time(6)', q('-838:59:58.999999'), q('838:59:58.000001'), q('-00:00:00.000001'), q('10:11:12.5')],
	[tm1 => 'time(1)', q('-10:11:12.3'), q('00:00:00.1'), q('-00:00:59.9')],
	[tm4 => 'time(4)', q('-10:11:12.3456'), q('00:00:00.0001'), q('-00:00:59.9999')],
	[c => 'char(10) CHARACTER SET utf8mb4', q(''), q('zoë'), q('trail   ')],
	[c255 => 'char(255) CHARACTER SET utf8mb4', q(repeat(_utf8mb4 0xF09F9880, 255)), q('x')],
	[v => 'varchar(20) CHARACTER SET utf8mb4', q(_utf8mb4 0xF09F9880), q('trail   '), q(''), q('back\\\\slash "quoted" ''single''')],
	[vl => 'varchar(300) CHARACTER SET latin1', q(_latin1 0xE4F6FC80818D9F), q(repeat('x', 300))],
	[v16 => 'varchar(20) CHARACTER SET utf16', q(_utf16 0x00E4D83DDE00), q('plain')],
	[v32 => 'varchar(20) CHARACTER SET utf32', q(_utf32 0x000000E40001F600), q('plain')],
	[vu2 => 'varchar(20) CHARACTER SET ucs2', q(_ucs2 0x00E420AC), q('plain')],
	[vle => 'varchar(20) CHARACTER SET utf16le', q(_utf16le 0xE4003DD800DE), q('plain')],
	[vgk => 'varchar(20) CHARACTER SET gbk', q(_gbk 0xC4E3BAC3), q('plain')],
	[vsj => 'varchar(20) CHARACTER SET sjis', q(_sjis 0x93FA967B), q('plain')],
	[vuj => 'varchar(20) CHARACTER SET ujis', q(_ujis 0xC6FCCBDC), q('plain')],
	[vbi => 'varchar(20) CHARACTER SET big5', q(_big5 0xA741A66E), q('plain')],
	[vkr => 'varchar(20) CHARACTER SET euckr', q(_euckr 0xBEC8B3E7), q('plain')],
	[v850 => 'varchar(20) CHARACTER SET cp850', q(_cp850 0x8494819B), q('plain')],
	[v852 => 'varchar(20) CHARACTER SET cp852', q(_cp852 0x8494A5), q('plain')],
	[v1251 => 'varchar(20) CHARACTER SET cp1251', q(_cp1251 0xCFF0E8), q('plain')],
	[vk8 => 'varchar(20) CHARACTER SET koi8r', q(_koi8r 0xF0D2C9), q('plain')],
	[vmac => 'varchar(20) CHARACTER SET macroman', q(_macroman 0x8A9A9F), q('plain')],
	[vde => 'varchar(20) CHARACTER SET dec8', q(_dec8 0xE4F6FC), q('plain')],
	[vhp => 'varchar(20) CHARACTER SET hp8', q(_hp8 0xCCCECF), q('plain')],
	[vgr => 'varchar(20) CHARACTER SET greek', q(_greek 0xE1E2E3), q('plain')],
	[vge => 'varchar(20) CHARACTER SET geostd8', q(_geostd8 0xC0C1C2), q('plain')],
	[var => 'varchar(20) CHARACTER SET armscii8', q(_armscii8 0xB2B3B4), q('plain')],
	[vsw => 'varchar(20) CHARACTER SET swe7', q(_swe7 0x7B7C7D), q('plain')],
	[vtis => 'varchar(20) CHARACTER SET tis620', q(_tis620 0xA1A2A3), q('plain')],
	[tt => 'tinytext CHARACTER SET utf8mb4', q('tiny'), q('')],
	[tx => 'text CHARACTER SET utf8mb4', q(repeat('text ', 10000)), q('')],
	[mt => 'mediumtext CHARACTER SET utf8mb4', q(repeat('m', 70000)), q('')],
	[lt => 'longtext CHARACTER SET utf8mb4', q(repeat('long', 50000)), q('')],
	[bn => 'binary(8)', q(0x0100FF0000000000), q('ab'), q('')],
	[vb => 'varbinary(300)', q(0x00FF00), q(repeat(0x00, 300)), q('')],
	[tb => 'tinyblob', q(0x00), q('')],
	[bl => 'blob', q(repeat(0xFF00, 1000)), q('')],
	[mb => 'mediumblob', q(repeat('b', 70000)), q('')],
	[lb => 'longblob', q(repeat('l', 200000)), q('')],
	[e => q{enum('a','b''c','ünï','with,comma','back\\\\slash') CHARACTER SET utf8mb4}, q('a'), q('b''c'), q('ünï'), q('with,comma'), q('back\\\\slash'), q(0)],
	[s => q{set('a','b','ünï') CHARACTER SET utf8mb4}, q('a,ünï'), q(''), q('b')],
	[s64 => 'set(' . join(',', map { "'m$_'" } 1 .. 64) . ')', q(18446744073709551615), q(9223372036854775808), q(1)],
	[js => 'json', q('{"b": 1, "aa": [1, 2.5, -3e10, true, null, "x\\\\u0041\\\\"ü"], "e": {}}'), q('[]'), q('"text"'), q('null'),
		q('12345678901234567890'), q('1.5'), q('-9223372036854775808'), q('[0.1, 1e-7, 1e300]')],
	[g => 'geometry', q(ST_GeomFromText('POINT(1 2)')), q(ST_GeomFromText('LINESTRING(0 0,1 1,2 3)', 4326)),
		q(ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))'))],
	[gp => 'point', q(ST_GeomFromText('POINT(-1.5 2.25)')), q(ST_GeomFromText('POINT(7 8)', 3857))],
);

my %own = (
	mariadb => [
		[uu => 'uuid', q('123e4567-e89b-12d3-a456-426655440000'), q('00000000-0000-0000-0000-000000000000'),
			q('ffffffff-ffff-1fff-8fff-ffffffffff00')],
		[i4 => 'inet4', q('192.168.1.255'), q('0.0.0.0'), q('10.0.0.0')],
		[i6 => 'inet6', q('2001:db8::ff00:42:8329'), q('::'), q('::ffff:192.0.2.1')],
		[vc => 'varchar(2000) COMPRESSED', q(repeat('compress me ', 100)), q('short'), q('')],
		[bc => 'blob COMPRESSED', q(repeat(0x00FF, 3000)), q('short')],
	],
	mysql => [
		[jd => 'json', q(JSON_OBJECT('d', CAST('2024-02-29' AS DATE), 't', CAST('-10:11:12.5' AS TIME(6)),
			'dt', CAST('2024-02-29 10:11:12.123456' AS DATETIME(6)), 'n', CAST(1.50 AS DECIMAL(5,2)), 'b', CAST(0x00FF AS BINARY)))],
		[ve => 'vector(3)', q(STRING_TO_VECTOR('[1.5,-2,250]'))],
	]);

foreach my $flavour (usable_flavours())
{
	foreach my $metadata ('FULL', $flavour eq 'mariadb' ? 'NO_LOG' : 'MINIMAL')
	{
		subtest "$flavour, binlog_row_metadata = $metadata",
			sub { check_types($flavour, $metadata) };
	}
}

sub create_table
{
	my ($table, @columns) = @_;

	return "CREATE TABLE shop.$table (id int PRIMARY KEY, "
		. join(', ', map { "$_->[0] $_->[1]" } @columns)
		. ', gv int AS (id + 1) VIRTUAL, gs int AS (id * 2) STORED, inv int INVISIBLE DEFAULT 7)'
		. ' CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC;';
}

# Row n holds the n-th value of each column; behind the last one comes NULL.
sub inserts
{
	my ($table, @columns) = @_;
	my $rows = 0;
	my @statements;

	$rows = @$_ > $rows ? @$_ : $rows foreach @columns;
	for my $n (2 .. $rows)
	{
		push @statements, "INSERT INTO shop.$table (id, "
			. join(', ', map { $_->[0] } @columns) . ") VALUES ($n, "
			. join(', ', map { $_->[$n] // 'NULL' } @columns) . ');';
	}
	return join("\n", @statements);
}

sub check_types
{
	my ($flavour, $metadata) = @_;
	my @columns = (@common, @{ $own{$flavour} });
	my $hub = new_hub("types_${flavour}_" . lc $metadata);
	my $source = Tapdata::MySQL->start(flavour => $flavour,
		options => ["--binlog-row-metadata=$metadata", '--sql-mode=',
			$flavour eq 'mysql' ? () : ('--default-time-zone=+05:00')]);
	my $prologue = "SET NAMES utf8mb4; SET sql_mode = ''; SET time_zone = '+00:00';\n";

	# split over tables, as a row has a limit of 64 kB
	my @parts = ([@columns[0 .. 39]], [@columns[40 .. $#columns]]);
	$source->sql('CREATE DATABASE shop;');
	for my $i (0, 1)
	{
		$source->sql($prologue . create_table("copied$i", @{ $parts[$i] }) . inserts("copied$i", @{ $parts[$i] }));
		$source->sql($prologue . create_table("logged$i", @{ $parts[$i] }));
		$source->sql($prologue . create_table("updated$i", @{ $parts[$i] }));
		$source->sql("INSERT INTO shop.updated$i (id) SELECT id FROM shop.copied$i;");
	}
	pull($hub, $source, 'types', tables => ['shop.*']);
	caught_up($hub, 'types');
	for my $i (0, 1)
	{
		my $set = join(', ', map { "u.$_->[0] = c.$_->[0]" } @{ $parts[$i] });

		$source->sql($prologue . inserts("logged$i", @{ $parts[$i] }));
		$source->sql($prologue . "UPDATE shop.updated$i u JOIN shop.copied$i c ON u.id = c.id SET $set;");
	}
	caught_up($hub, 'types');

	for my $i (0, 1)
	{
		for my $table ("logged$i", "updated$i")
		{
			my $rows = $hub->safe_psql('postgres', "SELECT count(*) FROM types.$table");
			cmp_ok($rows, '>=', 5, "$table has its rows");
			my $pairs = join(', ', map { "('$_', record_image_ne(ROW(c.$_), ROW(l.$_)))" }
				(map { $_->[0] } @{ $parts[$i] }), qw(gv gs inv));

			sql_ok($hub, "SELECT c.id, name FROM types.copied$i c FULL JOIN types.$table l USING (id), "
				. "LATERAL (VALUES $pairs) p(name, differs) WHERE differs ORDER BY 1", '',
				"$table is bit for bit as copied");
		}
	}
	check_values($hub, $flavour);
	$source->stop;
	$hub->stop;
	return;
}

sub check_values
{
	my ($hub, $flavour) = @_;
	my $value = sub {
		my ($what, $where, $expected) = @_;
		my $table = $hub->safe_psql('postgres',
			"SELECT attrelid::regclass FROM pg_attribute WHERE attname = '" . ($what =~ /^(\w+)/)[0]
			. "' AND attrelid IN ('types.copied0'::regclass, 'types.copied1'::regclass)");
		sql_ok($hub, "SELECT $what FROM $table WHERE id = $where", $expected, "$what of row $where is $expected");
	};

	$value->('ti', 2, '-128');
	$value->('bu', 2, '18446744073709551615');
	$value->('d1', 2, '12345678901234567890123456789012345.123456789012345678901234567890');
	$value->('d1', 3, '-0.000000000000000000000000000001');
	$value->('iz', 2, '42');
	$value->('f1', 2, '1.1');
	$value->('f1', 5, '1.6777216e+07');
	$value->('f2', 3, '-1.7976931348623157e+308');
	$value->('b7', 2, '1010101');
	$value->('y', 4, '0');
	$value->('da', 4, '2024-02-29');
	$value->('da', 5, '');
	$value->('da', 6, '');
	$value->('dt6', 2, '1000-01-01 00:00:00.000001');
	$value->(q(ts6 AT TIME ZONE 'UTC'), 2, '1970-01-01 00:00:01.000001');
	$value->('tm', 2, '-838:59:59');
	$value->('tm6', 4, '-00:00:00.000001');
	$value->('c255', 2, "\x{F0}\x{9F}\x{98}\x{80}" x 255);
	$value->('v', 2, "\xF0\x9F\x98\x80");
	$value->('vl', 2, "\xC3\xA4\xC3\xB6\xC3\xBC\xE2\x82\xAC\xC2\x81\xC2\x8D\xC5\xB8");
	$value->('v16', 2, "\xC3\xA4\xF0\x9F\x98\x80");
	$value->('vgk', 2, "\xE4\xBD\xA0\xE5\xA5\xBD");
	$value->('vsj', 2, "\xE6\x97\xA5\xE6\x9C\xAC");
	$value->('vbi', 2, "\xE4\xBD\xA0\xE5\xA5\xBD");
	$value->('v1251', 2, "\xD0\x9F\xD1\x80\xD0\xB8");
	$value->('bn', 3, '\x6162000000000000');
	$value->('e', 3, "b'c");
	$value->('e', 6, 'back\\slash');
	$value->('e', 7, '');
	$value->('s', 2, "a,\xC3\xBCn\xC3\xAF");
	$value->(q(g), 2, '\x0101000000000000000000f03f0000000000000040');
	$value->(q(gp), 3, '\x0101000020110f00000000000000001c400000000000002040');
	if ($flavour eq 'mariadb')
	{
		$value->('uu', 2, '123e4567-e89b-12d3-a456-426655440000');
		$value->('i4', 4, '10.0.0.0');
		$value->('i6', 4, '::ffff:192.0.2.1');
	}
	else
	{
		$value->('ve', 2, '{1.5,-2,250}');
		$value->(q(js->'aa'), 2, q([1, 2.5, -30000000000.0, true, null, "xA\"ü"]));
	}
	return;
}

done_testing();
