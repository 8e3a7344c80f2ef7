# test/bench/Bench/Session.pm
#	  A client program that stays connected and is asked again and again.

package Bench::Session;

use strict;
use warnings;

use IPC::Open2;

use constant END_OF_ANSWER => 'end of answer';

# Bench::Session->new($name, @command): psql or mariadb, printing rows only.
sub new
{
	my ($class, $name, @command) = @_;
	my $pid = open2(my $from, my $to, @command);

	$to->autoflush(1);
	return bless { name => $name, pid => $pid, from => $from, to => $to }, $class;
}

# Runs statements and returns the lines they print; dies with the program, which ends
# at the first error and has printed it.
sub run
{
	my ($self, $sql) = @_;
	my @lines;

	print { $self->{to} } "$sql;\nSELECT '${\ END_OF_ANSWER}';\n";
	while (defined(my $line = readline $self->{from}))
	{
		chomp $line;
		return @lines if $line eq END_OF_ANSWER;
		push @lines, $line;
	}
	die "$self->{name} failed at: " . substr($sql, 0, 500) . "\n";
}

# The first line of what a query prints.
sub value
{
	my ($self, $sql) = @_;

	return ($self->run($sql))[0];
}

sub close
{
	my ($self) = @_;

	CORE::close $self->{to};
	CORE::close $self->{from};
	waitpid $self->{pid}, 0;
	return;
}

1;
