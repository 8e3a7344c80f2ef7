# test/lib/Tapdata/Kafka.pm
#	  A real, throw-away Apache Kafka for TAP tests, and how to read it.

=pod

=head1 NAME

Tapdata::Kafka - a Kafka broker of the test's own

=head1 SYNOPSIS

  Tapdata::Kafka->require;
  my $kafka = Tapdata::Kafka->start(
      arguments => ['auto.create.topics.enable=false']);
  my $uri = $kafka->uri;

  $kafka->create_topic('shop.orders', partitions => 3);
  my @records = $kafka->wait_for_records('shop.orders', 10);
  is($records[0]{key}, '{"id":1}');
  is(from_json($records[0]{value})->{after}{id}, 1);
  is($records[0]{headers}{lsn}, '0/15D6E90');

  $kafka->kill9;
  $kafka->restart;

Topics are read by kcat and by Kafka's own console consumer, never by code of ours.
See Tapdata::Service for start, stop, kill9, restart, freeze and thaw.

=cut

package Tapdata::Kafka;

use strict;
use warnings;
use parent 'Tapdata::Service';

use Exporter 'import';
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(from_json publish folded);

# booleans and numbers of any size compare by is() as they were written
my $json = JSON::PP->new->utf8->allow_nonref->allow_bignum->boolean_values('false', 'true');

# kcat itself waits 5 seconds for what a busy broker says of itself, and then gives up
my $answer_seconds = 60;

# what kcat prints is bytes, whatever the values are
my $envelope = JSON::PP->new->latin1->allow_nonref;

sub script { return 'kafka'; }

sub bootstrap
{
	my ($self) = @_;

	return $self->host . ':' . $self->port;
}

=pod

=head2 $kafka->uri

As tapdata.connect() takes it.

=cut

sub uri
{
	my ($self, @other) = @_;

	# callers that do not know what they connect to name a database first
	shift @other if @other % 2;
	my %other = @other;
	return sprintf 'kafka://%s:%d', $self->host, $other{port} || $self->port;
}

=pod

=head2 publish($hub, $kafka, $name, $tables, $options, %arguments)

Connects $kafka as connection $name and publishes to it the tables that match the
patterns, by a pipeline of the same name. $options is a hash; uri replaces the broker's,
connection_options (a hash) are those of the connection.

=cut

sub publish
{
	my ($hub, $kafka, $name, $tables, $options, %arguments) = @_;
	my $uri = $arguments{uri} || $kafka->uri;
	my $patterns = join ',', map { "'$_'" } @$tables;
	my ($connection_options, $pipeline_options) =
	  map { $json->canonical->encode($_ || {}) =~ s/'/''/gr } $arguments{connection_options}, $options;

	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('$name', '$uri', '$connection_options');
		SELECT tapdata.publish('$name', '$name', ARRAY[$patterns], '$pipeline_options');));
	return;
}

=pod

=head2 folded(@records)

What a table is after these records of rows: a hash of the last value of each key, without
those that a tombstone took away.

=cut

sub folded
{
	my %rows;

	for my $record (@_)
	{
		if (defined $record->{value})
		{
			$rows{ $record->{key} } = $record->{value};
		}
		else
		{
			delete $rows{ $record->{key} };
		}
	}
	return \%rows;
}

=pod

=head2 from_json($text)

The value of JSON text; its booleans are 'true' and 'false'.

=cut

sub from_json
{
	my ($text) = @_;

	return defined $text ? $json->decode($text) : undef;
}

=pod

=head2 $kafka->tool($class, @arguments)

Runs one of Kafka's command line tools and returns what it printed.

=cut

sub tool
{
	my ($self, $class, @arguments) = @_;

	return $self->_tool('', $class, @arguments);
}

sub _tool
{
	my ($self, $in, $class, @arguments) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(
		[
			"$Tapdata::Service::services/kafka.sh", 'tool', $class,
			'--bootstrap-server', $self->bootstrap, @arguments
		],
		'<', \$in, '>', \$out, '2>', \$err)
	  or die "$class @arguments: $out$err";
	return $out;
}

=pod

=head2 $kafka->kcat(@arguments)

A command that runs kcat with this broker.

=cut

sub kcat
{
	my ($self, @arguments) = @_;

	return ('kcat', '-m', $answer_seconds, '-b', $self->bootstrap, @arguments);
}

