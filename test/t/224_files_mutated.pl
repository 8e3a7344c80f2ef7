# Files with random damage: every record is stored or a dead letter, nothing crashes, and
# memory stays small.
#
# TAPDATA_MUTATIONS sets the number of files, TAPDATA_CHAOS_SEED repeats a run.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;

my $count = $ENV{TAPDATA_MUTATIONS} || 60;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $files = Tapdata::Files->new;
my @kinds = qw(csv jsonl json);
my %whole = (
	csv => "id,name,at,n\n" . join('', map { qq($_,"na""me $_",2026-01-01,$_.5\n) } 1 .. 200),
	jsonl => join('', map { qq({"id": $_, "name": "n$_", "at": "2026-01-01", "n": $_.5, "x": [1, {"a": null}]}\n) } 1 .. 200));
$whole{json} = '[' . join(',', split /\n/, $whole{jsonl}) . ']';

$files->write("a_$_.$_", $whole{$_}) for @kinds;
pull_files($hub, 'damaged', $files->uri(''),
	'{"settle_ms": 0, "max_record_bytes": 100000, "tables": {"csv": "*_csv.*", "jsonl": "*_jsonl.*", "json": "*_json.*"}}',
	'{"on_error": "dead_letter"}');
ok(caught_up($hub, 'damaged'), 'whole files are read');
sql_ok($hub, "SELECT count(*) FROM damaged.$_", '200', $_) for @kinds;

for my $number (1 .. $count)
{
	my $kind = $kinds[ rand @kinds ];
	my $content = damaged($whole{$kind});
	my $name = sprintf 'b%03d_%s.%s', $number, $kind, $kind;

	if (rand() < 0.3)
	{
		$content = $files->filtered('gzip -c', $content);
		$content = damaged($content) if rand() < 0.5;
		$name .= '.gz';
	}
	$files->write($name, $content);
}
ok(caught_up($hub, 'damaged', 120), "$count damaged files are read");
sql_becomes($hub, 'SELECT state, restarts FROM tapdata.status', 'streaming|0', 'without an end of the worker');
sql_ok($hub, 'SELECT count(*) > 0, bool_and(error <> \'\' AND change ? \'file\') FROM tapdata.dead_letters', 't|t',
	'what could not be read is kept, with its place');
my ($pid) = worker_pids($hub, 'tapdata pipeline');
my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/;
cmp_ok($kilobytes, '<', 64 * 1024, 'in little memory');
$files->write('c_csv.csv', "id,name,at,n\n777777,last,2026-01-01,1\n");
caught_up($hub, 'damaged');
sql_ok($hub, 'SELECT name FROM damaged.csv WHERE id = 777777', 'last', 'the pipeline goes on');
done_testing();

sub damaged
{
	my ($content) = @_;

	for (1 .. (1, 2, 5, 20)[ rand 4 ])
	{
		my $at = int rand length($content) + 1;
		my $what = int rand 6;

		substr($content, $at, 1) = chr rand 256 if $what == 0 && $at < length $content;
		substr($content, $at, 0) = (split //, qq(",\n\r\\\0{}[]:\xff\xc3))[ rand 13 ] if $what == 1;
		substr($content, $at, rand 50) = '' if $what == 2 && $at < length $content;
		substr($content, $at, 0) = substr $content, rand length $content, rand 200 if $what == 3;
		substr($content, $at, 0) = substr('"{[', rand 3, 1) x (1, 3, 500)[ rand 3 ] if $what == 4;
		substr($content, $at) = '' if $what == 5 && rand() < 0.2;
	}
	return $content;
}
