# test/lib/Tapdata/Proxy.pm
#	  A TCP proxy on loopback that breaks connections in the ways networks do.

=pod

=head1 NAME

Tapdata::Proxy - a TCP proxy that can cut, stall, slow and refuse connections

=head1 SYNOPSIS

  use Tapdata::Proxy;

  my $proxy = Tapdata::Proxy->start(port => $server->port);

  $proxy->port;           # connect here
  $proxy->cut;            # resets all open connections; new ones are let through
  $proxy->refuse;         # cuts, and closes new ones at once, until resume
  $proxy->stall;          # forwards nothing, closes nothing, until resume
  $proxy->slow(100_000);  # bytes a second in each direction, until resume
  $proxy->resume;
  $proxy->stop;

Every call returns when the proxy process has done it.

=cut

package Tapdata::Proxy;

use strict;
use warnings;

use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM SOL_SOCKET SO_LINGER);
use Time::HiRes qw(time);

use constant BUFFER_BYTES => 65536;
use constant SLOW_SLICE_SECONDS => 0.05;

my @running;

sub start
{
	my ($class, %arguments) = @_;
	my $listener = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => 0,
		Listen => 64,
		ReuseAddr => 1) or die "proxy cannot listen: $!";

	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC)
	  or die "socketpair: $!";
	my $pid = fork();
	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		close $ours;
		my $served = eval {
			_serve($listener, $theirs, $arguments{host} || '127.0.0.1',
				$arguments{port});
			1;
		};
		print STDERR "proxy: $@" unless $served;

		# without the test's END blocks
		POSIX::_exit($served ? 0 : 1);
	}
	close $theirs;
	$ours->autoflush(1);

	my $self = bless {
		pid => $pid,
		control => $ours,
		port => $listener->sockport,
		owner => $$
	}, $class;
	push @running, $self;
	return $self;
}

sub port { return shift->{port}; }
sub cut { return shift->_command('cut'); }
sub refuse { return shift->_command('refuse'); }
sub stall { return shift->_command('stall'); }
sub slow { return shift->_command("slow $_[0]"); }
sub resume { return shift->_command('resume'); }

sub stop
{
	my ($self) = @_;

	return unless $self->{pid} && $self->{owner} == $$;

	# other children of the test may hold the socket too: close() would not do
	shutdown $self->{control}, 2;
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

sub _command
{
	my ($self, $command) = @_;

	print { $self->{control} } "$command\n";
	my $answer = readline $self->{control};
	die "proxy is gone\n" unless defined $answer && $answer eq "ok\n";
	return;
}

END
{
	local $?;
	$_->stop for grep { $_->{owner} == $$ } @running;
}

# ---------------------------------------------------------------------
# The proxy process
#
# A link is one accepted connection: two ends, each with the bytes read from
# it that the other end has not taken yet.
# ---------------------------------------------------------------------

sub _serve
{
	my ($listener, $control, $host, $port) = @_;
	my $state = { mode => 'normal', rate => 0, links => {} };

	local $SIG{PIPE} = 'IGNORE';
	while (1)
	{
		my ($readers, $writers) = _interests($state, $listener, $control);
		my ($readable, $writable) =
		  IO::Select->select($readers, $writers, undef,
			$state->{mode} eq 'slow' ? SLOW_SLICE_SECONDS : undef);

		# what is obeyed holds for all that is ready to be forwarded
		if (grep { $_ == $control } @{ $readable || [] })
		{
			return unless _obey($state, $control);
			next;
		}
		for my $handle (@{ $readable || [] })
		{
			if ($handle == $listener)
			{
				_accept($state, $listener, $host, $port);
			}
			else
			{
				_read_from($state, $handle);
			}
		}
		_write_to($state, $_) for @{ $writable || [] };
		_refill($state) if $state->{mode} eq 'slow';
	}
	return;
}

# What to wait for: bytes where there is room for them, room where there are bytes.
sub _interests
{
	my ($state, $listener, $control) = @_;
	my $readers = IO::Select->new($control, $listener);
	my $writers = IO::Select->new;

	return ($readers, $writers) if $state->{mode} eq 'stall';
	for my $end (values %{ $state->{links} })
	{
		$readers->add($end->{handle})
		  if !$end->{finished} && length $end->{bytes} < BUFFER_BYTES;
		$writers->add($end->{peer}{handle})
		  if length $end->{bytes} && $end->{allowance} > 0;
	}
	return ($readers, $writers);
}

sub _obey
{
	my ($state, $control) = @_;
	my $read = sysread $control, my $line, 256;
	return 0 unless $read;

	my ($mode, $rate) = $line =~ /^(\w+)(?: (\d+))?/;
	if ($mode eq 'cut' || $mode eq 'refuse')
	{
		_reset_end($state, $_) for values %{ $state->{links} };
	}
	if ($mode ne 'cut')
	{
		$state->{mode} = $mode eq 'resume' ? 'normal' : $mode;
		$state->{rate} = $rate || 0;
		$state->{refilled} = time;
		$_->{allowance} = $mode eq 'slow' ? 0 : BUFFER_BYTES
		  for values %{ $state->{links} };
	}
	syswrite $control, "ok\n";
	return 1;
}

sub _accept
{
	my ($state, $listener, $host, $port) = @_;
	my $client = $listener->accept or return;
	my $server;

	$server = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port)
	  unless $state->{mode} eq 'refuse';
	if (!$server)
	{
		_close_hard($client);
		return;
	}
	my ($left, $right) = map {
		$_->blocking(0);
		{
			handle => $_,
			bytes => '',
			allowance => $state->{mode} eq 'slow' ? 0 : BUFFER_BYTES
		}
	} ($client, $server);
	$left->{peer} = $right;
	$right->{peer} = $left;
	$state->{links}{ fileno $client } = $left;
	$state->{links}{ fileno $server } = $right;
	return;
}

