# The source ends the stream by an error that is one of data: its row filter divides by zero. That is
# no change to be left out.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $source = new_source('source');

plan skip_all => 'row filters need PostgreSQL 15 at the source'
  if $source->safe_psql('postgres', 'SHOW server_version_num') < 150000;
at_source($source,
	'CREATE SCHEMA s',
	'CREATE TABLE s.t (id int PRIMARY KEY, n int NOT NULL)',
	q{INSERT INTO s.t VALUES (1, 1)},
	'ALTER TABLE s.t REPLICA IDENTITY FULL',
	'CREATE PUBLICATION filtered FOR TABLE s.t WHERE (10 / n > 0)');
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.t'], 'h', '{"publication": "filtered", "on_error": "dead_letter"}');
caught_up($hub, 'p');
at_source($source, 'INSERT INTO s.t VALUES (2, 2)');
caught_up($hub, 'p');
sql_ok($hub, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM h.t}, '1 2', 'rows that pass the filter');

# within a transaction, of which the beginning has come by then
at_source($source, 'INSERT INTO s.t SELECT g, CASE WHEN g < 20000 THEN 1 ELSE 0 END FROM generate_series(3, 20000) g',
	'INSERT INTO s.t VALUES (20001, 4)');
wait_for_state($hub, 'p', 'failed');
like($hub->safe_psql('postgres', q{SELECT last_error FROM tapdata.status WHERE name = 'p'}), qr/division by zero/, 'the source says why');
sql_ok($hub, q{SELECT dead_letters FROM tapdata.status WHERE name = 'p'}, '0', 'nothing was left out');
sql_ok($hub, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM h.t}, '1 2', 'nor stored');
done_testing();
