# test/bench/Bench/Rows.pm
#	  The rows that are measured: about 100 bytes each, the same in both systems.

package Bench::Rows;

use strict;
use warnings;

use Exporter 'import';
our @EXPORT_OK = qw(mariadb_table postgres_table mariadb_rows postgres_rows ranges);

sub mariadb_table
{
	my ($table) = @_;

	return "CREATE TABLE $table (id bigint NOT NULL PRIMARY KEY, customer int NOT NULL, "
	  . 'amount decimal(12,2) NOT NULL, status varchar(10) NOT NULL, '
	  . 'created datetime NOT NULL, note varchar(80) CHARACTER SET utf8mb4)';
}

sub postgres_table
{
	my ($table) = @_;

	return "CREATE TABLE $table (id bigint NOT NULL PRIMARY KEY, customer int NOT NULL, "
	  . 'amount numeric(12,2) NOT NULL, status varchar(10) NOT NULL, '
	  . 'created timestamp(0) NOT NULL, note varchar(80))';
}

# A statement that inserts the rows with these ids.
sub mariadb_rows
{
	my ($table, $first, $last) = @_;

	return "INSERT INTO $table SELECT seq, seq % 10007, (seq % 1000000) / 100, 'new', "
	  . "timestamp('2026-01-01') + INTERVAL seq SECOND, concat(md5(seq), left(md5(seq + 1), 20)) "
	  . "FROM seq_${first}_to_${last}";
}

sub postgres_rows
{
	my ($table, $first, $last) = @_;

	return "INSERT INTO $table SELECT seq, seq % 10007, (seq % 1000000) / 100.0, 'new', "
	  . "timestamp '2026-01-01' + seq * interval '1 second', md5(seq::text) || left(md5((seq + 1)::text), 20) "
	  . "FROM generate_series($first, $last) seq";
}

# Cuts 1 .. $count into pieces of $size: a list of [first, last].
sub ranges
{
	my ($count, $size) = @_;
	my @ranges;

	for (my $first = 1; $first <= $count; $first += $size)
	{
		my $last = $first + $size - 1;
		push @ranges, [ $first, $last < $count ? $last : $count ];
	}
	return @ranges;
}

1;
