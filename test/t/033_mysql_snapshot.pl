# Copies of MySQL and MariaDB tables: chunks by keys of every kind, skewed and
# empty ones, exact copies of tables without key while they are written to.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

# name => columns and key, an expression for each column by the number n
my %keys = (
	by_int => ['k int PRIMARY KEY', 'n'],
	by_negative => ['k int PRIMARY KEY', 'n - 500'],
	by_sparse => ['k bigint PRIMARY KEY', 'n * n * n * 1000000'],
	by_skewed => ['k bigint PRIMARY KEY', 'CASE WHEN n < 990 THEN n ELSE n * 1000000000000 END'],
	by_unsigned => ['k bigint unsigned PRIMARY KEY', '18446744073709551615 - n * 3'],
	by_extremes => ['k bigint PRIMARY KEY', 'CASE n WHEN 1 THEN -9223372036854775808 WHEN 2 THEN 9223372036854775807 ELSE n END'],
	by_text => ['k varchar(30) COLLATE utf8mb4_general_ci PRIMARY KEY', "CONCAT(CHAR(65 + n % 26 + 32 * (n % 2)), 'é', n)"],
	by_utf16 => ['k varchar(30) CHARACTER SET utf16 PRIMARY KEY', "CONCAT('ключ', n)"],
	by_latin1 => ['k char(20) CHARACTER SET latin1 PRIMARY KEY', "CONCAT('ä', n)"],
	by_binary => ['k varbinary(30) PRIMARY KEY', "UNHEX(LEFT(SHA2(n, 256), 40))"],
	by_decimal => ['k decimal(20,5) PRIMARY KEY', 'n / 7'],
	by_datetime => ['k datetime(6) PRIMARY KEY', "'2024-01-01' + INTERVAL n * 1000001 MICROSECOND"],
	by_date => ['k date PRIMARY KEY', "'1999-01-01' + INTERVAL n DAY"],
	by_timestamp => ['k timestamp PRIMARY KEY', "'2024-03-31 00:00:00' + INTERVAL n MINUTE"],
	by_time => ['k time(3) PRIMARY KEY', 'SEC_TO_TIME(n * 7 - 3500)'],
	by_double => ['k double PRIMARY KEY', 'n / 3'],
	by_bit => ['k bit(16) PRIMARY KEY', 'n'],
	by_two => ['j int, k varchar(20), PRIMARY KEY (j, k)', 'n % 7', "CONCAT('x', n)"],
	by_three => ['h date, i int, j varchar(20), PRIMARY KEY (j, h, i)', "'2024-01-01' + INTERVAL n % 3 DAY", 'n % 11', "CONCAT('y', n % 50)"],
	by_unique => ['k int NOT NULL, UNIQUE (k)', 'n'],
	by_enum => [q{j enum('b','a','c'), k int, PRIMARY KEY (j, k)}, 'n % 3 + 1', 'n'],
	without => ['k int', 'n % 10'],
	no_rows => ['k int PRIMARY KEY'],
	one_row => ['k int PRIMARY KEY', 'n', 1],
	odd_name => ['`a``b"c d` int, `select` int, PRIMARY KEY (`a``b"c d`)', 'n', 'n'],
);

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_snapshot($flavour) };
}

