# test/bench/Bench/Report.pm
#	  Prints results as a table, keeps them as a file, compares two files.

package Bench::Report;

use strict;
use warnings;

use JSON::PP;
use POSIX qw(strftime);

# Each result has a reference and the ratio wanted, or a limit to stay below.
sub judge
{
	my ($result) = @_;

	if (defined $result->{below})
	{
		$result->{met} = $result->{tapdata} < $result->{below} ? JSON::PP::true : JSON::PP::false;
	}
	else
	{
		$result->{ratio} = $result->{tapdata} / $result->{reference};
		$result->{met} = $result->{ratio} >= $result->{wanted} ? JSON::PP::true : JSON::PP::false;
	}
	return $result;
}

sub figure
{
	my ($value) = @_;

	return '' unless defined $value;
	return sprintf '%.0f', $value if $value >= 1000;
	return sprintf $value >= 10 ? '%.1f' : '%.2f', $value;
}

sub print_table
{
	my (@results) = @_;
	my $format = "%-28s %12s %12s %-12s %7s %9s %-4s %s\n";

	printf $format, 'what', 'tapdata', 'reference', 'unit', 'ratio', 'wanted', 'met', 'of';
	for my $result (@results)
	{
		printf $format, $result->{name}, figure($result->{tapdata}),
		  figure($result->{reference}), $result->{unit}, figure($result->{ratio}),
		  defined $result->{below} ? "< $result->{below}" : ">= $result->{wanted}",
		  $result->{met} ? 'yes' : 'NO',
		  join ', ', grep { defined } @$result{qw(detail reference_name)};
	}
	return;
}

sub write_file
{
	my ($folder, %content) = @_;
	my $file = "$folder/" . strftime('%Y%m%d-%H%M%S', localtime) . '.json';

	mkdir $folder;
	open my $handle, '>', $file or die "$file: $!\n";
	print $handle JSON::PP->new->pretty->canonical->encode(\%content);
	close $handle;
	return $file;
}

sub read_file
{
	my ($file) = @_;

	open my $handle, '<', $file or die "$file: $!\n";
	local $/;
	return decode_json(<$handle>);
}

# Old and new figure of everything that is in both files.
sub compare
{
	my ($old_file, $new_file) = @_;
	my ($old, $new) = map { read_file($_) } $old_file, $new_file;
	my %was = map { $_->{name} => $_ } @{ $old->{results} };
	my $format = "%-28s %12s %12s %-12s %9s %12s %12s\n";

	warn "the runs differ in scale: $old->{scale} and $new->{scale}\n"
	  if $old->{scale} != $new->{scale};
	printf $format, 'what', 'old', 'new', 'unit', 'change', 'old ratio', 'new ratio';
	for my $result (grep { $was{ $_->{name} } } @{ $new->{results} })
	{
		my $before = $was{ $result->{name} };
		printf $format, $result->{name}, figure($before->{tapdata}),
		  figure($result->{tapdata}), $result->{unit},
		  $before->{tapdata} > 0
		  ? sprintf('%+.1f %%', 100 * ($result->{tapdata} / $before->{tapdata} - 1))
		  : '', figure($before->{ratio}), figure($result->{ratio});
	}
	return;
}

1;
