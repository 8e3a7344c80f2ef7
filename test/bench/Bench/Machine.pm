# test/bench/Bench/Machine.pm
#	  The servers of a measurement, and what the kernel says of their processes.
#
# Three throw-away servers on one machine: a MariaDB (the source), a PostgreSQL that
# publishes the same rows by logical replication (the reference's source), and the hub,
# a PostgreSQL with two databases: "hub", which tapdata fills, and "native", which a
# subscription fills. Both are applied by the same server with the same settings.

package Bench::Machine;

use strict;
use warnings;

use Bench::Session;
use Cwd qw(abs_path);
use DBI;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use POSIX qw(sysconf _SC_CLK_TCK _SC_PAGESIZE);
use Time::HiRes qw(sleep time);

my $services = abs_path(dirname(__FILE__) . '/../../services');

# Durable, and large enough that nobody waits for a checkpoint or the vacuum launcher.
my @postgres_settings = (
	'fsync=on', 'synchronous_commit=on',
	'full_page_writes=on', 'shared_buffers=1GB',
	'max_wal_size=16GB', 'checkpoint_timeout=1h',
	'autovacuum=off', 'maintenance_work_mem=256MB',
	'wal_level=logical', 'max_worker_processes=80',
	'max_connections=200', 'max_replication_slots=20',
	'max_wal_senders=20', 'max_logical_replication_workers=8',
	# else enabling a subscription takes up to 5 seconds
	'wal_retrieve_retry_interval=10ms');
my @mariadb_options = (
	'--innodb-buffer-pool-size=1G', '--max-connections=500',
	'--innodb-log-file-size=1G', '--max-binlog-size=1G',
	'--tmp-table-size=64M', '--binlog-row-metadata=FULL');

sub new
{
	my ($class) = @_;
	my $folder = tempdir('tapdata-bench-XXXXXX', TMPDIR => 1);

	chmod 0755, $folder;
	return bless {
		folder => $folder,
		owner => $$,
		sessions => [],
		started => []
	}, $class;
}

# Starts all servers; what was started when it dies, stop() stops.
sub start
{
	my ($self) = @_;

	$self->{source} = $self->_service('mariadb.sh', 'source', @mariadb_options);
	$self->{publisher} = $self->_service('postgres.sh', 'publisher',
		'shared_preload_libraries=tapdata', @postgres_settings);
	$self->{server} = $self->_service('postgres.sh', 'hub',
		'shared_preload_libraries=tapdata', @postgres_settings);
	$self->psql('server', 'postgres')->run('CREATE DATABASE hub');
	$self->psql('server', 'postgres')->run('CREATE DATABASE native');
	$self->{hub} = $self->psql('server', 'hub');
	$self->{native} = $self->psql('server', 'native');
	$self->{pub} = $self->psql('publisher', 'postgres');
	$self->{mariadb} = $self->mariadb;
	$self->{hub}->run('CREATE EXTENSION tapdata');
	return;
}

sub _service
{
	my ($self, $script, $name, @options) = @_;
	my $folder = "$self->{folder}/$name";
	my %env;

	system("$services/$script", 'start', $folder, @options) == 0
	  or die "$name did not start\n";
	push @{ $self->{started} }, [ $script, $folder ];
	open my $file, '<', "$folder/env" or die "$folder/env: $!\n";
	while (<$file>)
	{
		chomp;
		my ($key, $value) = split /=/, $_, 2;
		$env{ lc $key } = $value;
	}
	return \%env;
}

sub stop
{
	my ($self) = @_;

	return if $self->{owner} != $$;
	$_->close for splice @{ $self->{sessions} };
	for my $server (reverse splice @{ $self->{started} })
	{
		system("$services/$server->[0]", 'stop', $server->[1]) == 0
		  or warn "$server->[1] did not stop\n";
	}
	system('rm', '-rf', $self->{folder});
	return;
}

