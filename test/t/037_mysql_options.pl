# Options that change how values of MySQL and MariaDB are mapped: each of their
# values, for copied and for logged rows.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# option, its value; type of the column, an expression, what the hub holds; or an
# error's pattern
my @cases = (
	['tinyint1', 'boolean', 'tinyint(1)', '-5', 'boolean', 't'],
	['tinyint1', 'boolean', 'tinyint(1)', '0', 'boolean', 'f'],
	['tinyint1', 'boolean', 'tinyint(4)', '7', undef, '7'],
	['tinyint1', 'smallint', 'tinyint(1)', '-5', 'smallint', '-5'],
	['unsigned_bigint', 'bigint', 'bigint unsigned', '9223372036854775807', 'bigint', '9223372036854775807'],
	['unsigned_bigint', 'bigint', 'bigint unsigned', '9223372036854775808', undef, qr/beyond bigint/],
	['unsigned_bigint', 'numeric', 'bigint unsigned', '18446744073709551615', 'numeric(20,0)', '18446744073709551615'],
	['set_type', 'array', q{set('a','b"','c')}, q('a,b"'), 'text[]', '{a,"b\""}'],
	['set_type', 'array', q{set('a','b','c')}, q(''), 'text[]', '{}'],
	['set_type', 'text', q{set('a','b','c')}, q('c,a'), 'text', 'a,c'],
	['zero_date', 'null', 'date NOT NULL', q('0000-00-00'), 'date', ''],
	['zero_date', 'infinity', 'date NOT NULL', q('2024-00-15'), 'date', '-infinity'],
	['zero_date', 'infinity', 'datetime(3)', q('0000-00-00 00:00:00'), 'timestamp(3) without time zone', '-infinity'],
	['zero_date', 'infinity', 'timestamp NULL', q('0000-00-00 00:00:00'), 'timestamp(0) with time zone', '-infinity'],
	['zero_date', 'error', 'datetime', q('0000-00-00 00:00:00'), undef, qr/is no date/],
	['nul_in_text', 'error', 'varchar(10)', q(CONCAT('a', CHAR(0), 'b')), undef, qr/NUL byte/],
	['nul_in_text', 'remove', 'varchar(10)', q(CONCAT('a', CHAR(0), 'b')), 'character varying(10)', 'ab'],
	['nul_in_text', 'replace', 'varchar(10) CHARACTER SET latin1', q(CONCAT('a', CHAR(0), 'b')), 'character varying(10)', "a\xEF\xBF\xBDb"],
	['nul_in_text', 'remove', 'varchar(10) CHARACTER SET utf16', q(_utf16 0x006100000062), 'character varying(10)', 'ab'],
	['nul_in_text', 'remove', 'varchar(10) CHARACTER SET gbk', q(_gbk 0xC4E300BAC3), 'character varying(10)', "\xE4\xBD\xA0\xE5\xA5\xBD"],
	['invalid_text', 'error', 'varchar(10) CHARACTER SET ucs2', q(_ucs2 0x0061D8000062), undef, qr/invalid in its character set/],
	['invalid_text', 'replace', 'varchar(10) CHARACTER SET ucs2', q(_ucs2 0x0061D8000062), 'character varying(10)', "a\xEF\xBF\xBDb"],
);

my %own = (
	mysql => [
		['json_type', 'jsonb', 'json', q('{"b": 1, "a": 2}'), 'jsonb', '{"a": 2, "b": 1}'],
		['json_type', 'json', 'json', q('{"b": "\\\\u0000"}'), 'json', '{"b": "\u0000"}'],
		['json_type', 'text', 'json', q('{"b":1}'), 'text', '{"b": 1}'],
		['json_type', 'jsonb', 'json', q('{"b": "\\\\u0000"}'), undef, qr/\\u0000/],
	],
	mariadb => [
		['json_type', 'jsonb', 'json', q('{"b":1,  "a":2}'), 'json', '{"b":1,  "a":2}'],
	]);

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_options($flavour) };
}

sub check_options
{
	my ($flavour) = @_;
	my $hub = new_hub("options_$flavour");
	my $source = Tapdata::MySQL->start(flavour => $flavour, options => ['--sql-mode=']);
	my $n = 0;

	foreach my $case (@cases, @{ $own{$flavour} })
	{
		check_case($hub, $source, 'c' . ++$n, @$case);
	}
	$source->stop;
	$hub->stop;
	return;
}

sub check_case
{
	my ($hub, $source, $name, $option, $value, $type, $expression, $hub_type, $expected) = @_;
	my $title = "$option = $value: $type $expression";
	my $prologue = "SET NAMES utf8mb4; SET sql_mode = ''; SET time_zone = '+00:00'; ";

	$source->sql($prologue . "CREATE DATABASE $name CHARACTER SET utf8mb4; USE $name;"
		. "CREATE TABLE copied (id int PRIMARY KEY, v $type); CREATE TABLE logged LIKE copied;");
	$source->sql($prologue . "USE $name; INSERT INTO copied VALUES (1, $expression);") if !ref $expected;
	pull($hub, $source, $name, options => qq({"$option": "$value"}));
	caught_up($hub, $name);
	$source->sql($prologue . "USE $name; INSERT INTO logged VALUES (1, $expression);");
	if (ref $expected)
	{
		wait_for_state($hub, $name, 'failed');
		like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = '$name'"),
			$expected, $title);
	}
	else
	{
		caught_up($hub, $name);
		sql_ok($hub, "SELECT v FROM $name.copied", $expected, "$title, copied");
		sql_ok($hub, "SELECT v FROM $name.logged", $expected, "$title, logged");
		sql_ok($hub, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '$name.copied'::regclass AND attname = 'v'",
			$hub_type, "$title, type") if $hub_type;
	}
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$name')");
	return;
}

done_testing();
