# Accidents under load, for each kind of target by HTTP: workers and servers that are killed,
# answers that get lost, connections that break. At the end the target has what the hub has.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Http;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep);

Tapdata::Http->require;

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $hub = new_hub('chaos', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $next_load = 0;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

sub kill_worker
{
	return kill_one($hub, q(backend_type LIKE 'tapdata pipeline%'));
}

# One of them, by chance.
sub any_of
{
	return $_[ int rand @_ ]->();
}

# Transactions of several kinds over keys that no other load has, as a process.
sub start_load
{
	my $base = ++$next_load * 1000;
	my $script = "$folder/$next_load.sql";
	my @work;

	for my $n (1 .. 60)
	{
		my $id = $base + $n;

		push @work, 'BEGIN', "INSERT INTO s.items VALUES ($id, '$id'), (-$id, 'x')",
		  "UPDATE s.items SET v = v || 'u' WHERE id = $id";
		push @work, "DELETE FROM s.items WHERE id = -$id" if $n % 3;
		push @work, "UPDATE s.items SET id = id + 500 WHERE id = $id" if $n % 7 == 0;
		push @work, "DELETE FROM s.items WHERE id = $id", "INSERT INTO s.items VALUES ($id, 'again')" if $n % 5 == 0;
		push @work, 'TRUNCATE s.items' if $n == 30 && $next_load % 9 == 0;
		push @work, "INSERT INTO s.other VALUES ($id, 'x')", 'COMMIT';
		push @work, "BEGIN; DELETE FROM s.items WHERE id > 0; ROLLBACK" if $n % 20 == 0;
		push @work, "INSERT INTO s.items SELECT $base + 100 + n, 'many' FROM generate_series(1, 300) n ON CONFLICT DO NOTHING"
		  if $n == 50;
	}
	append_to_file($script, join '', map { "$_;\n" } @work);
	return IPC::Run::start([ 'psql', '-X', '-q', '-d', $hub->connstr('postgres'), '-f', $script ],
		'<', \undef, '>', '/dev/null', '2>', '/dev/null');
}

# Publishes, lets accidents happen under load, and waits for calm.
sub suffer
{
	my ($uri, $options, @accidents) = @_;

	sql('TRUNCATE s.items, s.other');
	publish_http($hub, $uri, 'chaos', ['s.*'], { retry_ms => 300, %$options });
	caught_up($hub, 'chaos');
	for (1 .. $kills)
	{
		my $load = start_load();

		sleep rand 0.3;
		any_of(@accidents);
		$load->finish;
	}
	wait_for_state($hub, 'chaos', 'streaming');
	caught_up($hub, 'chaos');
	cmp_ok(sql('SELECT count(*) FROM s.other'), '>', $kills * 10, 'the load was one');
	return;
}

sub drop
{
	sql(q{SELECT tapdata.drop_pipeline('chaos'); SELECT tapdata.disconnect('chaos')});
	return;
}

# A table as text; the values of a hash in the same form.
sub rows_of
{
	my ($table) = @_;

	return sql("SELECT id, v FROM s.$table ORDER BY id");
}

sub as_rows
{
	my (%rows) = @_;

	return join "\n", map { "$_|$rows{$_}" } sort { $a <=> $b } keys %rows;
}

# What a receiver has that applies each change to its key, without looking at repeats.
sub received
{
	my ($table, @changes) = @_;
	my %rows;

	for my $change (grep { $_->{table} eq $table } @changes)
	{
		%rows = () if $change->{op} eq 'truncate';
		next unless $change->{key};
		delete $rows{ $change->{before} ? $change->{before}{id} : $change->{key}{id} };
		$rows{ $change->{key}{id} } = $change->{after}{v} if $change->{after};
	}
	return as_rows(%rows);
}

# A repeat goes back in the order of commits; what is new goes on.
sub in_order
{
	my %seen;
	my $newest = '';

	for my $change (@_)
	{
		my $place = sprintf '%s %09d', (join '', map { sprintf '%08X', hex } split m{/}, $change->{commit_lsn}), $change->{seq};

		next if $change->{op} eq 'read' || $seen{$place}++;
		return 0 if $place lt $newest;
		$newest = $place;
	}
	return 1;
}

sql(q{CREATE SCHEMA s; CREATE TABLE s.items (id int PRIMARY KEY, v text); CREATE TABLE s.other (id int PRIMARY KEY, v text)});

subtest 'webhook' => sub {
	my $server = Tapdata::Http->start(arguments => ['webhook']);

	suffer($server->uri, { body => 'ndjson', batch_rows => 50 }, \&kill_worker,
		sub { $server->kill9; sleep rand 0.3; $server->restart; },
		sub { $server->faults({ do => 'cut' }, { do => 'forget', times => 2 }, { do => 'half' }, { status => 503 }); });
	my @changes = $server->changes;
	is(received('items', @changes), rows_of('items'), "after $kills accidents the receiver has what the hub has");
	is(received('other', @changes), rows_of('other'), 'of the other table, too');
	ok(in_order(@changes), 'every change came for the first time in the order of the hub');
	drop();
	$server->stop;
};

subtest 'OpenSearch' => sub {
	my ($available, $reason) = Tapdata::OpenSearch->available;
	plan skip_all => $reason if !$available && !$ENV{TAPDATA_REQUIRE_SERVERS};
	my $search = Tapdata::OpenSearch->start;
	my $proxy = Tapdata::Proxy->start(port => $search->port);
	my $left = 2;

	suffer($search->uri(port => $proxy->port), { batch_rows => 40, max_in_flight => 3 }, \&kill_worker,
		sub { $proxy->cut; }, sub { $proxy->refuse; sleep rand 0.3; $proxy->resume; },

		# this takes seconds
		sub { return if $left-- <= 0; $search->kill9; $search->restart; });
	for my $table ('items', 'other')
	{
		my $documents = $search->documents("s-$table");

		is(as_rows(map { $_ => $documents->{$_}{v} } keys %$documents), rows_of($table), "$table is what the hub has");
	}
	drop();
	$proxy->stop;
	$search->stop;
};

subtest 'ClickHouse' => sub {
	my $house = eval { Tapdata::Http->start(name => 'house', arguments => ['clickhouse']) };
	plan skip_all => $@ if !$house && !$ENV{TAPDATA_REQUIRE_SERVERS};
	my $left = $kills / 4;

	suffer($house->uri('clickhouse+http'), { batch_rows => 100, max_in_flight => 2 }, \&kill_worker,
		sub { $house->faults({ do => 'cut' }, { do => 'forget', times => 2 }, { do => 'half' }); },
		sub { return if $left-- <= 0; $house->kill9; $house->restart; });
	for my $table ('items', 'other')
	{
		is($house->query("SELECT id || '|' || v FROM $table FINAL ORDER BY id"), rows_of($table), "$table is what the hub has");
	}
	drop();
	$house->stop;
};

done_testing();
