# Rows that get another key while their table is copied, of which the source does not
# send what stays: each is in the hub at the end, and a table is copied again only if one
# would be missing or have another row's value.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

# Rows 1, 3, 5 ... 29 are copied in the chunks 0 (to 10), 1 (to 20) and 2. What happens when
# a chunk was read, before the next; whether the table has to be copied again. # is the table.
my %cases = (
	lost => [ 1, 0 => ['move # 25 2'] ],
	reused => [ 1, 0 => [ 'move # 25 2', 'insert # 25 other' ] ],
	replaced => [ 1, 0 => [ 'delete # 27', 'move # 25 27' ] ],
	chain => [ 1, 0 => [ 'move # 25 2', 'move # 2 4', 'move # 4 6' ] ],
	restarted => [ 1, 0 => [ 'move # 25 2', ('update # 29 filler') x 1100 ], 2 => ['insert # 99 stop'] ],
	followed => [ 0, 0 => [ 'move # 15 26', 'insert # 15 other', 'move # 21 16', 'insert # 21 other' ] ],
	deleted => [ 0, 0 => [ 'move # 25 2', 'delete # 2' ] ],
	whole => [ 0, 0 => [ 'move # 25 2', 'update # 2 new', 'move # 27 4 new' ] ],
	returned => [ 0, 0 => [ 'move # 25 2', 'move # 2 26', 'insert # 25 other' ] ],
	truncated => [ 0, 0 => [ 'move # 25 2', 'truncate #', 'insert # 2 new', 'move # 2 30' ] ],
	known => [ 0, 0 => [ 'move # 1 2', 'move # 5 26' ], 1 => ['move # 26 4'], 2 => [ 'move # 29 18', 'move # 18 6' ] ]);
my $hub = new_hub('moved', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $options = '{"chunk_rows": 10, "workers": 1, "batch_bytes": 1024}';
my $source = Tapdata::Fake->new;
my $others = 0;

hold_chunks();
$source->add_table('other');

# tables that come by themselves would be copied before they can be held
join_tables('p', 'first', $source->pull_sql('p', $options) =~ s/fake\.\*/fake.first*/r, grep { !/restarted/ } all_cases());
join_tables('p', 'added', q(SELECT tapdata.add_tables('p', '{fake.added*}');), qw(lost reused_sql followed known));
$source = Tapdata::Fake->new;
join_tables('q', 'first', $source->pull_sql('q', $options), 'restarted_sql');
$hub->stop;
done_testing();

# A worker that has read a chunk, or replays the row 99, waits while it is told to, and shows
# by a lock what for: the chunk's table and number, or the table and 99.
sub hold_chunks
{
	$hub->safe_psql('postgres', <<'SQL');
CREATE TABLE hold (source_name text, number int);
CREATE FUNCTION hold_worker(of int, at int) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(of, at);
	WHILE EXISTS (SELECT FROM hold h JOIN tapdata.pipeline_table t USING (source_name) WHERE t.id = of AND number = at) LOOP
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CREATE FUNCTION hold_chunk() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	PERFORM hold_worker(NEW.pipeline_table, NEW.number);
	RETURN NEW;
END $$;
CREATE FUNCTION hold_row() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	PERFORM hold_worker((SELECT id FROM tapdata.pipeline_table WHERE hub_table = TG_RELID), 99);
	RETURN NEW;
END $$;
CREATE TRIGGER hold_chunk AFTER UPDATE ON tapdata.snapshot_chunk FOR EACH ROW EXECUTE FUNCTION hold_chunk();
ALTER TABLE tapdata.snapshot_chunk ENABLE ALWAYS TRIGGER hold_chunk;
SQL
	return;
}

# Each by the direct path and, where the hub table has a trigger, by SQL.
sub all_cases
{
	return map { ($_, "${_}_sql") } sort keys %cases;
}

# These cases at once, as tables of a pipeline that the SQL takes up.
sub join_tables
{
	my ($pipeline, $prefix, $sql, @names) = @_;
	my %tables = map { ("${prefix}_$_" => $cases{s/_sql$//r}) } @names;

	for my $table (sort keys %tables)
	{
		my ($again, %events) = @{ $tables{$table} };

		$source->add_table($table);
		$source->txn(map { "insert $table $_ value $_" } grep { $_ % 2 } 1 .. 30);
		$hub->safe_psql('postgres', "INSERT INTO hold VALUES ('$table', $_)")
		  for keys %events, $table =~ /restarted_sql/ ? 99 : ();
		$sql .= <<"SQL" if $table =~ /_sql$/;
CREATE TRIGGER hold_row AFTER INSERT ON $pipeline.$table FOR EACH ROW WHEN (NEW.id = 99) EXECUTE FUNCTION hold_row();
ALTER TABLE $pipeline.$table ENABLE ALWAYS TRIGGER hold_row;
SQL
	}
	$hub->safe_psql('postgres', "BEGIN; $sql COMMIT;");
	while (my ($pid, $table, $number) = held())
	{
		my ($again, %events) = @{ $tables{$table} };

		$source->txn(map { s/#/$table/r } @{ $events{$number} }) if $events{$number};

		# the end of a catch-up need not be a change of its table
		$source->txn('insert other ' . ++$others . ' x') if $prefix eq 'added';
		$hub->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)") if $number == 99;
		$hub->safe_psql('postgres', "DELETE FROM hold WHERE source_name = '$table' AND number = $number");
	}
	caught_up($hub, $pipeline);
	is_like_source($pipeline, $_, $tables{$_}[0]) for sort keys %tables;

	# the stream is strict by now
	$source->txn(map { my $table = $_; map { "delete $table $_" } keys %{ $source->rows($table) } } keys %tables);
	caught_up($hub, $pipeline);
	sql_ok($hub, "SELECT count(*) FROM $pipeline.$_", '0', "$_: every row can be deleted") for sort keys %tables;
	return;
}

# A process that is held, by its id, table and number; () when there is nothing to hold any more.
sub held
{
	my $held = q(SELECT l.pid, h.source_name, h.number FROM hold h JOIN tapdata.pipeline_table t USING (source_name)
		JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.classid = t.id AND l.objid = h.number);

	wait_for_sql($hub, "SELECT EXISTS ($held) OR NOT EXISTS (SELECT FROM hold)");
	return split /\|/, $hub->safe_psql('postgres', "$held LIMIT 1");
}

sub is_like_source
{
	my ($pipeline, $table, $again) = @_;
	my $rows = $source->rows($table);

	sql_ok($hub, "SELECT string_agg(id || ' ' || value, ', ' ORDER BY id) FROM $pipeline.$table",
		join(', ', map { "$_ $rows->{$_}" } sort { $a <=> $b } keys %$rows), "$table: the hub has each row");
	sql_ok($hub, "SELECT count(*) FROM tapdata.events WHERE kind = 'copied again' AND source_table = 'fake.$table'",
		$again, "$table: is copied again" . ($again ? '' : ' only if need be'));
	return;
}
