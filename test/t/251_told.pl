# What a pipeline says of a record that it cannot store: where that is, and calls that work
# when they are made as they stand in the message. And what add_tables() says when there is
# nothing to add.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;

my $hub = new_hub('told', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $files = Tapdata::Files->new;

sub last_error
{
	return $hub->safe_psql('postgres', q{SELECT last_error FROM tapdata.status WHERE name = 'p'});
}

sub standard_error
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');

	$hub->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	return $err;
}

$files->write('t_1.csv', "id,v\n1,10\n");
pull_files($hub, 'p', $files->uri('t_*.csv'), '{"settle_ms": 0}');
caught_up($hub, 'p');

# --- from an error to a dead letter, by what messages say --------------------------------------

$files->write('t_2.csv', "id,v\n2,many\n3,30\n");
wait_for_state($hub, 'p', 'failed');
my $error = last_error();
like($error, qr{field "v".*"many".*File ".*/t_2\.csv", line 2, byte 5\.; hint: }, 'column, value and place');
like($error, qr/; context: pipeline "p", after position \S+; tapdata pipeline "p"$/, 'parts of the context are told apart');

my @calls = $error =~ /(tapdata\.\w+\('p'(?:, '[^']*')?\))/g;
is(scalar(@calls), 2, 'the hint names two calls') or diag($error);
$hub->safe_psql('postgres', "SELECT $_") foreach @calls;
caught_up($hub, 'p');
sql_ok($hub, 'SELECT string_agg(id || \' \' || v, \', \' ORDER BY id) FROM p.t', '1 10, 3 30', 'they let the others pass');
sql_ok($hub, q{SELECT change->>'content', change->>'line' FROM tapdata.dead_letters}, "2,many\n|2", 'and set it aside');

# --- a retry that cannot succeed says why --------------------------------------------------------

my $warning = standard_error(q{SELECT tapdata.retry_dead_letters('p')});
like($warning, qr/DETAIL:  it could not be read, so that there is no row to store/, 'a record without a row');
like($warning, qr/HINT:  .*tapdata\.discard_dead_letters\(\)/, 'and what to do with it');
sql_ok($hub, q{SELECT tapdata.discard_dead_letters('p')}, '1', 'which works');

# --- an error without another way -----------------------------------------------------------------

$files->write('t_3.csv', "\xff\xfei\0d\0\n\0");
wait_for_state($hub, 'p', 'failed');
unlike(last_error(), qr/on_error/, 'no such hint where it would not help');
$files->remove('t_3.csv');
$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
caught_up($hub, 'p');

# --- nothing to add --------------------------------------------------------------------------------

like(standard_error(q{SELECT tapdata.add_tables('p', '{t}')}),
	qr/NOTICE:  no table was added to pipeline "p"\nDETAIL:  .*\nHINT:  .*tapdata\.discover\(\)/, 'that nothing was added is told');

done_testing();
