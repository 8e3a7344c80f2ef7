#!/usr/bin/env perl
# test/fuzz/seeds.pl
#	  Writes the inputs of test/fuzz/seeds/TARGET, one file each, into a folder.
#
# usage: seeds.pl TARGET FOLDER
#        seeds.pl --make FOLDER >seeds/TARGET
#
# A line of such a file is an input; bytes that are not printable are written \xHH,
# the backslash \\ and the newline \n. Together they reach what fuzzing has reached
# of the code; what was found by fuzzing and mended is among them. --make writes the
# lines for the files of a folder, such as one that this has left:
#
#     binlog_fuzz -set_cover_merge=1 -use_counters=0 -max_len=160 FOLDER CORPUS
#
# The logs of MySQL and MariaDB that the unit test reads are inputs, too.

use strict;
use warnings;

use File::Basename;

my $here = dirname(__FILE__);

sub escaped
{
	my ($bytes) = @_;

	$bytes =~ s/\\/\\\\/g;
	$bytes =~ s/\n/\\n/g;
	$bytes =~ s/([^\x20-\x7e])/sprintf('\\x%02x', ord($1))/ge;
	return $bytes;
}

sub unescaped
{
	my ($line) = @_;

	$line =~ s/\\(?:x([0-9a-f]{2})|(.))/defined $1 ? chr(hex($1)) : $2 eq 'n' ? "\n" : $2/ge;
	return $line;
}

sub contents
{
	my ($path) = @_;

	open(my $file, '<:raw', $path) or die "$path: $!\n";
	local $/ = undef;
	my $contents = <$file>;
	close($file);
	return $contents;
}

# Each after the byte that says which server wrote it.
sub binlogs
{
	my $source = contents("$here/../unit/binlog_vectors.h");
	my @logs;

	foreach my $log ([ mysql_log => 0 ], [ mariadb_log => 1 ])
	{
		my ($name, $mode) = @$log;
		my ($numbers) = $source =~ /\b$name\[\] = \{([^}]*)\}/ or die "there is no $name\n";
		push @logs, join '', chr($mode), map { chr(hex) } $numbers =~ /0x([0-9a-f]{2})/g;
	}
	return @logs;
}

sub write_seeds
{
	my ($target, $folder) = @_;
	my @seeds = map { unescaped($_) } split /\n/, contents("$here/seeds/$target");

	push @seeds, binlogs() if $target eq 'binlog';
	foreach my $i (0 .. $#seeds)
	{
		my $path = sprintf '%s/seed-%03d', $folder, $i + 1;
		open(my $file, '>:raw', $path) or die "$path: $!\n";
		print $file $seeds[$i];
		close($file) or die "$path: $!\n";
	}
	return;
}

die "usage: seeds.pl TARGET FOLDER | --make FOLDER\n" if @ARGV != 2;
if ($ARGV[0] eq '--make')
{
	print map { "$_\n" } sort map { escaped(contents($_)) } glob("$ARGV[1]/*");
}
else
{
	write_seeds(@ARGV);
}
