# test/lib/Tapdata/KafkaConnect.pm
#	  A real Kafka Connect worker with Debezium's JDBC sink for TAP tests.

=pod

=head1 NAME

Tapdata::KafkaConnect - Kafka Connect, standalone

=head1 SYNOPSIS

  my $connect = Tapdata::KafkaConnect->start_with($kafka,
      { name => 'sink', 'connector.class' => 'io.debezium.connector.jdbc.JdbcSinkConnector', ... });
  is($connect->task_state('sink'), 'RUNNING');

=cut

package Tapdata::KafkaConnect;

use strict;
use warnings;
use parent 'Tapdata::Service';

use HTTP::Tiny;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;

sub script { return 'connect'; }

my $files = 0;

=pod

=head2 CLASS->start_with($kafka, @connectors)

A worker that runs these connectors; each is a hash of its properties.

=cut

sub start_with
{
	my ($class, $kafka, @connectors) = @_;
	my @paths;

	for my $connector (@connectors)
	{
		my $path = "${PostgreSQL::Test::Utils::tmp_check}/connector$$." . ++$files . '.properties';

		append_to_file($path, join '', map { "$_=$connector->{$_}\n" } sort keys %$connector);
		push @paths, $path;
	}
	return $class->start(arguments => [ $kafka->bootstrap, @paths ]);
}

=pod

=head2 $connect->task_state($connector)

That of its first task ('RUNNING', 'FAILED', 'NONE'); in list context also the trace of
its failure.

=cut

sub task_state
{
	my ($self, $connector) = @_;
	my $answer = HTTP::Tiny->new(timeout => 30, no_proxy => '127.0.0.1')
	  ->get($self->url . "/connectors/$connector/status");
	my $task = $answer->{success} ? decode_json($answer->{content})->{tasks}[0] : undef;
	my $state = $task ? $task->{state} : 'NONE';

	return wantarray ? ($state, $task ? $task->{trace} : $answer->{content}) : $state;
}

1;
