# test/lib/Tapdata/Cobol.pm
#	  COBOL programs that make files of records, compiled when a test runs.

=pod

=head1 NAME

Tapdata::Cobol - what GnuCOBOL writes

=head1 SYNOPSIS

  Tapdata::Cobol->require;
  my $program = Tapdata::Cobol->compile('accounts', '-std=default');
  my @printed = $program->run("$folder/accounts.dat", HOW_MANY => 100);
  my $copybook = Tapdata::Cobol->copybook('accounts');

=cut

package Tapdata::Cobol;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Utils ();
use Test::More;

my $sources = abs_path(dirname(__FILE__) . '/../../cobol');
my $compiled = 0;

# Skips the test where there is no compiler, unless servers are required.
sub require
{
	return if grep { -x "$_/cobc" } split /:/, $ENV{PATH};
	BAIL_OUT('GnuCOBOL is missing: test/services/install.sh test') if $ENV{TAPDATA_REQUIRE_SERVERS};
	plan skip_all => 'there is no GnuCOBOL';
	return;
}

# The text of test/cobol/$name.cpy.
sub copybook
{
	my ($class, $name) = @_;
	return PostgreSQL::Test::Utils::slurp_file("$sources/$name.cpy");
}

# test/cobol/$name.cob as a program.
sub compile
{
	my ($class, $name, @flags) = @_;
	my $binary = PostgreSQL::Test::Utils::tempdir() . "/$name";
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'cobc', '-x', @flags, '-I', $sources, '-o', $binary, "$sources/$name.cob" ],
		'>', \$out, '2>', \$err)
	  or die "cobc cannot compile $name: $out$err";
	return bless { binary => $binary }, $class;
}

# Writes the file; returns the lines that the program prints. %environment is for it.
sub run
{
	my ($self, $file, %environment) = @_;
	my ($out, $err) = ('', '');
	local %ENV = (%ENV, OUT_NAME => $file, %environment);

	IPC::Run::run([ $self->{binary} ], '>', \$out, '2>', \$err) or die "$self->{binary} fails: $out$err";
	return map { s/\s+$//r } split /\n/, $out;
}

1;
