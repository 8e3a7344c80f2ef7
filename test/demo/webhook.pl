#!/usr/bin/env perl
# test/demo/webhook.pl
#	  A webhook that writes down what it is sent, one line a change.
#
# usage: webhook.pl PORT_FILE LOG_FILE
#
# Listens on a free loopback port, which it writes to PORT_FILE, until it is terminated.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP;

my ($port_file, $log_file) = @ARGV;
my $server = IO::Socket::INET->new(
	Listen => 8,
	LocalAddr => '127.0.0.1',
	ReuseAddr => 1) or die "no port to listen on: $@\n";
my $select = IO::Select->new($server);
my %unread;

$SIG{TERM} = sub { exit 0 };
$SIG{PIPE} = 'IGNORE';
open my $log, '>>:utf8', $log_file or die "$log_file: $!\n";
$log->autoflush(1);
write_port($server->sockport);

while (my @ready = $select->can_read)
{
	for my $socket (@ready)
	{
		if ($socket == $server)
		{
			$select->add(scalar $server->accept);
		}
		elsif (!serve($socket))
		{
			$select->remove($socket);
			delete $unread{$socket};
			close $socket;
		}
	}
}

# At once, so that nobody reads half a number.
sub write_port
{
	my ($port) = @_;

	open my $file, '>', "$port_file.new" or die "$port_file.new: $!\n";
	print $file "$port\n";
	close $file;
	rename "$port_file.new", $port_file or die "$port_file: $!\n";
	return;
}

# Takes what has come; false when the client is gone.
sub serve
{
	my ($socket) = @_;

	sysread($socket, my $bytes, 65536) or return 0;
	$unread{$socket} .= $bytes;
	while ($unread{$socket} =~ /^(.*?\r\n\r\n)/s)
	{
		my $head = $1;
		my ($length) = $head =~ /^content-length: *(\d+)/im;

		$length ||= 0;
		return 1 if length $unread{$socket} < length($head) + $length;
		write_changes(substr $unread{$socket}, length $head, $length);
		substr($unread{$socket}, 0, length($head) + $length) = '';
		print $socket "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
	}
	return 1;
}

sub write_changes
{
	my ($body) = @_;
	my $json = JSON::PP->new->utf8->canonical;

	return if $body eq '';
	for my $change (@{ $json->decode($body) })
	{
		my $row = $change->{after} || $change->{key} || {};
		print $log "$change->{op} $change->{schema}.$change->{table} "
		  . substr(JSON::PP->new->canonical->encode($row), 0, 100) . "\n";
	}
	return;
}
