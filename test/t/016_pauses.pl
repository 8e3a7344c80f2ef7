# How long a pipeline that failed waits until it is tried again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Fake;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('pauses', "tapdata.retry_min = 10ms\ntapdata.retry_max = 1h\n");
my $source = Tapdata::Fake->new('t');

$source->fill('t', 1, 10);
$hub->safe_psql('postgres', $source->pull_sql('p'));
caught_up($hub, 'p');

# each failure doubles the pause
$hub->safe_psql('postgres', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE serialization_failure; END$$;
	CREATE TRIGGER refuse BEFORE INSERT ON p.t FOR EACH ROW EXECUTE FUNCTION refuse();
	ALTER TABLE p.t ENABLE ALWAYS TRIGGER refuse});
$source->fill('t', 11, 11);
ok(wait_for_sql($hub, q{SELECT count(*) >= 8 FROM tapdata.events WHERE kind = 'retry'}, 't'), 'a pipeline is tried again');
$hub->safe_psql('postgres', q{ALTER TABLE p.t DISABLE TRIGGER refuse; SELECT tapdata.start('p')});
ok(wait_for_sql($hub, 'SELECT count(*) FROM p.t', '11'), 'and recovers');
wait_for_state($hub, 'p', 'streaming');

# but who had come to the end of the log, and stayed there, begins with the shortest again: with
# what was before it would wait for longer than this test does
my $streams = $hub->safe_psql('postgres', 'SELECT clock_timestamp()');
$hub->safe_psql('postgres', q{ALTER SYSTEM SET tapdata.retry_min = '4s'});
$hub->reload;
wait_for_sql($hub, 'SHOW tapdata.retry_min', '4s');
wait_for_sql($hub, "SELECT clock_timestamp() > '$streams'::timestamptz + interval '6 s'", 't');
$hub->safe_psql('postgres', 'ALTER TABLE p.t ENABLE ALWAYS TRIGGER refuse');
$source->fill('t', 12, 12);
wait_for_state($hub, 'p', 'retrying');
$hub->safe_psql('postgres', 'DROP FUNCTION refuse() CASCADE');
ok(wait_for_sql($hub, 'SELECT count(*) FROM p.t', '12'), 'one that had recovered is not put off for what was before');

done_testing();