sub _read_from
{
	my ($state, $handle) = @_;
	return unless defined fileno $handle;
	my $end = $state->{links}{ fileno $handle } or return;
	my $read = sysread $handle, $end->{bytes}, BUFFER_BYTES,
	  length $end->{bytes};

	return if !defined $read && ($!{EAGAIN} || $!{EINTR});
	return if $read;

	# end of this direction; the link closes when its last bytes are out
	$end->{finished} = 1;
	_drop_link($state, $end) if !defined $read || !length $end->{bytes};
	return;
}

sub _write_to
{
	my ($state, $handle) = @_;
	return unless defined fileno $handle;
	my $peer = $state->{links}{ fileno $handle } or return;
	my $end = $peer->{peer};
	my $length = length $end->{bytes};

	$length = $end->{allowance} if $length > $end->{allowance};
	my $written = syswrite $handle, $end->{bytes}, $length;
	if (!defined $written)
	{
		_drop_link($state, $end) unless $!{EAGAIN} || $!{EINTR};
		return;
	}
	substr($end->{bytes}, 0, $written, '');
	$end->{allowance} -= $written if $state->{mode} eq 'slow';
	_drop_link($state, $end) if $end->{finished} && !length $end->{bytes};
	return;
}

# Gives each direction what the rate allows for the time that has passed.
sub _refill
{
	my ($state) = @_;
	my $now = time;
	my $passed = $now - $state->{refilled};

	return if $passed < SLOW_SLICE_SECONDS;
	$state->{refilled} = $now;
	$_->{allowance} = int($passed * $state->{rate}) + 1
	  for values %{ $state->{links} };
	return;
}

sub _drop_link
{
	my ($state, $end) = @_;

	for my $one ($end, $end->{peer})
	{
		delete $state->{links}{ fileno $one->{handle} }
		  if defined fileno $one->{handle};
		close $one->{handle};
	}
	return;
}

sub _reset_end
{
	my ($state, $end) = @_;

	return unless defined fileno $end->{handle};
	delete $state->{links}{ fileno $end->{handle} };
	_close_hard($end->{handle});
	return;
}

# Closes with a reset instead of an orderly end.
sub _close_hard
{
	my ($handle) = @_;

	setsockopt $handle, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
	close $handle;
	return;
}

1;
