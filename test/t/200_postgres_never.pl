# A PostgreSQL source without a copy (snapshot = never), whose log is not flushed where the
# pipeline begins.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub');
my $source = new_source('source', "synchronous_commit = off\nwal_writer_delay = 2s\nwal_writer_flush_after = 1GB\nmax_wal_size = 4GB\n");

at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.t (id int PRIMARY KEY, v text)',
	"INSERT INTO s.t VALUES (1, 'before')",
	'CREATE TABLE other (i int)');
connect_source($hub, $source, 'src');

# others write all the time, and wait for no disk
my $writer = $source->background_psql('postgres');
my $pid = $writer->query_safe('SELECT pg_backend_pid()');
$writer->query_until(qr/begun/, "\\echo begun\nDO 'BEGIN LOOP INSERT INTO other VALUES (1); COMMIT; END LOOP; END';\n");
wait_for_sql($source, "SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()");

pull_from($hub, 'p', 'src', ['s.*'], 'h', '{"snapshot": "never"}');
wait_for_sql($hub, q(SELECT state IN ('streaming', 'failed') FROM tapdata.status WHERE name = 'p'));
is($hub->safe_psql('postgres', q(SELECT state, last_error FROM tapdata.status WHERE name = 'p')), 'streaming|', 'the pipeline streams from a position that is not flushed');
$source->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
eval { $writer->quit };
at_source($source, "INSERT INTO s.t VALUES (2, 'after')");
caught_up($hub, 'p');
is($hub->safe_psql('postgres', 'SELECT id, v FROM h.t'), '2|after', 'what was written since is in the hub, and no more');
done_testing();
