# test/lib/Tapdata/MySQL.pm
#	  A real, throw-away MariaDB or MySQL for TAP tests.

=pod

=head1 NAME

Tapdata::MySQL - a MariaDB or MySQL server of the test's own

=head1 SYNOPSIS

  use Tapdata::MySQL;

  my $source = Tapdata::MySQL->start(
      flavour => 'mariadb',
      options => ['--binlog-row-image=MINIMAL']);

  $source->sql('CREATE DATABASE shop; CREATE TABLE shop.t (id int PRIMARY KEY)');
  $source->do('INSERT INTO shop.t VALUES (?)', 1);
  my $rows = $source->rows('SELECT * FROM shop.t');
  my $uri = $source->uri('shop');

  $source->kill9;
  $source->restart;

The server is started by test/services/mysql.sh, listens on a free loopback port
which it keeps over restarts, and is stopped when the test ends.

=cut

package Tapdata::MySQL;

use strict;
use warnings;

use Cwd qw(abs_path);
use DBI;
use File::Basename qw(dirname);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

my $services = abs_path(dirname(__FILE__) . '/../../services');

# either client speaks to either server
my $client = system('command -v mariadb >/dev/null') == 0 ? 'mariadb' : 'mysql';
my @running;
my $sequence = 0;

# a killed test stops its servers too
$SIG{$_} ||= sub { die "terminated by SIG$_[0]\n" }
  for qw(HUP INT TERM);

=pod

=head2 Tapdata::MySQL->available($flavour)

Whether a server of this flavour ('mariadb' or 'mysql') can be started here. In
list context also the reason why not.

=cut

sub available
{
	my ($class, $flavour) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ "$services/$flavour.sh", 'available' ],
		'<', \undef, '>', \$out, '2>', \$err);

	$err =~ s/^skip: //;
	chomp $err;
	return wantarray ? ($ok, $err) : $ok;
}

=pod

=head2 Tapdata::MySQL->start(%arguments)

flavour is 'mariadb' (the default) or 'mysql', name distinguishes servers of one
test, options are added to the server's command line and win over the defaults.

=cut

sub start
{
	my ($class, %arguments) = @_;
	my $flavour = $arguments{flavour} || 'mariadb';
	my $name = $arguments{name} || $flavour . ++$sequence;
	my $self = bless {
		flavour => $flavour,
		name => $name,
		options => $arguments{options} || [],
		directory =>
		  "${PostgreSQL::Test::Utils::tmp_check}/${\ test_name()}_$name",
		owner => $$
	}, $class;

	$self->_launch;
	push @running, $self;
	return $self;
}

sub test_name
{
	my $name = (File::Basename::fileparse($0, '.pl'))[0];
	return "t_$name";
}

# Runs the service script; dies with what it printed.
sub _service
{
	my ($self, @command) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ "$services/$self->{flavour}.sh", @command ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "$self->{flavour} $command[0]: $err";
	return;
}

sub _launch
{
	my ($self) = @_;

	$self->_service('start', $self->{directory}, @{ $self->{options} });
	for my $line (split /\n/, slurp_file("$self->{directory}/env"))
	{
		my ($name, $value) = split /=/, $line, 2;
		$self->{ lc $name } = $value;
	}
	return;
}

=pod

=head2 $server->stop, $server->kill9, $server->restart(@options)

stop is orderly, kill9 is not. restart starts the same data on the same port
after either, or stops the server first; given options replace the former ones.

=cut

sub stop
{
	my ($self) = @_;

	$self->disconnect;
	$self->_service('stop', $self->{directory});
	return;
}

sub kill9
{
	my ($self) = @_;

	$self->disconnect;
	$self->_service('kill', $self->{directory});
	return;
}

sub restart
{
	my ($self, @options) = @_;

	$self->stop;
	$self->{options} = [@options] if @options;
	$self->_launch;
	return;
}

=pod

=head2 host, port, socket, user, password, version, flavour, directory

What to connect to, and as whom: a user who may read and replicate everything, and
nothing more.

=head2 $server->uri($database)

A connection URI as tapdata.connect() takes it.

=cut

sub host { return shift->{host}; }
sub port { return shift->{port}; }
sub socket { return shift->{socket}; }
sub user { return shift->{user}; }
sub password { return shift->{password}; }
sub version { return shift->{version}; }
sub flavour { return shift->{flavour}; }
sub directory { return shift->{directory}; }
sub is_mariadb { return shift->{flavour} eq 'mariadb'; }

sub uri
{
	my ($self, $database, %other) = @_;
	my $port = $other{port} || $self->port;

	return sprintf('mysql://%s:%s@%s:%d/%s',
		$self->user, $self->password, $self->host, $port, $database || '');
}

=pod

=head2 $server->connect($database)

A new DBI connection of the superuser, that dies on errors. It survives a fork()
in the process that made it.

=cut

sub connect
{
	my ($self, $database) = @_;
	my $source = "DBI:MariaDB:mariadb_socket=$self->{socket}";

	$source .= ";database=$database" if $database;
	return DBI->connect($source, 'root', '',
		{
			RaiseError => 1,
			PrintError => 0,
			AutoCommit => 1,
			AutoInactiveDestroy => 1
		});
}

# The connection that this module's own calls share, made anew in a forked process.
sub _handle
{
	my ($self) = @_;

	if (!$self->{handle} || $self->{handle_owner} != $$)
	{
		$self->{handle} = $self->connect;
		$self->{handle_owner} = $$;
	}
	return $self->{handle};
}

sub disconnect
{
	my ($self) = @_;

	delete $self->{handle};
	return;
}

=pod

=head2 $server->do($sql, @values), rows($sql, @values), value($sql, @values)

Run one statement: for its effect, for an array of row arrays, for the first
column of the first row.

=cut

sub do
{
	my ($self, $sql, @values) = @_;

	return $self->_handle->do($sql, undef, @values);
}

sub rows
{
	my ($self, $sql, @values) = @_;

	return $self->_handle->selectall_arrayref($sql, undef, @values);
}

sub value
{
	my ($self, $sql, @values) = @_;
	my $row = $self->_handle->selectrow_arrayref($sql, undef, @values);

	return $row ? $row->[0] : undef;
}

=pod

=head2 $server->end_threads($condition)

Ends the connections in information_schema.PROCESSLIST that the condition is true for, and waits
until they are gone. Those that end by themselves meanwhile are no error.

=cut

sub end_threads
{
	my ($self, $condition) = @_;
	my $threads = 'SELECT ID FROM information_schema.PROCESSLIST WHERE';

	for my $thread (map { $_->[0] } @{ $self->rows("$threads $condition") })
	{
		eval { $self->do("KILL $thread"); 1 } or $@ =~ /Unknown thread/ or die $@;
		sleep 0.05 while $self->value("$threads ID = $thread");
	}
	return;
}

=pod

=head2 $server->sql($script)

Runs a script of statements as the command line client does, utf8mb4, stopping
with the first error. Returns what it printed, tabs between columns.

=cut

sub sql
{
	my ($self, $script) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(
		[
			$client, '--no-defaults', "--socket=$self->{socket}",
			'--user=root', '--batch', '--skip-column-names', '--comments',
			'--default-character-set=utf8mb4'
		],
		'<', \$script, '>', \$out, '2>', \$err)
	  or die "$self->{flavour}: $err\nin: " . substr($script, 0, 2000);
	chomp $out;
	return $out;
}

END
{
	# stop servers, but leave the exit code of the test alone
	local $?;
	for my $server (grep { $_->{owner} == $$ } @running)
	{
		eval { $server->stop; 1 } or warn $@;
	}
}

1;
