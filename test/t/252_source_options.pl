# Options of sources that the other tests have no use for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Files;
use Tapdata::Http;
use Tapdata::Test;
use Test::More;

Tapdata::Http->require;

my $hub = new_hub('source_options', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $json = JSON::PP->new->canonical;
my $number = 0;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# --- files ---------------------------------------------------------------------------------------

# The rows of table t, of files that are there.
sub rows_of
{
	my ($options, %content) = @_;
	my $files = Tapdata::Files->new;
	my $name = 'f' . ++$number;

	$files->write($_, $content{$_}) foreach sort keys %content;
	pull_files($hub, $name, $files->uri('*'), $json->encode({ table => 't', settle_ms => 0, %$options }));
	caught_up($hub, $name);
	my $rows = sql("SELECT string_agg(to_jsonb(r)::text, ' ' ORDER BY r::text) FROM $name.t r");
	sql("SELECT tapdata.drop_pipeline('$name', true); SELECT tapdata.disconnect('$name')");
	return $rows;
}

is(rows_of({ ignore => '*.old, draft*' }, 'a.csv' => "id\n1\n", 'a.csv.old' => "id\n2\n", 'draft.csv' => "id\n3\n", 'b.part' => "id\n4\n"),
	'{"id": 1} {"id": 4}', 'ignore is instead of the names that are ignored without it');

my %records = (format => 'fixed', code_page => 'ASCII');
my $copybook = '01 R. 05 A PIC 9(2) COMP. 05 B PIC S9(6) COMP. 05 C PIC S9(9) COMP-5. 05 D COMP-2.';
is(rows_of({ %records, dialect => 'microfocus', copybook_text => $copybook }, 'x' => pack('C C n l< d<', 7, 0, 300, -5, 1.5)),
	'{"a": 7, "b": 300, "c": -5, "d": 1.5}', 'dialect microfocus: as few bytes as do, the machine\'s order and floats');
is(rows_of({ %records, copybook_text => '01 R. 05 A PIC S9(4) COMP. 05 B PIC 9(4) COMP.', truncation => 'bin' }, 'x' => pack('s> n', -30000, 60000)),
	'{"a": -30000, "b": 60000}', 'truncation bin: all values of the bytes');
is(rows_of({ %records, copybook_form => 'free', copybook_text => "01 R.\n05 A PIC X.\n05 B PIC 9." }, 'x' => 'a1'),
	'{"a": "a", "b": 1}', 'copybook_form free');
my $fixed = join "\n", map { sprintf '%-72sJUNK', $_ } '000100 01 R.', '000200     05 A PIC X.';
is(rows_of({ %records, copybook_form => 'fixed', copybook_text => $fixed }, 'x' => 'a'),
	'{"a": "a"}', 'copybook_form fixed: without numbers and what is behind column 72');

# --- APIs by HTTP ----------------------------------------------------------------------------------

my $server = Tapdata::Http->start(arguments => ['api']);

# Pulls /orders, and returns what was asked for, in this order.
sub asked
{
	my ($options) = @_;
	my $name = 'h' . ++$number;

	$server->forget;
	pull_http($hub, $server, $name, $options, { interval => '1 day' });
	caught_up($hub, $name);
	my $rows = sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM $name.orders");
	sql("SELECT tapdata.drop_pipeline('$name', true); SELECT tapdata.disconnect('$name')");
	return ($rows, map { $_->{path} . ($_->{method} eq 'POST' ? " $_->{body}" : '') } $server->requests);
}

$server->api('/orders' => { rows => [] });
$server->faults(
	{ path => '/orders?no=0&each=3', status => 200, body => '[{"id": 1}]', headers => { 'Content-Type' => 'application/json' }, times => 100 },
	{ path => '/orders?no=1&each=3', status => 200, body => '[{"id": 2}]', headers => { 'Content-Type' => 'application/json' }, times => 100 },
	{ path => '/orders?no=2&each=3', status => 404, times => 100 });
my ($rows, @asked) = asked({ endpoints => { orders => { key => 'id', pagination => 'page', page_parameter => 'no',
	page_size => 3, page_size_parameter => 'each', first_page => 0 } } });
is($rows, '1 2', 'page_parameter, page_size_parameter, first_page') or diag(join "\n", @asked);
$server->faults;

my $files = Tapdata::Files->new;
$files->write('secret', "s3cret\nanother line\n");
$server->api('/orders' => { rows => [ { id => 1 } ], login => 'oauth' }, '/token' => { body => JSON::PP::true });
($rows, @asked) = asked({ oauth_token_url => $server->url . '/token', oauth_client_id => 'hub', oauth_login => 'body',
	oauth_client_secret_file => $files->path('secret'), oauth_audience => 'https://api/', endpoints => { orders => { key => 'id' } } });
is($rows, '1', 'oauth_client_secret_file: the first line of it');
like($asked[0], qr{^/token .*\baudience=https%3A%2F%2Fapi%2F(?:&|$)}i, 'oauth_audience') or diag(join "\n", @asked);

done_testing();
