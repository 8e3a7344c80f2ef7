# PostgreSQL as a source: rows with long values, which the log does not have again, get
# other keys all the time while their tables are copied.
#
# TAPDATA_MOVED_ROUNDS sets how many times.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $rounds = $ENV{TAPDATA_MOVED_ROUNDS} || 1;
my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 1s\n");
my $source = new_source('source');
my $mover;

# s.decimal: the same key in another form is the same row
$source->safe_psql('postgres', q(
	CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, n int, big text);
	CREATE TABLE s.code (n int, big text, code text COLLATE "C" NOT NULL);
	CREATE UNIQUE INDEX code_idx ON s.code (code);
	ALTER TABLE s.code REPLICA IDENTITY USING INDEX code_idx;
	CREATE TABLE s.decimal (id numeric PRIMARY KEY, n int, big text);
	CREATE TABLE s.stop (id int PRIMARY KEY);
	ALTER TABLE s.t ALTER big SET STORAGE EXTERNAL;
	ALTER TABLE s.code ALTER big SET STORAGE EXTERNAL;
	ALTER TABLE s.decimal ALTER big SET STORAGE EXTERNAL;
	INSERT INTO s.t SELECT i * 10, 0, repeat(md5(i::text), 100) FROM generate_series(1, 400) i;
	INSERT INTO s.code SELECT n, big, to_char(id, 'FM0000') FROM s.t;
	INSERT INTO s.decimal SELECT id, n, big FROM s.t WHERE id <= 400;
	CREATE PROCEDURE s.move_until_stopped() LANGUAGE plpgsql AS $$
	DECLARE
		at int;
	BEGIN
		WHILE NOT EXISTS (SELECT FROM s.stop) LOOP
			at := (random() * 4000)::int;
			UPDATE s.t SET id = at WHERE id = (SELECT id FROM s.t ORDER BY random() LIMIT 1)
				AND NOT EXISTS (SELECT FROM s.t WHERE id = at);
			UPDATE s.code SET code = to_char(at, 'FM0000') WHERE code = (SELECT code FROM s.code ORDER BY random() LIMIT 1)
				AND NOT EXISTS (SELECT FROM s.code WHERE code = to_char(at, 'FM0000'));
			UPDATE s.decimal SET id = CASE scale(id) WHEN 0 THEN id + 0.0 ELSE trunc(id) END WHERE id = at / 10 * 10;
			UPDATE s.t SET n = n + 1 WHERE id = (SELECT id FROM s.t ORDER BY random() LIMIT 1);
			COMMIT;
		END LOOP;
	END $$;));
connect_source($hub, $source, 'src');
move_while_copied($_) for 1 .. $rounds;
done_testing();

# Rows move until some table was copied for the first time; then they rest, as no copy need end before.
sub move_while_copied
{
	my ($round) = @_;

	$source->safe_psql('postgres', 'TRUNCATE s.stop');
	$mover = $source->background_psql('postgres');
	$mover->query_until(qr/moving/, "\\echo moving\nCALL s.move_until_stopped();\n");
	wait_for_sql($source, "SELECT count(*) > 0 FROM s.t WHERE id % 10 <> 0");
	pull_from($hub, 'p', 'src', ['s.*'], 's', '{"chunk_rows": 5, "workers": 2}');
	wait_for_sql($hub, q(SELECT count(*) > 0 FROM tapdata.pipeline_table WHERE state IN ('u', 'j', 's')));
	$source->safe_psql('postgres', 'INSERT INTO s.stop VALUES (1)');
	$mover->quit;
	caught_up($hub, 'p');
	same_as_source($hub, $source, "s.$_", "s.$_", "round $round: the hub has each row of $_") for qw(t code decimal);
	note $hub->safe_psql('postgres', q(SELECT count(*) || ' copied again' FROM tapdata.events WHERE kind = 'copied again'));
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true)));
	return;
}
