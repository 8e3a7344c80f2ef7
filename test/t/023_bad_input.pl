# Whatever is wrong with a source is an error at the call, with an SQLSTATE, a
# detail and a hint, and nothing half made is left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Proxy;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

my @flavours = usable_flavours();
my $hub = new_hub('bad_input');

sub nothing_half_made
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_ok($hub,
		q{SELECT (SELECT count(*) FROM tapdata.pipelines), to_regnamespace('hub') IS NULL}, '0|t',
		"$name: nothing half made");
}

# pull() must fail, and leave nothing
sub pull_fails
{
	my ($connection, $tables, $sqlstate, $pattern, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql_fails($hub, "SELECT tapdata.pull('p', '$connection', '$tables', 'hub')", $sqlstate, $pattern, $name);
	return nothing_half_made($name);
}

# the check must fail, with a hint
sub check_fails
{
	my ($connection, $check, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return sql_ok($hub,
		"SELECT ok, detail <> '', hint <> '' FROM tapdata.test_connection('$connection', 'source') WHERE check_name = '$check'",
		'f|t|t', $name);
}

sub connection
{
	my ($name, $uri, $options) = @_;

	$options ||= '{}';
	$hub->safe_psql('postgres', "SELECT tapdata.connect('$name', '$uri', '$options')");
	return $name;
}

for my $flavour (@flavours)
{
	my $source = Tapdata::MySQL->start(flavour => $flavour);
	my $authority = $source->host . ':' . $source->port;
	my $f = $flavour;

	$source->sql(q{
		CREATE DATABASE shop;
		CREATE TABLE shop.orders (id int PRIMARY KEY, customer varchar(20));
		CREATE TABLE shop.stock (id int PRIMARY KEY);
		INSERT INTO shop.orders VALUES (1, 'Ada');
		CREATE USER 'plain'@'%' IDENTIFIED BY 'pw', 'reader'@'%' IDENTIFIED BY 'pw';
		GRANT SELECT ON shop.* TO 'reader'@'%';
		GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'plain'@'%';});
	$source->sql(q{GRANT REPLICA MONITOR, BINLOG MONITOR ON *.* TO 'plain'@'%'}) if $source->is_mariadb;

	# --- who is there -----------------------------------------------------------------

	my $wrong = connection("wrong_$f", "mysql://tap:no\@$authority/");
	pull_fails($wrong, '{shop.*}', '28000|28P01', qr/DETAIL.*HINT/s, "$f: wrong password");
	check_fails($wrong, 'login', "$f: test_connection says so");
	sql_fails($hub, "SELECT * FROM tapdata.discover('$wrong')", '28000|28P01', qr/HINT/, "$f: so does discover");

	my $reader = connection("reader_$f", "mysql://reader:pw\@$authority/");
	pull_fails($reader, '{shop.*}', '42501', qr/HINT.*GRANT REPLICATION SLAVE/s, "$f: no right to read the log");
	my $plain = connection("plain_$f", "mysql://plain:pw\@$authority/");
	pull_fails($plain, '{shop.*}', '42P01|42501', qr/HINT.*(?:GRANT|grant)/s, "$f: no right to read the tables");

	# --- what is asked for --------------------------------------------------------------

	my $good = connection("good_$f", $source->uri);
	pull_fails($good, '{shop.nosuch}', '42P01', qr/shop\.nosuch.*shop\.orders/s, "$f: no such table");
	pull_fails($good, '{shop.orders, nosuch.*}', '42P01', qr/nosuch\.\*/, "$f: one of the patterns matches nothing");
	pull_fails($good, '{SHOP.ORDERS}', '42P01', qr/SHOP\.ORDERS/, "$f: case counts");
	sql_ok($hub, "SELECT source_table, key_columns FROM tapdata.discover('$good', 'shop.*')",
		"shop.orders|{id}\nshop.stock|{id}", "$f: discover lists what there is");

	# without a purpose, before anything uses it: what a source needs, each once
	sql_ok($hub, "SELECT string_agg(DISTINCT needed_for, ','), count(*) = count(DISTINCT check_name), string_agg(check_name, ',') FILTER (WHERE NOT ok AND required) FROM tapdata.test_connection('$good', NULL)",
		'source|t|', "$f: a good account of a source lacks nothing");

	# --- what the source is set to -----------------------------------------------------

	my $unmended = connection("id_$f", $source->uri, '{"server_id": ' . $source->value('SELECT @@server_id') . '}');
	pull_fails($unmended, '{shop.*}', '22023', qr/own id.*HINT/s, "$f: the source's own server id");
	if ($source->is_mariadb)
	{
		$source->sql(q{SET GLOBAL binlog_format = 'STATEMENT'});
		check_fails($good, 'binlog_format', "$f: binlog_format is checked");
		pull_fails($good, '{shop.*}', '55000', qr/binlog_format.*SET GLOBAL binlog_format = 'ROW'/s, "$f: binlog_format");
		$source->sql(q{SET GLOBAL binlog_format = 'ROW'});
	}
	else
	{
		$source->sql(q{SET GLOBAL gtid_mode = ON_PERMISSIVE});
		check_fails($good, 'gtid_mode', "$f: gtid_mode is checked");
		pull_fails($good, '{shop.*}', '55000', qr/gtid_mode.*HINT/s, "$f: gtid_mode");
		$source->sql(q{SET GLOBAL gtid_mode = ON});
	}
	$source->restart('--skip-log-bin');
	check_fails($good, 'log_bin', "$f: log_bin is checked");
	pull_fails($good, '{shop.*}', '55000', qr/log_bin.*HINT/s, "$f: log_bin");
	$source->restart('--binlog-row-metadata=FULL');

	# --- what is in the way -----------------------------------------------------------

	$hub->safe_psql('postgres', 'CREATE SCHEMA taken; CREATE VIEW taken.orders AS SELECT 1 AS x');
	sql_fails($hub, "SELECT tapdata.pull('p', '$good', '{shop.*}', 'taken')", '42P07',
		qr/taken\.orders.*DETAIL.*HINT/s, "$f: a relation that is not ours");
	sql_ok($hub, q{SELECT to_regclass('taken.stock') IS NULL}, 't', "$f: nothing was made beside it");
	nothing_half_made("$f: a relation that is not ours");
	$hub->safe_psql('postgres', 'DROP SCHEMA taken CASCADE');

	# --- nobody answers -------------------------------------------------------------------

	my $proxy = Tapdata::Proxy->start(port => $source->port);
	my $silent = connection("silent_$f", 'mysql://tap:secret@127.0.0.1:' . $proxy->port . '/', '{"connect_timeout": 2}');
	$proxy->stall;
	my $began = time;
	pull_fails($silent, '{shop.*}', '08\w{3}', qr/HINT/, "$f: a silent server");
	cmp_ok(time - $began, '<', 15, "$f: is given up in time");
	ok(within($hub, 1.9, sub {
		sql_fails($hub, "SET statement_timeout = '500ms'; SELECT tapdata.test_connection('$silent')", '57014',
			qr/statement timeout/, "$f: and can be interrupted before");
	}), "$f: at once");
	$proxy->refuse;
	pull_fails($silent, '{shop.*}', '08\w{3}', qr/HINT/, "$f: a server that hangs up");
	$proxy->stop;
	check_fails($silent, 'reachable', "$f: a closed port");

	# --- and when it is mended ----------------------------------------------------------

	$hub->safe_psql('postgres', "SELECT tapdata.pull('p', '$good', '{shop.*}', 'hub')");
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT customer FROM hub.orders', 'Ada', "$f: the same call succeeds");
	sql_fails($hub, "SELECT tapdata.pull('q', '$good', '{shop.orders}', 'hub')", '42P07',
		qr/Pipeline "p" fills it/, "$f: two pipelines on one hub table");

	# a password that is changed under a running pipeline
	$source->sql(q{ALTER USER 'tap'@'%' IDENTIFIED BY 'new'});
	$source->end_threads(q{USER = 'tap'});
	wait_for_state($hub, 'p', 'failed');
	$hub->safe_psql('postgres', "SELECT tapdata.alter_connection('$good', 'mysql://tap:new\@$authority/')");
	$hub->safe_psql('postgres', q{SELECT tapdata.start('p')});
	$source->do(q{INSERT INTO shop.orders VALUES (2, 'Bob')});
	caught_up($hub, 'p');
	sql_ok($hub, 'SELECT count(*) FROM hub.orders', '2', "$f: goes on with the new password");
	$hub->safe_psql('postgres', q{SELECT tapdata.drop_pipeline('p', true); DROP SCHEMA hub});

	unlike($hub->safe_psql('postgres', q{SELECT string_agg(e::text, ' ') FROM tapdata.events e}) . ' ',
		qr/secret\b|:new@/, "$f: no event holds a password");
	$source->stop;
}

$hub->stop;
my $log = PostgreSQL::Test::Utils::slurp_file($hub->logfile);
$log =~ s/^.*(?:STATEMENT|QUERY):.*$//mg;
unlike($log, qr/tap:secret|tap:new/, 'nor does the log');
done_testing();
