# test/lib/Tapdata/Service.pm
#	  What the throw-away services of TAP tests share that a script starts.

=pod

=head1 NAME

Tapdata::Service - a service of test/services/*.sh, of the test's own

=head1 SYNOPSIS

  package Tapdata::SchemaRegistry;
  use parent 'Tapdata::Service';
  sub script { return 'registry'; }

  my $registry = Tapdata::SchemaRegistry->start;
  $registry->kill9;
  $registry->restart;

A subclass names the script. Everything that the script writes to DIR/env is a
field of the object, in lower case. The service listens on a free loopback port which
it keeps over restarts, and is stopped when the test ends.

=cut

package Tapdata::Service;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname fileparse);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

our $services = abs_path(dirname(__FILE__) . '/../../services');

my @running;
my $sequence = 0;

# a killed test stops its services too
$SIG{$_} ||= sub { die "terminated by SIG$_[0]\n" }
  for qw(HUP INT TERM);

=pod

=head2 CLASS->available

Whether it can be started here. In list context also the reason why not.

=head2 CLASS->require

Skips the whole script when it cannot; with TAPDATA_REQUIRE_SERVERS=1 in the
environment that is a failure.

=cut

sub available
{
	my ($class) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ "$services/${\ $class->script }.sh", 'available' ],
		'<', \undef, '>', \$out, '2>', \$err);

	$err =~ s/^skip: //;
	chomp $err;
	return wantarray ? ($ok, $err) : $ok;
}

sub require
{
	my ($class) = @_;
	my ($available, $reason) = $class->available;

	return if $available;
	BAIL_OUT("$class is required but: $reason") if $ENV{TAPDATA_REQUIRE_SERVERS};
	plan skip_all => $reason;
	return;
}

=pod

=head2 CLASS->start(%arguments)

name distinguishes services of one test, arguments is what the script takes behind
the folder.

=cut

sub start
{
	my ($class, %arguments) = @_;
	my $name = $arguments{name} || $class->script . ++$sequence;
	my $test = (fileparse($0, '.pl'))[0];
	my $self = bless {
		name => $name,
		arguments => $arguments{arguments} || [],
		directory => "${PostgreSQL::Test::Utils::tmp_check}/t_${test}_$name",
		owner => $$
	}, $class;

	$self->_launch;
	push @running, $self;
	return $self;
}

# Runs the service script; dies with what it printed.
sub _service
{
	my ($self, @command) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ "$services/${\ $self->script }.sh", @command ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "${\ $self->script } $command[0]: $err";
	return;
}

sub _launch
{
	my ($self) = @_;

	$self->_service('start', $self->{directory}, @{ $self->{arguments} });
	for my $line (split /\n/, slurp_file("$self->{directory}/env"))
	{
		my ($name, $value) = split /=/, $line, 2;
		$self->{ lc $name } = $value;
	}
	return;
}

=pod

=head2 stop, kill9, restart(@arguments), freeze, thaw

stop is orderly, kill9 is not. restart starts it on the same port after either,
or stops it first; given arguments replace the former ones. A frozen service keeps its
connections and answers nothing until it is thawed.

=cut

sub stop
{
	my ($self) = @_;

	$self->thaw;
	$self->_service('stop', $self->{directory});
	return;
}

sub kill9
{
	my ($self) = @_;

	$self->_service('kill', $self->{directory});
	delete $self->{frozen};
	return;
}

sub restart
{
	my ($self, @arguments) = @_;

	$self->stop;
	$self->{arguments} = [@arguments] if @arguments;
	$self->_launch;
	return;
}

sub freeze
{
	my ($self) = @_;

	kill 'STOP', $self->{pid} or die "kill: $!";
	$self->{frozen} = 1;
	return;
}

sub thaw
{
	my ($self) = @_;

	kill 'CONT', $self->{pid} if delete $self->{frozen};
	return;
}

=pod

=head2 host, port, url, directory, log

Where it listens; its folder; what it wrote to its log.

=cut

sub host { return shift->{host}; }
sub port { return shift->{port}; }
sub url { return shift->{url}; }
sub directory { return shift->{directory}; }
sub log { return slurp_file(shift->{directory} . '/server.log'); }

END
{
	# stop services, but leave the exit code of the test alone
	local $?;
	for my $service (grep { $_->{owner} == $$ } reverse @running)
	{
		eval { $service->stop; 1 } or warn $@;
	}
}

1;