=pod

=head2 $kafka->create_topic($name, partitions => $n, config => {...}), $kafka->add_partitions($name, $n)

Return when the broker tells of all the partitions, which it does a moment after they were made.

=head2 $kafka->topics

The names of all topics but those that Kafka itself keeps.

=cut

sub create_topic
{
	my ($self, $name, %arguments) = @_;
	my $config = $arguments{config} || {};

	$self->tool(
		'org.apache.kafka.tools.TopicCommand', '--create', '--topic', $name,

		# the tool asks again when a busy broker has not answered yet, and has created it
		'--if-not-exists',
		'--partitions', $arguments{partitions} || 1,
		map { ('--config', "$_=$config->{$_}") } sort keys %$config);
	return $self->_await_partitions($name, $arguments{partitions} || 1);
}

sub add_partitions
{
	my ($self, $name, $count) = @_;

	$self->tool('org.apache.kafka.tools.TopicCommand', '--alter', '--topic', $name, '--partitions', $count);
	return $self->_await_partitions($name, $count);
}

sub _await_partitions
{
	my ($self, $name, $count) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ((grep { $_->{leader} >= 0 } map { @{ $_->{partitions} } } grep { $_->{topic} eq $name } $self->_metadata) >= $count)
	{
		die "topic $name does not get $count partitions" if time > $deadline;
		sleep 0.02;
	}
	return;
}

sub topics
{
	my ($self) = @_;

	return sort grep { !/^__/ } map { $_->{topic} } $self->_metadata;
}

# What the broker tells of all topics.
sub _metadata
{
	my ($self) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $self->kcat('-L', '-J') ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "kcat: $err";
	return @{ $envelope->decode($out)->{topics} };
}

=pod

=head2 $kafka->produce($topic, [$key, $value], ...)

Writes records of text without tabs and line ends; an undefined value is a tombstone.

=head2 $kafka->produce_by_java($topic, [$key, $value], ...)

The same by Kafka's own producer, which chooses partitions as Java programs do. No
tombstones.

=cut

sub produce_by_java
{
	my ($self, $topic, @records) = @_;

	$self->_tool(join('', map { "$_->[0]\t$_->[1]\n" } @records),
		'org.apache.kafka.tools.ConsoleProducer', '--topic', $topic,
		'--reader-property', 'parse.key=true');
	return;
}

sub produce
{
	my ($self, $topic, @records) = @_;
	my $in = join '', map { "$_->[0]\t" . (defined $_->[1] ? $_->[1] : '') . "\n" } @records;
	my $err = '';

	IPC::Run::run([ $self->kcat('-P', '-t', $topic, '-K', "\t", '-Z') ],
		'<', \$in, '2>', \$err)
	  or die "kcat: $err";
	return;
}

=pod

=head2 $kafka->records($topic, isolation => 'read_committed')

All records of a topic by partition and offset, as hashes of topic, partition,
offset, ts (ms), key, value (bytes; undef: null), headers (a hash); in scalar context
their number. Those of transactions that were not committed are left out, unless isolation
is 'read_uncommitted'. A topic that is not there has none.

=cut

