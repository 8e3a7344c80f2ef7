# tapdata.sync_sequences() with PostgreSQL: whatever a sequence of the source is like, the
# hub's gives out the same numbers from there on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

# type of the column, the sequence's options, what was done to it (with the sequence as %s)
my @kinds = (
	[ 'int', '' ],
	[ 'int', '', 'SELECT nextval(%s), nextval(%s)' ],
	[ 'bigint', 'START 1000' ],
	[ 'bigint', 'START 1000 INCREMENT 7', 'SELECT nextval(%s), nextval(%s)' ],
	[ 'bigint', '', 'SELECT setval(%s, 500, false)' ],
	[ 'int', 'MINVALUE -100 START -100', 'SELECT nextval(%s)' ],
	[ 'int', 'MINVALUE -100 START -1', 'SELECT nextval(%s), nextval(%s)' ],
	[ 'int', 'MINVALUE -100 START -100' ],
	[ 'int', 'INCREMENT -1', 'SELECT nextval(%s)' ],
	[ 'int', 'INCREMENT -1 MAXVALUE 100 START 100', 'SELECT nextval(%s)' ],
	[ 'int', 'INCREMENT -3 MAXVALUE -10 MINVALUE -50 START -12 CYCLE', 'SELECT setval(%s, -49)' ],
	[ 'smallint', 'MINVALUE 5 MAXVALUE 8 START 5 CYCLE', 'SELECT setval(%s, 7)' ],
	[ 'smallint', '', 'SELECT setval(%s, 32766)' ],
	[ 'smallint', 'AS bigint MINVALUE -5 MAXVALUE 99999', 'SELECT nextval(%s)' ],
	[ 'bigint', 'MAXVALUE 9223372036854775807', 'SELECT setval(%s, 9223372036854775806)' ],
	[ 'bigint', 'MINVALUE -9223372036854775808 START -9223372036854775808', 'SELECT nextval(%s)' ]);

my $hub = new_hub('hub');
my $source = new_source('source');
my @names;

