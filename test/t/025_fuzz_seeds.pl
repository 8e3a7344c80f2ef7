# What fuzzing has reached, and what it has found, is read once more by all parsers
# of bytes that come from elsewhere, under the sanitizers: see test/fuzz.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $fuzz = "$FindBin::RealBin/../fuzz";
my @targets = map { m{(\w+)_fuzz\.c$} } glob("$fuzz/*_fuzz.c");

# Whether these files are read without a crash, a leak, or a promise that does not hold.
sub replayed
{
	my ($target, $output, @files) = @_;

	return IPC::Run::run([ "$fuzz/${target}_replay", @files ], '<', \undef, '>&', $output);
}

foreach my $target (@targets)
{
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $output = '';

	system_or_bail($^X, "$fuzz/seeds.pl", $target, $folder);
	my @files = glob("$folder/*");
	cmp_ok(scalar @files, '>=', 20, "$target: there are seeds");
	next if ok(replayed($target, \$output, @files), "$target: seeds are replayed");
	diag($output);
	diag(join ' ', 'of these:', map { m{([^/]+)$} } grep { !replayed($target, \$output, $_) } @files);
}
is(scalar @targets, 5, 'all parsers have seeds');
done_testing();
