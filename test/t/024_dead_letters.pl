# What cannot be stored becomes a dead letter that holds it whole, and can be stored
# once the cause is mended: every value as it would have been.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my @flavours = usable_flavours();
my $hub = new_hub('dead_letters', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

my $columns = <<'SQL';
	id int PRIMARY KEY, n int, v varchar(20), e enum('p','q'), s set('u','w'), j json,
	d datetime(3), t time(2), ts timestamp(6) NULL, b blob, r double, num decimal(20,5), bt bit(5), u bigint unsigned
SQL
my $values = <<'SQL';
	%d, %d, 'Zoë "quoted" \\\\ ''', 'q', 'u,w', '{"a":  [1, "x"], "b": null}',
	'2020-02-29 23:59:59.125', '-30:00:01.50', '2021-03-04 05:06:07.000001', x'00ff', 0.1, 12345.67890, b'10101',
	18446744073709551615
SQL

for my $flavour (@flavours)
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $f = "shop_$flavour";
	my $s = sub { return sprintf "INSERT INTO %s.t VALUES ($values)", $f, @_ };

	$source->sql("CREATE DATABASE $f; CREATE TABLE $f.t ($columns); " . $s->(1, 1) . '; ' . $s->(2, 2));
	pull($hub, $source, $f, options => '{"on_error": "dead_letter"}');
	caught_up($hub, $f);
	$hub->safe_psql('postgres', "ALTER TABLE $f.t ADD CONSTRAINT small CHECK (n < 100)");

	# stored and rejected ones in one transaction
	$source->sql(join '; ', 'START TRANSACTION', $s->(3, 300), $s->(4, 4),
		"UPDATE $f.t SET n = 200 WHERE id = 1", "UPDATE $f.t SET n = 20 WHERE id = 2",
		"UPDATE $f.t SET id = 40, n = 400 WHERE id = 4", 'COMMIT');
	caught_up($hub, $f);
	sql_ok($hub, "SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM $f.t", '1:1 2:20 4:4',
		"$f: what can be stored is stored");
	sql_ok($hub, "SELECT \"table\", change->>'op', change->'new'->>'id', sqlstate FROM tapdata.dead_letters WHERE pipeline = '$f'",
		"$f.t|insert|3|23514\n$f.t|update|1|23514\n$f.t|update|40|23514", "$f: the rest are dead letters, in order");
	sql_becomes($hub, "SELECT state, dead_letters, last_error IS NULL FROM tapdata.status WHERE name = '$f'", 'streaming|3|t',
		"$f: the pipeline goes on, and counts them");
	sql_ok($hub, "SELECT count(*) FROM tapdata.events WHERE pipeline = '$f' AND kind = 'dead letter'", '3',
		"$f: each is an event");

	# --- again ----------------------------------------------------------------------------

	sql_ok($hub, "SELECT tapdata.retry_dead_letters('$f')", '0', "$f: nothing is mended yet");
	$hub->safe_psql('postgres', "ALTER TABLE $f.t DROP CONSTRAINT small");
	sql_ok($hub, "SET datestyle = 'German'; SET intervalstyle = 'sql_standard'; SELECT tapdata.retry_dead_letters('$f')",
		'3', "$f: all can be stored, whatever the session's styles");
	sql_ok($hub, "SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM $f.t", '1:200 2:20 3:300 40:400',
		"$f: changes and a changed key are applied");
	sql_ok($hub, "SELECT count(DISTINCT (v, e, s, j::text, d, t, ts, b, r, num, bt, u)::text) FROM $f.t", '1',
		"$f: with the very values that others have")
	  or diag $hub->safe_psql('postgres', "SELECT * FROM $f.t");
	sql_becomes($hub, "SELECT dead_letters FROM tapdata.status WHERE name = '$f'", '0', "$f: none is left");
	$source->do("UPDATE $f.t SET n = n + 1");
	caught_up($hub, $f);
	sql_ok($hub, "SELECT sum(n) FROM $f.t", '924', "$f: the stream goes on over them");

	# --- what could not be converted ---------------------------------------------------------

	$source->do("UPDATE $f.t SET v = CONCAT('x', CHAR(0), 'y') WHERE id = 1");
	caught_up($hub, $f);
	sql_ok($hub, "SELECT change->'new'->>'id', sqlstate FROM tapdata.dead_letters WHERE pipeline = '$f'", '1|22P05',
		"$f: a value that PostgreSQL cannot hold");
	sql_ok($hub, "SELECT tapdata.retry_dead_letters('$f')", '0', "$f: is not stored as something else");
	sql_ok($hub, "SELECT tapdata.discard_dead_letters('$f')", '1', "$f: it can be discarded");

	# of a copy: the first row and the last
	$source->do("UPDATE $f.t SET v = CONCAT('x', CHAR(0)) WHERE id = 40");
	caught_up($hub, $f);
	$hub->safe_psql('postgres', "SELECT tapdata.discard_dead_letters('$f'), tapdata.resync('$f', '$f.t')");
	caught_up($hub, $f);
	sql_ok($hub, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM $f.t", '2 3', "$f: rows between bad ones are copied");
	sql_ok($hub, "SELECT change->>'id', sqlstate FROM tapdata.dead_letters WHERE pipeline = '$f' ORDER BY 1",
		"1|22P05\n40|22P05", "$f: the bad ones are told");
	$hub->safe_psql('postgres', qq(SELECT tapdata.alter_pipeline('$f', '{"nul_in_text": "remove"}')));
	$hub->safe_psql('postgres', "SELECT tapdata.resync('$f', '$f.t')");
	caught_up($hub, $f);
	sql_ok($hub, "SELECT v FROM $f.t WHERE id = 1", 'xy', "$f: the option and resync mend it");

	# --- what is refused only at the commit is nobody's dead letter, and not skipped -----------

	$hub->safe_psql('postgres', <<"SQL");
CREATE FUNCTION $f.late() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	IF new.n >= 1000 THEN RAISE check_violation USING message = 'too large'; END IF;
	RETURN NULL;
END \$\$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON $f.t
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION $f.late();
ALTER TABLE $f.t ENABLE ALWAYS TRIGGER late;
SQL
	$source->sql(join '; ', 'START TRANSACTION', $s->(5, 5), $s->(6, 1000), 'COMMIT', $s->(7, 7));
	wait_for_state($hub, $f, 'failed');
	sql_ok($hub, "SELECT count(*) FROM $f.t WHERE id IN (5, 6, 7)", '0', "$f: a refused commit stops the pipeline");
	$hub->safe_psql('postgres', "DROP TRIGGER late ON $f.t; SELECT tapdata.start('$f')");
	caught_up($hub, $f);
	sql_ok($hub, "SELECT string_agg(id || ':' || n, ' ' ORDER BY id) FROM $f.t WHERE id IN (5, 6, 7)", '5:5 6:1000 7:7',
		"$f: and nothing is lost");
	$source->stop;
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$f', true)");
}

$hub->stop;
done_testing();