# A psql of its own; $server is "server" (the hub's) or "publisher".
sub psql
{
	my ($self, $server, $database) = @_;
	my $session = Bench::Session->new("psql $database", $self->program('psql'),
		'-X', '-A', '-t', '-q', '-n', '-v', 'ON_ERROR_STOP=1',
		'-h', $self->{$server}{host}, '-p', $self->{$server}{port},
		'-U', 'postgres', $database);

	push @{ $self->{sessions} }, $session;
	return $session;
}

# The path of one of PostgreSQL's own programs.
sub program
{
	my ($self, $name) = @_;
	my $config = $ENV{PG_CONFIG} || 'pg_config';

	chomp(my $bin = `$config --bindir`);
	return "$bin/$name";
}

# The statement that makes a tapdata connection to a database of one of the two servers.
sub connect_postgres
{
	my ($self, $name, $server, $database) = @_;
	my $uri = "postgres://postgres\@localhost:$self->{$server}{port}/$database";

	return "SELECT tapdata.connect('$name', '$uri', '{\"socket\": \"$self->{$server}{host}\"}')";
}

sub mariadb
{
	my ($self) = @_;
	my $session = Bench::Session->new('mariadb', 'mariadb', '--no-defaults',
		"--socket=$self->{source}{socket}", '--user=root', '--batch',
		'--skip-column-names', '--unbuffered');

	push @{ $self->{sessions} }, $session;
	return $session;
}

# A DBI connection to the source, for a forked client.
sub dbi
{
	my ($self, $database) = @_;

	return DBI->connect(
		"DBI:MariaDB:mariadb_socket=$self->{source}{socket};database=$database",
		'root', '', { RaiseError => 1, PrintError => 0 });
}

# The same to the hub.
sub hub_dbi
{
	my ($self) = @_;

	return DBI->connect(
		"dbi:Pg:dbname=hub;host=$self->{server}{host};port=$self->{server}{port}",
		'postgres', '', { RaiseError => 1, PrintError => 0 });
}

# ---------------------------------------------------------------------
# Kafka, started when it is first needed
# ---------------------------------------------------------------------

sub start_kafka
{
	my ($self) = @_;

	$self->{kafka} ||= $self->_service('kafka.sh', 'kafka');
	return;
}

sub brokers
{
	my ($self) = @_;

	return "$self->{kafka}{host}:$self->{kafka}{port}";
}

sub kafka_uri
{
	my ($self) = @_;

	return 'kafka://' . $self->brokers;
}

sub create_topic
{
	my ($self, $topic) = @_;

	system("$services/kafka.sh", 'tool', 'org.apache.kafka.tools.TopicCommand', '--bootstrap-server',
		$self->brokers, '--create', '--topic', $topic, '--partitions', 1) == 0
	  or die "topic $topic was not created\n";
	return;
}

# Writes all committed messages of a topic to a file, as produce.c reads them.
sub record_topic
{
	my ($self, $topic, $file) = @_;
	my $brokers = $self->brokers;

	system("kcat -b $brokers -C -t $topic -o beginning -e -q -X isolation.level=read_committed "
		  . "-f '%K %S\\n%k%s' >$file") == 0
	  or die "topic $topic could not be read\n";
	return;
}

# Produces a file of messages with librdkafka alone: how many, and in how many seconds.
sub produce
{
	my ($self, $topic, $file, $transactional) = @_;
	my $program = "$self->{folder}/produce";
	my $source = dirname(__FILE__) . '/../produce.c';

	system("cc -O2 -o $program $source -lrdkafka") == 0 or die "produce.c does not compile\n"
	  unless -x $program;
	my $answer = `$program ${\ $self->brokers} $topic $file ${\ ($transactional ? 1 : 0)}`;
	die "$topic was not produced\n" if $?;
	return split ' ', $answer;
}