sub check_snapshot
{
	my ($flavour) = @_;
	my $hub = new_hub("snapshot_$flavour");
	my $source = Tapdata::MySQL->start(flavour => $flavour,
		options => ['--default-time-zone=+03:00', '--sql-mode=']);
	my $script = "SET NAMES utf8mb4; CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;\n"
	  . "CREATE TABLE numbers (n int PRIMARY KEY); INSERT INTO numbers VALUES (1);\n"
	  . join('', map { "INSERT INTO numbers SELECT n + $_ FROM numbers;\n" } map { 2**$_ } 0 .. 11);

	foreach my $name (sort keys %keys)
	{
		my ($columns, @values) = @{ $keys{$name} };
		my $rows = $name eq 'one_row' ? pop @values : 3000;

		$script .= "CREATE TABLE $name ($columns, v varchar(20));\n";
		next if !@values;
		$script .= "REPLACE INTO $name SELECT " . join(', ', @values) . ", n FROM numbers WHERE n <= $rows;\n";
	}
	$source->sql($script . 'DROP TABLE numbers; ANALYZE TABLE by_sparse, by_skewed, by_int;');
	pull($hub, $source, 'shop', options => '{"chunk_rows": 1000, "workers": 4}');
	caught_up($hub, 'shop');
	foreach my $name (sort keys %keys)
	{
		my $expected = $source->value("SELECT CONCAT(COUNT(*), '|', COALESCE(SUM(v), 0), '|', COUNT(DISTINCT v)) FROM shop.$name");

		sql_ok($hub, "SELECT count(*) || '|' || coalesce(sum(v::int), 0) || '|' || count(DISTINCT v) FROM shop.$name",
			$expected, "$name: $expected");
	}
	sql_ok($hub, q{SELECT string_agg(DISTINCT state, ',') FROM tapdata.tables}, 'streaming', 'all tables stream');

	check_chunks($source, $hub);
	check_keyless($source, $hub);
	$source->stop;
	$hub->stop;
	return;
}

# Many rows, so that there are many chunks; the keys have large holes.
sub check_chunks
{
	my ($source, $hub) = @_;

	$source->sql(<<'SQL');
CREATE DATABASE large; USE large;
CREATE TABLE sparse (id bigint PRIMARY KEY, v int);
CREATE TABLE words (a varchar(20), b int, v int, PRIMARY KEY (a, b)) CHARACTER SET utf8mb4;
SQL
	my $labels = join ', ', map { "'label $_'" } 1 .. 300;
	$source->sql("USE large; CREATE TABLE labels (id int PRIMARY KEY, v enum($labels))");
	$source->sql($_) foreach (
		'USE large; INSERT INTO sparse VALUES (1, 1), (2, 2), (3, 3), (4, 4);',
		(map { 'USE large; INSERT INTO sparse SELECT id + (SELECT MAX(id) * '
				. ($_ % 5 == 0 ? 1000 : 1) . ' FROM sparse), v + (SELECT MAX(v) FROM sparse) FROM sparse;' } 1 .. 13),
		'USE large; INSERT INTO words SELECT CONCAT(CHAR(97 + v % 26), v % 1000), v, v FROM sparse; ANALYZE TABLE sparse, words;',
		'USE large; INSERT INTO labels SELECT v, v % 300 + 1 FROM sparse; ANALYZE TABLE labels;');
	pull($hub, $source, 'large', options => '{"chunk_rows": 1000, "workers": 3}');
	caught_up($hub, 'large');
	same_rows($source, 'large.sparse', $hub, 'large.sparse', 'a sparse key of 32768 rows');
	same_rows($source, 'large.words', $hub, 'large.words', 'a composite text key of 32768 rows');
	same_rows($source, 'large.labels', $hub, 'large.labels', 'labels of an enum, in many chunks');
	return;
}

# A table without key, written to all the time while it is copied.
sub check_keyless
{
	my ($source, $hub) = @_;

	$source->sql('CREATE DATABASE busy; USE busy; CREATE TABLE keyless (a int, b varchar(20)); CREATE TABLE noise (a int);');
	my $pid = fork // die "fork: $!";
	if (!$pid)
	{
		my $end = time + 6;
		my $n = 0;

		for (; time < $end; $n++)
		{
			$source->sql("USE busy; INSERT INTO keyless VALUES ($n % 5, 'x'), ($n % 5, 'x'); "
				. "UPDATE keyless SET b = 'y' WHERE a = $n % 5 LIMIT 1; DELETE FROM keyless WHERE a = ($n + 1) % 5 LIMIT 1; "
				. "INSERT INTO noise VALUES ($n);");
		}
		require POSIX;
		POSIX::_exit(0);
	}
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($source->value('SELECT COUNT(*) FROM busy.noise') > 0)
	{
		die 'nobody writes' if time > $deadline;
		select undef, undef, undef, 0.05;
	}
	pull($hub, $source, 'busy');
	waitpid $pid, 0;
	caught_up($hub, 'busy');
	same_rows($source, 'busy.keyless', $hub, 'busy.keyless', 'a table without key that was written to while it was copied');
	return;
}

done_testing();