sub records
{
	my ($self, $topic, %arguments) = @_;
	my $isolation = $arguments{isolation} || 'read_committed';
	my ($out, $err) = ('', '');

	IPC::Run::run(
		[
			$self->kcat('-C', '-J', '-e', '-q', '-t', $topic),
			'-o', 'beginning', '-X', "isolation.level=$isolation",
			'-X', 'check.crcs=true',

			# where records keep coming, a reader that waited for them never meets the end
			'-X', 'fetch.wait.max.ms=0'
		],
		'<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default))
	  or $err =~ /Unknown topic or partition/
	  or die "kcat: $err";
	my @records = map { _record($_) } split /\n/, $out;
	return
	  sort { $a->{partition} <=> $b->{partition} || $a->{offset} <=> $b->{offset} } @records
	  if wantarray;
	return scalar @records;
}

sub _record
{
	my ($line) = @_;
	my $record = $envelope->decode($line);

	$record->{value} = delete $record->{payload};
	$record->{headers} = { @{ $record->{headers} || [] } };
	return $record;
}

=pod

=head2 $kafka->settled_records($topic), $kafka->settle($topic)

The same when no transaction is open any more in the topic. Kafka promises to end a
transaction before it says that it was committed, but makes that visible a moment later.
settle() only waits for that.

=cut

sub settled_records
{
	my ($self, $topic) = @_;

	$self->settle($topic);
	return $self->records($topic);
}

sub settle
{
	my ($self, $topic) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($self->_end($topic, 'read_committed') eq $self->_end($topic, 'read_uncommitted'))
	{
		die "a transaction stays open in topic $topic" if time > $deadline;
		sleep 0.02;
	}
	return;
}

=pod

=head2 $kafka->count($topic)

How many records at read_committed there are when no transaction is open any more, for topics
that are too large to be looked at.

=cut

sub count
{
	my ($self, $topic) = @_;
	my ($out, $err) = ('', '');

	$self->settle($topic);
	IPC::Run::run(
		[
			$self->kcat('-C', '-e', '-q', '-t', $topic), '-o', 'beginning',
			'-X', 'isolation.level=read_committed', '-f', '.'
		],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "kcat: $err";
	return length $out;
}

# The ends of all partitions, as kcat prints them.
sub _end
{
	my ($self, $topic, $isolation) = @_;
	my ($out, $err) = ('', '');

	$self->{partitions}{$topic} ||= $self->_partitions($topic) || return '';
	IPC::Run::run(
		[
			$self->kcat('-Q'), '-X', "isolation.level=$isolation",
			map { ('-t', "$topic:$_:-1") } 0 .. $self->{partitions}{$topic} - 1
		],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "kcat: $err";
	return join "\n", sort split /\n/, $out;
}

sub _partitions
{
	my ($self, $topic) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $self->kcat('-L', '-J', '-t', $topic) ],
		'<', \undef, '>', \$out, '2>', \$err)
	  or die "kcat: $err";
	return scalar @{ $envelope->decode($out)->{topics}[0]{partitions} };
}

=pod

=head2 $kafka->wait_for_records($topic, $wanted, %arguments)

Reads the topic until it has that many records, or, where $wanted is a function, until
that is true for the list of them. A failed test on timeout. Returns the records.

=cut

sub wait_for_records
{
	my ($self, $topic, $wanted, %arguments) = @_;
	my $deadline = time + ($arguments{timeout} || $PostgreSQL::Test::Utils::timeout_default);
	my $enough = ref $wanted ? $wanted : sub { return @_ >= $wanted; };
	my (@records, $error);

	do
	{
		# the broker may be about to come back
		$error = eval { @records = $self->records($topic, %arguments); 1 } ? '' : $@;
		return @records if !$error && $enough->(@records);
		sleep 0.1;
	} while (time < $deadline);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	fail("topic $topic has what it should" . (ref $wanted ? '' : " ($wanted records)"));
	diag $error if $error;
	diag scalar(@records) . ' records; the last ones:';
	diag $envelope->encode($_) for @records > 5 ? @records[ -5 .. -1 ] : @records;
	return @records;
}

=pod

=head2 $kafka->avro_records($registry, $topic, $count)

The values of the first $count records at read_committed, read by Kafka's console consumer
and decoded by the registry's own deserializer: pairs of decoded key and value. None of
them may be a tombstone, which that consumer takes to its deserializer too.

=cut

sub avro_records
{
	my ($self, $registry, $topic, $count) = @_;
	my $deserializer = 'io.apicurio.registry.serde.avro.AvroKafkaDeserializer';
	my %settings = (
		'apicurio.registry.url' => $registry->url =~ s,/apis/ccompat/.*,/apis/registry/v2,r,
		'apicurio.registry.as-confluent' => 'true',
		'apicurio.registry.use-id' => 'contentId');
	my @settings = map {
		my $side = $_;
		('--formatter-property', "$side.deserializer=$deserializer",
			map { ('--formatter-property', "$side.deserializer.$_=$settings{$_}") } sort keys %settings);
	} qw(key value);
	my $out = $self->tool(
		'org.apache.kafka.tools.consumer.ConsoleConsumer', '--topic', $topic,
		'--from-beginning', '--isolation-level', 'read_committed',
		'--max-messages', $count, '--timeout-ms', 1000 * $PostgreSQL::Test::Utils::timeout_default, @settings,
		'--formatter-property', 'print.key=true',
		'--formatter-property', 'key.separator= => ');

	return map { [ map { from_json($_) } split / => /, $_, 2 ] } split /\n/, $out;
}

1;
