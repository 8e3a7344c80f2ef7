#!/usr/bin/env perl
# test/bench/bench.pl
#	  Measures tapdata against what PostgreSQL does by itself; see README.md.
#
# usage: bench.pl [PART...]			(those of @order below; all of them)
#		 bench.pl compare OLD NEW	(two files of results/)

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Bench::Backlog;
use Bench::Copy;
use Bench::Decode;
use Bench::Files;
use Bench::Idle;
use Bench::Kafka;
use Bench::KafkaSource;
use Bench::Latency;
use Bench::Machine;
use Bench::Mainframe;
use Bench::Memory;
use Bench::Outgoing;
use Bench::PostgresCopy;
use Bench::PostgresStream;
use Bench::Report;

my %parts = (
	copy => \&Bench::Copy::run,
	backlog => \&Bench::Backlog::run,
	latency => \&Bench::Latency::run,
	memory => \&Bench::Memory::run,
	idle => \&Bench::Idle::run,
	decode => \&Bench::Decode::run,
	outgoing => \&Bench::Outgoing::run,
	kafka => \&Bench::Kafka::run,
	'kafka-source' => \&Bench::KafkaSource::run,
	'postgres-snapshot' => \&Bench::PostgresCopy::run,
	'postgres-stream' => \&Bench::PostgresStream::run,
	csv => \&Bench::Files::run,
	mainframe => \&Bench::Mainframe::run);
my @order = qw(copy backlog latency memory idle decode outgoing kafka kafka-source postgres-snapshot postgres-stream csv mainframe);
my $machine;

END
{
	local $?;
	$machine->stop if $machine;
}

$SIG{$_} = sub { die "ended by SIG$_[0]\n" } for qw(HUP INT TERM);
$| = 1;

if (@ARGV == 3 && $ARGV[0] eq 'compare')
{
	Bench::Report::compare(@ARGV[ 1, 2 ]);
	exit 0;
}
measure(@ARGV ? @ARGV : @order);

sub measure
{
	my (@wanted) = @_;
	my $scale = $ENV{BENCH_SCALE} || 1;
	my @results;

	for my $part (@wanted)
	{
		die "unknown part \"$part\"; known are: @order\n" unless $parts{$part};
	}
	$machine = Bench::Machine->new;
	$machine->start;
	for my $part (@wanted)
	{
		print STDERR "measuring $part ...\n";
		my @measured = map { Bench::Report::judge($_) } $parts{$part}->($machine, $scale);
		push @results, @measured;
	}
	Bench::Report::print_table(@results);
	my $file = Bench::Report::write_file(
		"$FindBin::RealBin/results",
		at => scalar gmtime,
		scale => $scale + 0,
		cores => scalar(grep { /^processor/ } read_lines('/proc/cpuinfo')),
		postgres => $machine->{hub}->value('SHOW server_version'),
		mariadb => $machine->{source}{version},
		results => \@results);
	print "written to $file\n";
	exit((grep { !$_->{met} } @results) ? 1 : 0) if $ENV{BENCH_STRICT};
	return;
}

sub read_lines
{
	my ($file) = @_;

	open my $handle, '<', $file or return;
	return <$handle>;
}