# Reads a topic of rows (client, n) with kcat while it grows: for each client, a list of
# [time, newest row by then].
sub watch_topic
{
	my ($self, $topic, $clients, $last, $deadline) = @_;
	my @newest = (0) x $clients;
	my @seen = map { [] } 1 .. $clients;
	my $pid = open my $reader, '-|', 'kcat', '-b', $self->brokers, '-C', '-t', $topic,
	  '-o', 'beginning', '-u', '-q', '-X', 'fetch.wait.max.ms=5', '-X', 'isolation.level=read_committed'
	  or die "kcat: $!\n";

	local $SIG{ALRM} = sub { die "the consumer did not get all rows: @newest of $last each\n" };
	alarm(1 + $deadline - time);
	while (grep { $_ < $last } @newest)
	{
		my $message = <$reader> // die "kcat ended\n";
		my $at = time;
		my ($client) = $message =~ /"client": ?(\d+)/ or die "no client in $message";
		my ($n) = $message =~ /"n": ?(\d+)/ or die "no number in $message";
		push @{ $seen[ $client - 1 ] }, [ $at, $n ];
		$newest[ $client - 1 ] = $n;
	}
	alarm 0;
	kill 'TERM', $pid;
	close $reader;
	return \@seen;
}

sub uri
{
	my ($self) = @_;
	my $source = $self->{source};

	return "mysql://$source->{user}:$source->{password}\@127.0.0.1:$source->{port}/";
}

# How subscriptions reach the publisher.
sub conninfo
{
	my ($self) = @_;
	my $publisher = $self->{publisher};

	return "host=$publisher->{host} port=$publisher->{port} user=postgres dbname=postgres";
}

# Polls until the query prints the value; returns the time at which it did. An answer
# that matches $bad, if there is one, ends it.
sub await
{
	my ($self, $session, $query, $value, $seconds, $bad) = @_;
	my $deadline = time + $seconds;

	while (1)
	{
		my $found = $session->value($query);
		my $now = time;

		$found = 'nothing' unless defined $found;
		return $now if $found eq $value;
		$self->_explain("\"$query\" did not become $value, it is $found")
		  if $now > $deadline || ($bad && $found =~ $bad);
		sleep 0.005;
	}
	return;
}

sub await_state
{
	my ($self, $pipeline, $state, $seconds) = @_;

	return $self->await($self->{hub},
		"SELECT state FROM tapdata.status WHERE name = '$pipeline'",
		$state, $seconds, qr/failed/);
}

sub _explain
{
	my ($self, $problem) = @_;

	print STDERR "$_\n" for $self->{hub}->run('SELECT * FROM tapdata.status');
	print STDERR "$_\n" for $self->{hub}->run('SELECT * FROM tapdata.events');
	die "$problem\n";
}

# What a pipeline left of its work is written and clean before the next measurement.
sub settle
{
	my ($self) = @_;

	$self->{native}->run('VACUUM ANALYZE');
	$self->{hub}->run('VACUUM ANALYZE');
	$self->{hub}->run('CHECKPOINT');
	return;
}

# ---------------------------------------------------------------------
# Processes
# ---------------------------------------------------------------------

# Process ids of tapdata's processes in the hub whose backend_type matches.
sub workers
{
	my ($self, $pattern) = @_;

	return $self->{hub}->run(
		"SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '$pattern'");
}

# Bytes of memory that belong to the process alone. Pages of shared memory that no
# other process happened to touch are counted as private by the kernel, so only
# mappings that are private are added up.
sub private_bytes
{
	my ($self, $pid) = @_;
	my ($private, $bytes) = (0, 0);

	open my $file, '<', "/proc/$pid/smaps" or return;
	while (<$file>)
	{
		if (/^[0-9a-f]+-[0-9a-f]+ ...(.) /)
		{
			$private = $1 eq 'p';
		}
		elsif ($private && /^Private_(?:Clean|Dirty):\s+(\d+) kB/)
		{
			$bytes += $1 * 1024;
		}
	}
	return $bytes;
}

# Seconds of CPU that the processes have used.
sub cpu_seconds
{
	my ($self, @pids) = @_;
	my $ticks = 0;

	for my $pid (@pids)
	{
		open my $file, '<', "/proc/$pid/stat" or next;
		my ($rest) = <$file> =~ /\) (.*)/s or next;
		my @field = split ' ', $rest;
		$ticks += $field[11] + $field[12];
	}
	return $ticks / sysconf(_SC_CLK_TCK);
}

1;
