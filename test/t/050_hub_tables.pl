# Hub tables that their users have changed: every kind of table that can be one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my @flavours = usable_flavours();
my $hub = new_hub('hub_tables');
my @tables = qw(plain added generated triggered secured part_of parted hot);

# What a user does to each of them while the pipeline is stopped.
sub change_hub_tables
{
	my ($f) = @_;

	$hub->safe_psql('postgres', <<"SQL");
SET search_path = $f, public;
ALTER TABLE added ADD COLUMN mark text DEFAULT 'new' NOT NULL, ADD COLUMN seq serial,
	ADD CONSTRAINT filled CHECK (note <> '');
CREATE INDEX ON added (lower(note));
CREATE UNIQUE INDEX ON added (k) WHERE n > 10;
ALTER TABLE generated ADD COLUMN twice int GENERATED ALWAYS AS (n * 2) STORED;
CREATE INDEX ON generated (twice);

CREATE TABLE log (op text, k int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN INSERT INTO $f.log VALUES (tg_op, coalesce(new.k, old.k)); RETURN null; END';
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON triggered FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE triggered ENABLE ALWAYS TRIGGER note;

ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE POLICY small ON secured USING (n < 1000);

CREATE TABLE whole (LIKE part_of INCLUDING ALL) PARTITION BY RANGE (k);
ALTER TABLE whole ATTACH PARTITION part_of FOR VALUES FROM (MINVALUE) TO (10000);

ALTER TABLE parted RENAME TO parted_old;
CREATE TABLE parted (LIKE parted_old INCLUDING ALL) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE parted_2 (note varchar(60), gone int, n int, k int NOT NULL);
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (100) TO (300);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (300) TO (MAXVALUE) PARTITION BY HASH (k);
CREATE TABLE parted_3a PARTITION OF parted_3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_3b PARTITION OF parted_3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT * FROM parted_old;
UPDATE tapdata.pipeline_table SET hub_table = 'parted'::regclass WHERE hub_table = 'parted_old'::regclass;
DROP TABLE parted_old;
SQL
	return;
}

# Changes of all kinds, several of one row in one transaction among them.
sub changes
{
	my ($source, $f, $table) = @_;

	$source->sql(join '; ', 'START TRANSACTION',
		(map { sprintf "INSERT INTO $f.$table VALUES (%d, %d, 'new %d')", $_, $_ % 90, $_ } 401 .. 460),
		"UPDATE $f.$table SET n = n + 1 WHERE k <= 450",
		"UPDATE $f.$table SET note = concat(note, '!') WHERE k % 3 = 0",
		"DELETE FROM $f.$table WHERE k % 7 = 0",
		"UPDATE $f.$table SET k = k + 1000 WHERE k BETWEEN 50 AND 60",		# to another partition
		"INSERT INTO $f.$table VALUES (55, 1, 'again')",
		"UPDATE $f.$table SET note = NULL WHERE k = 2", "UPDATE $f.$table SET note = 'x' WHERE k = 2",
		'COMMIT');
	$source->sql("DELETE FROM $f.$table WHERE k = 401; INSERT INTO $f.$table VALUES (401, 3, 'once more')");
	return;
}

sub source_column_rows
{
	my ($f, $table) = @_;

	return $hub->safe_psql('postgres', "SELECT k, n, note FROM $f.$table ORDER BY k");
}

for my $flavour (@flavours)
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $f = "kinds_$flavour";

	$source->sql("CREATE DATABASE $f");
	for my $table (@tables)
	{
		$source->sql("CREATE TABLE $f.$table (k int PRIMARY KEY, n int, note varchar(60))");
		$source->sql("INSERT INTO $f.$table VALUES " . join ',', map { "($_, $_ % 50, 'row $_')" } 1 .. 400);
	}
	pull($hub, $source, $f);
	caught_up($hub, $f);
	$hub->safe_psql('postgres', "SELECT tapdata.stop('$f')");
	wait_for_state($hub, $f, 'stopped');
	change_hub_tables($f);
	$hub->safe_psql('postgres', "SELECT tapdata.start('$f')");

	for my $table (@tables)
	{
		# these columns are compared with what a plain table has got
		next if $table eq 'added';
		changes($source, $f, $table);
	}
	$source->sql("INSERT INTO $f.added VALUES (1001, 20, 'more'); UPDATE $f.added SET n = 7 WHERE k = 3;
		DELETE FROM $f.added WHERE k = 4");
	caught_up($hub, $f);

	same_rows($source, "$f.plain", $hub, "$f.plain", "$f: a table nobody has changed");
	for my $table (grep { $_ ne 'plain' && $_ ne 'added' } @tables)
	{
		is(source_column_rows($f, $table), source_column_rows($f, 'plain'), "$f: rows of $table");
	}

	sql_ok($hub, "SELECT k, n, note, mark, seq > 400 FROM $f.added WHERE k IN (3, 4, 1001) ORDER BY k",
		"3|7|row 3|new|f\n1001|20|more|new|t", "$f: added columns keep their values and take their defaults");
	sql_ok($hub, "SELECT count(*) FROM $f.generated WHERE twice IS DISTINCT FROM n * 2", '0',
		"$f: generated columns follow");
	sql_ok($hub, "SELECT count(*) > 400, count(DISTINCT op) FROM $f.log", 't|3', "$f: triggers fired");
	sql_ok($hub, "SELECT count(*) > 0 FROM $f.parted_1", 't', "$f: rows are in their partitions");
	sql_ok($hub, "SELECT count(*) FROM $f.whole", $source->value("SELECT count(*) FROM $f.part_of"),
		"$f: a partition of a table of the user");

	# --- one row that is changed in many transactions, which share few in the hub ----------------

	$hub->safe_psql('postgres', "SELECT tapdata.stop('$f')");
	wait_for_state($hub, $f, 'stopped');
	$source->sql(join '; ', map { "UPDATE $f.hot SET n = $_ WHERE k = 1" } 1 .. 3000);
	$hub->safe_psql('postgres', "SELECT tapdata.start('$f')");
	caught_up($hub, $f);
	same_rows($source, "$f.hot", $hub, "$f.hot", "$f: a row that was changed 3000 times");

	# --- rows that do not fit ---------------------------------------------------------------------

	$hub->safe_psql('postgres', "ALTER TABLE $f.plain ALTER note TYPE varchar(12) USING left(note, 12)");
	$source->sql("UPDATE $f.plain SET note = 'much longer than that' WHERE k = 1");
	wait_for_state($hub, $f, 'failed');
	like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = '$f'"),
		qr/value too long for type character varying\(12\)/, "$f: a column that became too short is an error");
	$hub->safe_psql('postgres', "ALTER TABLE $f.plain ALTER note TYPE varchar(60); SELECT tapdata.start('$f')");
	caught_up($hub, $f);
	sql_ok($hub, "SELECT note FROM $f.plain WHERE k = 1", 'much longer than that', "$f: and can be mended");

	$hub->safe_psql('postgres', "DELETE FROM $f.plain WHERE k = 2");
	$source->sql("UPDATE $f.plain SET n = 0 WHERE k = 2");
	wait_for_state($hub, $f, 'failed');
	like($hub->safe_psql('postgres', "SELECT last_error FROM tapdata.status WHERE name = '$f'"),
		qr/row to update is missing in hub table "plain"/, "$f: a row that somebody deleted is missed");

	$source->stop;
	$hub->safe_psql('postgres', "SELECT tapdata.drop_pipeline('$f')");
}

$hub->stop;
done_testing();