$source->safe_psql('postgres', 'CREATE SCHEMA s');
for my $i (0 .. $#kinds)
{
	my ($type, $options, $done) = @{ $kinds[$i] };

	for my $kind ('identity', 'owned', 'free')
	{
		my $name = "s.${kind}_$i";
		my $sequence = "'${name}_id_seq'";

		# the type of an identity's sequence is the column's
		next if $kind eq 'identity' && $options =~ /^AS/;
		next if $kind eq 'free' && $i > 3;
		at_source($source,
			$kind eq 'identity' ? "CREATE TABLE $name (v int, id $type GENERATED ALWAYS AS IDENTITY ($options CACHE 1) PRIMARY KEY)" :
			"CREATE TABLE $name (v int, id $type PRIMARY KEY); CREATE SEQUENCE ${name}_id_seq ${\ ($options =~ /^AS/ ? '' : qq(AS $type))} $options ${\ ($kind eq 'owned' ? qq(OWNED BY $name.id) : '')}; "
			  . "ALTER TABLE $name ALTER id SET DEFAULT nextval($sequence)");
		at_source($source, $done =~ s/%s/$sequence/gr) if $done;
		push @names, [ $name, "$kind $type" . ($options ? ", $options" : '') . ($done ? ': ' . $done =~ s/SELECT |%s//gr : '') ];
	}
}

# columns whose default is not of a sequence of their own, or not of the one that they own
at_source($source, q(
	CREATE SEQUENCE s.both START 70;
	CREATE TABLE s.shared_1 (v int, id bigint PRIMARY KEY DEFAULT nextval('s.both'));
	CREATE TABLE s.shared_2 (v int, id bigint PRIMARY KEY DEFAULT nextval('s.both'));
	CREATE TABLE s.texts (code text PRIMARY KEY DEFAULT 'X' || nextval('s.both'));
	CREATE TABLE s.other (id bigserial PRIMARY KEY);
	ALTER TABLE s.other ALTER id SET DEFAULT nextval('s.both');
	INSERT INTO s.shared_1 (v) VALUES (1), (2);
	INSERT INTO s.shared_2 (v) VALUES (3);
	INSERT INTO s.texts DEFAULT VALUES;
	INSERT INTO s.other DEFAULT VALUES;
));
connect_source($hub, $source, 'src');
pull_from($hub, 'p', 'src', ['s.*'], 's');
caught_up($hub, 'p');

# The next numbers, and the errors behind the last.
sub next_numbers
{
	my ($node, $table) = @_;
	my @numbers;

	for (1 .. 3)
	{
		my ($code, $out, $err) = $node->psql('postgres', "SELECT nextval(coalesce(pg_get_serial_sequence('$table', 'id'), '${table}_id_seq'))");

		push @numbers, $code == 0 ? $out : $err =~ /(reached m\w+ value of sequence)/ ? $1 : $err;
	}
	return join ' ', @numbers;
}

my ($code, $count, $warnings) = $hub->psql('postgres', "SELECT count(*) FROM tapdata.sync_sequences('p') WHERE hub_table::text !~ 'shared|texts|other'");
is($count, scalar @names, 'all sequences are brought along');
like($warnings, qr/WARNING: .*column "code" of hub table s\.texts is filled by a sequence.*Its type is text/s, 'a column that can have none is told of');
is($hub->safe_psql('postgres', 'INSERT INTO s.shared_1 (v) VALUES (8) RETURNING id'), 75, 'a shared sequence serves a column');
is($hub->safe_psql('postgres', 'INSERT INTO s.shared_2 (v) VALUES (9) RETURNING id'), 75, 'and the other');
is($hub->safe_psql('postgres', 'INSERT INTO s.other DEFAULT VALUES RETURNING id'), 75, 'the sequence of the default counts, not one that is owned besides');
is($hub->safe_psql('postgres', "SELECT coalesce(last_value::text, 'none') FROM tapdata.sync_sequences('p') WHERE hub_table = 's.identity_4'::regclass"),
	'none', 'no number was given out where the next one was set');
is(next_numbers($hub, $_->[0]), next_numbers($source, $_->[0]), $_->[1]) for @names;

# and again: what is there is moved
$hub->safe_psql('postgres', "SELECT tapdata.sync_sequences('p')");
is(next_numbers($hub, $_->[0]), next_numbers($source, $_->[0]), "again: $_->[1]") for @names;

# a sequence of the hub's own keeps its step, so that two sides can give out numbers between each other's
$hub->safe_psql('postgres', q(
	ALTER TABLE s.identity_1 ALTER id SET INCREMENT BY 10 SET MAXVALUE 20;
	ALTER TABLE s.identity_0 ALTER id DROP IDENTITY;
	CREATE SEQUENCE s.narrow AS smallint OWNED BY s.identity_0.id;
));
$source->safe_psql('postgres', "SELECT setval('s.identity_1_id_seq', 40), setval('s.identity_0_id_seq', 30)");
$hub->safe_psql('postgres', "SELECT tapdata.sync_sequences('p'); ALTER TABLE s.identity_1 ALTER id SET NO MAXVALUE");
is($hub->safe_psql('postgres', "SELECT nextval('s.identity_1_id_seq'), nextval('s.narrow')"), '50|31', 'bounds are widened, the increment stays');
$source->safe_psql('postgres', "SELECT setval('s.identity_0_id_seq', 40000)");
sql_fails($hub, "SELECT tapdata.sync_sequences('p')", '22003', qr/"narrow" cannot stand at 40000.*ALTER SEQUENCE s\.narrow AS bigint/s,
	'one that is too small is an error');
$hub->safe_psql('postgres', "ALTER SEQUENCE s.narrow AS bigint; SELECT tapdata.sync_sequences('p')");
is($hub->safe_psql('postgres', "SELECT nextval('s.narrow')"), '40001', 'which the hint mends');

# a sequence that serves several columns of the hub, by their defaults
$hub->safe_psql('postgres', q(
	CREATE SEQUENCE s.of_all;
	ALTER TABLE s.shared_1 ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('s.of_all');
	ALTER TABLE s.shared_2 ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('s.of_all');
	ALTER TABLE s.texts ALTER code SET DEFAULT 'X' || nextval('s.of_all');
));
($code, $count, $warnings) = $hub->psql('postgres', "SELECT count(*) FROM tapdata.sync_sequences('p') WHERE sequence = 's.of_all'::regclass AND last_value = 74");
is($count, 3, 'a sequence of the hub that columns share is moved');
unlike($warnings, qr/texts/, 'nothing is left to tell of');
is($hub->safe_psql('postgres', 'INSERT INTO s.texts DEFAULT VALUES RETURNING code'), 'X75', 'it goes on where the other is');
$hub->safe_psql('postgres', "SELECT setval('s.of_all', 1000); SELECT tapdata.sync_sequences('p')");
is($hub->safe_psql('postgres', "SELECT nextval('s.of_all')"), '1001', 'but not back, since it may have counted for others');

done_testing();
