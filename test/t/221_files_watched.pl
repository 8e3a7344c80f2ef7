# Folders are watched: files that come, grow, move and are replaced are read exactly once,
# whatever is killed meanwhile.
#
# TAPDATA_CHAOS_KILLS sets the number of kills (make chaos).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{TAPDATA_CHAOS_KILLS} || 20;
my $seed = $ENV{TAPDATA_CHAOS_SEED} || time;
srand($seed);
note "TAPDATA_CHAOS_SEED=$seed";

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");

sub rows_are
{
	my ($table, $expected, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_ok($hub, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM $table", $expected, $name);
}

# --- files come and grow ------------------------------------------------------------

my $files = Tapdata::Files->new;
$files->write('log_1.csv', "id,note\n1,a\n2,b\n");
pull_files($hub, 'log', $files->uri('log_*.csv'));
caught_up($hub, 'log');
rows_are('log.log', '1 2', 'what was there');
$files->write('log_2.csv', "id,note\n3,c\n");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3', 'a new file');
$files->add('log_2.csv', "4,d\n5,e\n");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5', 'a file that grew');

# however long the machine takes between the two pieces
$hub->safe_psql('postgres', q{SELECT tapdata.alter_connection('log', options => '{"settle_ms": 60000}')});
$files->add('log_1.csv', "6,f\n7,\"half");
wait_for_sql($hub, 'SELECT count(*) FROM log.log', '6');
$files->add('log_1.csv', " and\nhalf\"\n8,h\n");
caught_up($hub, 'log');
$hub->safe_psql('postgres', q{SELECT tapdata.alter_connection('log', options => '{"settle_ms": 100}')});
rows_are('log.log', '1 2 3 4 5 6 7 8', 'a record that came in two pieces');
sql_ok($hub, 'SELECT note FROM log.log WHERE id = 7', "half and\nhalf", 'is whole');
utime time, time, $files->path('log_1.csv');
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8', 'a file that was touched');
$files->write('log_1.csv', "id,note\n1,a\n2,b\n6,f\n7,\"half and\nhalf\"\n8,h\n9,i\n");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8 9', 'a file that was copied anew, and is longer');
$files->remove('log_2.csv');
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8 9', 'a file that is gone');
$files->write('log_2.csv', "id,note\n3,c\n4,d\n5,e\n");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8 9', 'and is back as it was');
$hub->safe_psql('postgres', "SELECT tapdata.stop('log'); SELECT tapdata.start('log')");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8 9', 'nothing is read again after a restart');
$files->write('other.csv', "id,note\n100,x\n");
$files->write('log_3.csv.tmp', "id,note\n101,x\n");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8 9', 'other files are not read');
$files->write('log_1.csv', "id,note\n10,new\n");
caught_up($hub, 'log');
rows_are('log.log', '1 2 3 4 5 6 7 8 9 10', 'another file under the name of one that was read');
sql_ok($hub, "SELECT count(*) FROM tapdata.events WHERE pipeline = 'log' AND kind = 'file replaced'", '1',
	'which the events tell');
sql_becomes($hub, "SELECT position = source_position, state, lag_bytes, lag_seconds, last_commit_at > now() - interval '1 hour' FROM tapdata.status WHERE name = 'log'",
	't|streaming|0|0|t', 'nothing is left');

my $begun = Tapdata::Files->new;
$begun->write('begun.csv', "\xef\xbb\xbf# a remark\nid,n");
pull_files($hub, 'begun', $begun->uri('begun.csv'), '{"settle_ms": 0, "require_newline": true, "skip_rows": 1, "columns": {"id": "int", "note": "text"}}');
caught_up($hub, 'begun');
$begun->add('begun.csv', "ote\n");
caught_up($hub, 'begun');
$begun->add('begun.csv', "1,a\n");
caught_up($hub, 'begun');
rows_are('begun.begun', '1', 'a file whose header came in pieces');

# nobody waits, and nothing is looked at by the clock: the kernel tells
my $told = Tapdata::Files->new;
mkdir $told->path($_) or die for qw(a b);
$told->write('a/day.csv', "id\n1\n");
pull_files($hub, 'told', $told->uri('*/day.csv'), '{"poll_ms": 86400000}');
wait_for_sql($hub, q{SELECT count(*) FROM told.day}, '1');
$told->write('b/day.csv', "id\n2\n");
wait_for_sql($hub, q{SELECT count(*) FROM told.day}, '2');
$told->add('a/day.csv', "3\n");
wait_for_sql($hub, q{SELECT count(*) FROM told.day}, '3');
mkdir $told->path('c') or die;
$told->write('c/day.csv', "id\n4\n");
caught_up($hub, 'told');
rows_are('told.day', '1 2 3 4', 'files of several folders, also of one that comes later');

# --- one that is still being written ---------------------------------------------------

my $slow = Tapdata::Files->new;
$slow->write('first.jsonl', qq({"id": 0}\n));
pull_files($hub, 'slow', $slow->uri('*.jsonl'), '{"settle_ms": 1500, "table": "slow"}');
caught_up($hub, 'slow');
my $quiet_at = time;
my $longest = 0;
for my $part (1 .. 8)
{
	$slow->add('slow.jsonl', qq({"id": $part}\n));
	$longest = time - $quiet_at if time - $quiet_at > $longest;
	$quiet_at = time;
	sleep 0.25;
}
# the machine may have paused for so long that the file looked complete in between
my $seen = $hub->safe_psql('postgres', 'SELECT count(*) FROM slow.slow');
ok($seen == 1 || $longest > 1.2 || time - $quiet_at > 1.2, 'a file is not begun while it is written');
caught_up($hub, 'slow');
rows_are('slow.slow', '0 1 2 3 4 5 6 7 8', 'but when it is complete');

my $marked = Tapdata::Files->new;
$marked->write('a.csv', "id\n1\n");
$marked->write('a.csv.done', '');
$marked->write('b.csv', "id\n2\n");
$marked->write('c.csv', "id\n3\n");
$marked->write('c.csv.done', '');
$marked->write('c.csv.lock', '');
pull_files($hub, 'marked', $marked->uri('*.csv'),
	'{"done_suffix": ".done", "lock_suffix": ".lock", "table": "marked"}');
caught_up($hub, 'marked');
rows_are('marked.marked', '1', 'marks say what is complete');
$marked->write('b.csv.done', '');
caught_up($hub, 'marked');
rows_are('marked.marked', '1 2', 'a mark that comes later');
$marked->remove('c.csv.lock');
caught_up($hub, 'marked');
rows_are('marked.marked', '1 2 3', 'a lock that goes');

# --- logs that are rotated -----------------------------------------------------------

my $app = Tapdata::Files->new;
$app->write('app.log', qq({"id": 1}\n{"id": 2}\n));
pull_files($hub, 'app', $app->uri('app.log*'), '{"format": "jsonl", "require_newline": true}');
caught_up($hub, 'app');
$hub->safe_psql('postgres', "SELECT tapdata.stop('app')");
$app->add('app.log', qq({"id": 3}\n));
$app->move('app.log', 'app.log.1');
$app->write('app.log', qq({"id": 4}\n));
$hub->safe_psql('postgres', "SELECT tapdata.start('app')");
caught_up($hub, 'app');
rows_are('app.app', '1 2 3 4', 'a file that was moved is read on under its new name');
$app->move('app.log.1', 'app.log.2');
$app->move('app.log', 'app.log.1');
$app->write('app.log', qq({"id": 5}\n{"id": 6));
caught_up($hub, 'app');
rows_are('app.app', '1 2 3 4 5', 'so are several, and a half line is left');
$app->add('app.log', qq(7}\n));
caught_up($hub, 'app');
rows_are('app.app', '1 2 3 4 5 67', 'until it is whole');
open my $truncated, '>', $app->path('app.log') or die $!;
print $truncated qq({"id": 8}\n);
close $truncated;
caught_up($hub, 'app');
rows_are('app.app', '1 2 3 4 5 8 67', 'a file that was cut off begins anew');
$hub->safe_psql('postgres', "SELECT tapdata.resync('app')");
caught_up($hub, 'app');
rows_are('app.app', '1 2 3 4 8', 'resync reads all files that are there');

# --- exactly once under kills -------------------------------------------------------------

my $chaos = Tapdata::Files->new;
my $id = 0;
my @growing;

sub some_rows
{
	my ($rows) = @_;

	return join '', map { ++$id . ",note $id of many\n" } 1 .. $rows;
}

# Larger than a transaction, so that there is a middle to be killed in.
sub new_file
{
	my $name = sprintf 'chaos_%03d.csv', scalar @growing;
	my $content = "id,note\n" . some_rows(60_000);

	push @growing, $name;
	if (@growing % 3 == 0)
	{
		$name .= '.gz';
		$content = $chaos->filtered('gzip -1 -c', $content);
	}
	$chaos->write($name, $content);
	return;
}

new_file();
pull_files($hub, 'chaos', $chaos->uri('chaos_*'), undef, '{"batch_bytes": 1000000}');
my $killed = 0;
my $worker = "application_name = 'tapdata pipeline chaos'";
for my $accident (1 .. $kills)
{
	new_file() if $accident % 4 == 1;
	my $plain = (grep { -e $chaos->path($_) } @growing)[0];
	$chaos->add($plain, some_rows(100));

	# a machine that takes its time to recover would have nothing to be killed otherwise
	wait_for_sql($hub, "SELECT count(*) FROM pg_stat_activity WHERE $worker", '1');
	sleep rand 0.3;
	if ($accident % 7 == 0)
	{
		$hub->stop('immediate');
		$hub->start;
		$killed++;
	}
	else
	{
		$killed++ if signal_one($hub, $worker, $accident % 2 ? 'KILL' : 'TERM');
	}
}
recovered($hub);
ok(caught_up($hub, 'chaos', 180), "the hub catches up after $killed kills");
cmp_ok($killed, '>', $kills / 2, 'which hit something');
sql_ok($hub, 'SELECT count(*), count(DISTINCT id), max(id), sum(length(note)) = sum(length(\'note \' || id || \' of many\')) FROM chaos.chaos',
	"$id|$id|$id|t", 'each row is there once');
sql_becomes($hub, "SELECT state, dead_letters FROM tapdata.status WHERE name = 'chaos'", 'streaming|0',
	'nothing was left out');

done_testing();
