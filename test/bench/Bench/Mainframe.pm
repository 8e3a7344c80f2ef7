# test/bench/Bench/Mainframe.pm
#	  Records that a COBOL program wrote, made into rows.
#
# What is measured is the decoding alone, by the CPU time of the server's process: rows are made
# and forgotten. The copybook is that of the tests, which has items of every kind.

package Bench::Mainframe;

use strict;
use warnings;

use File::Basename;

my $sources = dirname(__FILE__) . '/../../cobol';

sub run
{
	my ($machine, $scale) = @_;
	my $count = int(200_000 * $scale) || 1;
	my $hub = $machine->{hub};
	my $file = "$machine->{folder}/hub/accounts.dat";
	my $program = "$machine->{folder}/accounts";
	my $best;

	system('cobc', '-x', '-O2', '-I', $sources, '-o', $program, "$sources/accounts.cob") == 0
	  or die "accounts.cob cannot be compiled\n";
	{
		local @ENV{qw(OUT_NAME HOW_MANY)} = ("$program.dat", $count);
		system("'$program' >'$program.txt' && cat '$program.dat' >'$file'") == 0
		  or die "accounts.cob cannot write its file\n";
	}
	my $copybook = do { local (@ARGV, $/) = ("$sources/accounts.cpy"); <> };
	$copybook =~ s/'/''/g;
	$hub->run("CREATE FUNCTION cobol_read(text, bytea, text[]) RETURNS float8[]
		LANGUAGE c STRICT AS 'test_cobol'");
	for (1 .. 3)
	{
		my $answer = $hub->value("SELECT cobol_read('fixed', pg_read_binary_file('$file'),
			ARRAY['copybook_text', '$copybook', 'code_page', 'ASCII', 'dialect', 'gnucobol'])");
		my ($records, $seconds) = $answer =~ /^\{([\d.]+),([\d.e-]+)\}$/ or die "unexpected answer: $answer\n";

		die "$records records were read instead of $count\n" if $records != $count;
		my $rate = (-s $file) / 1e6 / $seconds;
		$best = $rate if !defined $best || $rate > $best;
	}
	$hub->run('DROP FUNCTION cobol_read');
	unlink $file, $program, "$program.dat", "$program.txt";
	return {
		name => 'mainframe records to rows',
		unit => 'MB/s',
		tapdata => $best,
		reference => 100,
		reference_name => '100 MB/s of CPU time',
		wanted => 1,
		detail => "$count records"
	};
}

1;
