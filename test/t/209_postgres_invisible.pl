# A commit that is in the log before a new slot, and not visible to the copy behind it, since
# it waits for a synchronous standby; which the pipeline's role is not shown.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');

# from the start of the server on: commits wait only when its checkpointer has read of the standby, too
my $source = new_source('source', "max_prepared_transactions = 5\nsynchronous_standby_names = 'nobody'\nsynchronous_commit = local\n");

at_source($source,
	'CREATE ROLE reader LOGIN REPLICATION',
	'GRANT CREATE ON DATABASE postgres TO reader',
	'CREATE SCHEMA s AUTHORIZATION reader',
	'CREATE TABLE s.t (id int PRIMARY KEY)',
	'ALTER TABLE s.t OWNER TO reader',
	'INSERT INTO s.t VALUES (1)');
connect_source($hub, $source, 'src', user => 'reader');

# the slot begins behind the commit
prepare_transaction($source, 'a');
pull_from($hub, 'p', 'src', ['s.*'], 'h');
next_prepared($source, 'a', 'b');
next_prepared($source, 'b');
my $waits = $source->background_psql('postgres');
$waits->query_safe('SET synchronous_commit = on');
$waits->query_until(qr/begun/, "\\echo begun\nINSERT INTO s.t VALUES (2);\n");
wait_for_sql($source, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", 1);
at_source($source, q(COMMIT PREPARED 'b'));

my $told = q(SELECT count(*) FROM tapdata.events WHERE pipeline = 'p' AND message ~ '^the copy waits for transactions .* with the role pg_read_all_stats');
wait_for_sql($hub, qq(SELECT ($told) > 0 OR (SELECT state FROM tapdata.status WHERE name = 'p') = 'streaming'));
is($hub->safe_psql('postgres', $told), '1', 'an event tells that the copy waits');
at_source($source, q(ALTER SYSTEM SET synchronous_standby_names = ''), 'SELECT pg_reload_conf()');
$waits->quit;
caught_up($hub, 'p');
same_as_source($hub, $source, 's.t', 'h.t', 'what was committed before the slot is in the copy');
done_testing();
