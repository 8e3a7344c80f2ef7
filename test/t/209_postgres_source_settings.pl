# A PostgreSQL source whose settings are not the usual ones, for the role that the hub logs in
# as: values are the same, and no limit of time ends what is waited for. And TLS: all sessions
# have it, a certificate that does not fit is refused, and errors of a login are known by their
# SQLSTATE.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../lib";

use IO::Socket::INET;
use IPC::Run;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::PostgresSource;
use Tapdata::Test;
use Test::More;

my $keys = abs_path(PostgreSQL::Test::Utils::tempdir());

openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', "/CN=$_",
	'-keyout', "$keys/$_.key", '-out', "$keys/$_.pem") for qw(ca other);
openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-keyout', "$keys/server.key", '-out', "$keys/server.csr");
openssl('x509', '-req', '-days', '30', '-in', "$keys/server.csr", '-CA', "$keys/ca.pem", '-CAkey', "$keys/ca.key",
	'-CAcreateserial', '-out', "$keys/server.pem");
chmod 0600, "$keys/server.key";

my $hub = new_hub('hub', "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
my $source = new_source('source', qq(
listen_addresses = '127.0.0.1'
log_connections = on
ssl = on
ssl_cert_file = '$keys/server.pem'
ssl_key_file = '$keys/server.key'));
my $port = $source->port;
my $tables = q(ARRAY['s.*']);

unlink $source->data_dir . '/pg_hba.conf';
append_to_file($source->data_dir . '/pg_hba.conf', "local all all trust\nhost all reader 127.0.0.1/32 scram-sha-256\n");
$source->reload;
$source->safe_psql('postgres', q(
	CREATE ROLE reader LOGIN REPLICATION PASSWORD 'secret';
	GRANT CREATE ON DATABASE postgres TO reader;
	CREATE SCHEMA s AUTHORIZATION reader;
	CREATE FUNCTION s.odd(i int) RETURNS text LANGUAGE sql AS $$ SELECT E'\\\\x4a\\tquote'' "ä\\\\' || i $$;
	CREATE TYPE s.mood AS ENUM ('a \ b', 'c''d');
	CREATE TABLE s.t (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, i interval, r real, f float8, b bytea, x xml, t text,
		n numeric, a text[], dr daterange, m s.mood, "Odd ""name" interval[], c char(5), u uuid, j jsonb);
	CREATE TABLE s.keyless (a int, i interval, f float8, b bytea, t text);
	CREATE TABLE s."back\slash" ("key\n" text PRIMARY KEY, v interval);
	ALTER TABLE s.keyless REPLICA IDENTITY FULL;
));
insert_rows(1, 3000);
at_source($source, map { "ALTER TABLE $_ OWNER TO reader" } 's.t', 's.keyless', 's."back\slash"');
at_source($source, map { "ALTER ROLE reader SET $_" }
	  'DateStyle = "SQL, DMY"', "IntervalStyle = 'sql_standard'", 'extra_float_digits = -10', "bytea_output = 'escape'",
	"TimeZone = 'Asia/Kathmandu'", "client_encoding = 'LATIN1'", 'standard_conforming_strings = off', 'row_security = off',
	"search_path = 's', 'pg_catalog'", 'quote_all_identifiers = on', "xmloption = 'document'", 'array_nulls = off',
	"default_transaction_isolation = 'serializable'", 'default_transaction_deferrable = on', 'default_transaction_read_only = on',
	'statement_timeout = 2000', 'lock_timeout = 2000', 'idle_in_transaction_session_timeout = 2000', 'wal_sender_timeout = 2000',
	$source->pg_version < 14 ? () : 'idle_session_timeout = 2000');

check_read_only();
check_settings('auto');
check_settings('off');
check_timeouts();
check_sessions();
check_certificates();
check_logins();
done_testing();

# ---------------------------------------------------------------------

sub openssl
{
	my @command = ('openssl', @_);
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '>', \$out, '2>', \$err) or die "@command: $err";
	return;
}

sub insert_rows
{
	my ($first, $last) = @_;

	$source->safe_psql('postgres', qq(
		INSERT INTO s.t SELECT i, '2024-02-03'::date + i, '2024-02-03 04:05:06.789'::timestamp + i * interval '1 h', '2024-03-04 05:06:07.89+01'::timestamptz + i * interval '1 day',
			make_interval(years => i, months => -i, days => i, secs => -i / 7.0), i / 3.0, pi() * i, convert_to(s.odd(i), 'UTF8'), '<a>b</a>c', s.odd(i),
			i / 7.0, ARRAY[s.odd(i), NULL, 'NULL', ''], daterange('2024-02-03', '2024-02-03'::date + i), 'a \\ b', ARRAY[make_interval(days => i, secs => -1), NULL],
			'c', md5(i::text)::uuid, jsonb_build_object('k', s.odd(i)) FROM generate_series($first, $last) i;
		INSERT INTO s.keyless SELECT i, make_interval(months => -i, days => 1), exp(1) * i, convert_to(repeat(s.odd(i), 200), 'UTF8'), s.odd(i) FROM generate_series($first, $last) i;
		INSERT INTO s."back\\slash" SELECT s.odd(i), make_interval(days => i, mins => -i) FROM generate_series($first, $last) i;));
	return;
}

# Connects anew as connection c.
sub connect_as
{
	my ($host, $options, $at) = @_;

	$at ||= $port;
	$hub->psql('postgres', q(SELECT tapdata.disconnect('c')));
	$hub->safe_psql('postgres', "SELECT tapdata.connect('c', 'postgres://reader:secret\@$host:$at/postgres', '{$options}')");
	return;
}

sub same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	caught_up($hub, 'p');
	same_as_source($hub, $source, $_->[0], $_->[1], "$name: $_->[0]") for [ 's.t', 'p.t' ], [ 's.keyless', 'p.keyless' ], [ 's."back\slash"', 'p."back\slash"' ];
	return;
}

sub check_read_only
{
	connect_as('127.0.0.1', '');
	sql_fails($hub, "SELECT tapdata.pull('p', 'c', $tables, 'p')", '57P03', qr/read-only.*"target_session_attrs".*"primary"/s,
		'a role whose sessions are read-only is no user of a primary, unless the options say so');
	connect_as('127.0.0.1', '"target_session_attrs": "primary"');
	is($hub->safe_psql('postgres', q(SELECT count(*) FROM tapdata.test_connection('c', 'source') WHERE NOT ok AND required)), 0, 'then all is well');
	return;
}

sub check_settings
{
	my ($binary) = @_;
	my $next = $source->safe_psql('postgres', 'SELECT max(id) + 1 FROM s.t');

	pull_from($hub, 'p', 'c', ['s.*'], 'p', qq({"binary": "$binary", "types": "create"}));
	same("binary $binary, copy");
	insert_rows($next, $next + 99);
	$source->safe_psql('postgres', qq(
		UPDATE s.t SET i = -i, t = t || '\\', d = d - 1 WHERE id % 5 = 0;
		UPDATE s.keyless SET i = -i WHERE a % 50 = 0;
		DELETE FROM s."back\\slash" WHERE v < interval '20 days';
		ALTER TABLE s.t ADD w$next interval DEFAULT '1 mon -1 day 00:00:01';));
	insert_rows($next + 100, $next + 101);
	same("binary $binary, stream");
	is($hub->safe_psql('postgres', q(SELECT restarts FROM tapdata.status WHERE name = 'p')), 0, 'at once');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true))) if $binary eq 'auto';
	return;
}

# Longer than any of the limits that are set for the role: sessions that wait, and are idle.
sub check_timeouts
{
	my $restarts = q(SELECT restarts FROM tapdata.status WHERE name = 'p');
	my $mine = q{usename = 'reader' AND now() - state_change > '3 s'};
	my $waits = qq{SELECT count(*) > 0 FROM pg_stat_activity WHERE $mine AND wait_event_type = 'Lock'};
	my $before = $hub->safe_psql('postgres', $restarts);
	my $lock;

	wait_for_sql($source, "SELECT count(*) > 0 FROM pg_stat_activity WHERE $mine AND state = 'idle'");
	insert_rows(50000, 50001);
	same('sessions that were idle');
	is($hub->safe_psql('postgres', $restarts), $before, 'go on');

	$lock = $hub->background_psql('postgres');
	$lock->query_safe('BEGIN; LOCK p.t');
	insert_rows(60000, 60001);
	wait_for_sql($hub, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND now() - state_change > '3 s' AND application_name = 'tapdata pipeline p'});
	$lock->query_safe('COMMIT');
	$lock->quit;
	same('a stream that was not listened to');
	is($hub->safe_psql('postgres', $restarts), $before, 'goes on');

	for my $table (qw(t keyless))
	{
		my $errors = "SELECT count(*) FROM tapdata.events WHERE pipeline = 'p' AND kind = 'retry' AND source_table = 's.$table'";

		$lock = $source->background_psql('postgres');
		$lock->query_safe("BEGIN; LOCK s.$table");
		$hub->safe_psql('postgres', "SELECT tapdata.resync('p', 's.$table')");
		ok(wait_for_sql($source, $waits), "a session waits for table $table for longer than the role may");
		$lock->query_safe('COMMIT');
		$lock->quit;
		same('and is waited for');
		is($hub->safe_psql('postgres', $errors), 0, 'without an error');
	}
	return;
}

# Each session that was ever made by the role, as the source's log has it.
sub logins
{
	my $log = slurp_file($source->logfile);

	return $log =~ /connection authorized: (user=reader [^\n]*)/g;
}

sub check_sessions
{
	my $before = () = logins();

	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true)));
	connect_as('localhost', qq("sslmode": "verify-full", "sslrootcert": "$keys/ca.pem", "target_session_attrs": "primary"));
	my @known = logins();
	$source->safe_psql('postgres', 'INSERT INTO s.keyless SELECT a.* FROM s.keyless a, generate_series(1, 3)');
	pull_from($hub, 'p', 'c', ['s.*'], 'p', '{"chunk_rows": 500, "workers": 3}');
	same('TLS');
	is($source->safe_psql('postgres', q(SELECT count(*) > 1 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'reader')), 't', 'all sessions have it');
	$hub->safe_psql('postgres', q(SELECT tapdata.resync('p', 's.t')));
	same('TLS, a table by itself');
	my @new = logins();
	splice @new, 0, scalar @known;
	cmp_ok(scalar @new, '>', 6, 'there were many: ' . @new);
	is(scalar(grep { !/SSL enabled/ } @new), 0, 'each with TLS');
	cmp_ok(scalar(grep { /replication/i || /tapdata p/ } @new), '>', 0, 'those of the pipeline, too');
	return;
}

sub check_certificates
{
	$hub->safe_psql('postgres', qq(SELECT tapdata.alter_connection('c', options => '{"sslmode": "verify-full", "sslrootcert": "$keys/other.pem", "target_session_attrs": "primary"}')));
	wait_for_state($hub, 'p', 'failed');
	error_becomes($hub, 'p', qr/certificate verify failed.*hint: Check the options sslmode and sslrootcert/s, 'a certificate of another authority is refused');
	$hub->safe_psql('postgres', qq(SELECT tapdata.alter_connection('c', 'postgres://reader:secret\@127.0.0.1:$port/postgres', '{"sslmode": "verify-full", "sslrootcert": "$keys/ca.pem", "target_session_attrs": "primary"}'), tapdata.start('p')));
	wait_for_state($hub, 'p', 'failed');
	error_becomes($hub, 'p', qr/does not match host name/, 'one of another host, too');
	insert_rows(70000, 70001);
	$hub->safe_psql('postgres', qq(SELECT tapdata.alter_connection('c', 'postgres://reader:secret\@localhost:$port/postgres'), tapdata.start('p')));
	same('with the right one it goes on');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('p', true)));
	return;
}

# A server that answers a login with these bytes each, in its order, and closes.
sub answering
{
	my (@answers) = @_;
	my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
	my $pid = fork();

	die "fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		local $SIG{PIPE} = 'IGNORE';
		while (my $client = $listener->accept)
		{
			for my $answer (@answers)
			{
				sysread $client, my $request, 8192;
				syswrite $client, $answer;
			}
			close $client;
		}
		POSIX::_exit(0);
	}
	return ($pid, $listener->sockport);
}

sub error_message
{
	my ($sqlstate, $text, $routine) = @_;
	my $fields = join '', map { "$_\0" } 'SFATAL', 'VFATAL', "C$sqlstate", "M$text", 'Fauth.c', 'L326', "R$routine", '';

	return 'E' . pack('N', 4 + length $fields) . $fields;
}

# What is told in another language is known by its SQLSTATE; a login that was cut off is tried again.
sub check_logins
{
	for my $case (
		[ '28P01', qr/Passwort-Authentifizierung fehlgeschlagen; hint|Passwort-Authentifizierung fehlgeschlagen\nHINT:.*user and password/, 'N', error_message('28P01', 'Passwort-Authentifizierung fehlgeschlagen', 'auth_failed') ],
		[ '42501', qr/keine Berechtigung/, 'N', error_message('42501', 'keine Berechtigung', 'InitPostgres') ],
		[ '57P03', qr/zu viele Verbindungen/, 'N', error_message('53300', 'zu viele Verbindungen', 'InitProcess') ],
		[ '08001', qr/fing/, 'N', error_message('XX000', 'Feuer fing an zu brennen', 'fire') ],
		[ '08001', qr/SSL/, 'S' ])
	{
		my ($sqlstate, $pattern, @answers) = @$case;
		my ($pid, $at) = answering(@answers);

		connect_as('127.0.0.1', $answers[0] eq 'S' ? '"sslmode": "require"' : '', $at);
		sql_fails($hub, "SELECT tapdata.pull('p', 'c', $tables, 'p')", $sqlstate, $pattern, "a login that is answered by $sqlstate");
		unlike($hub->safe_psql('postgres', q(SELECT detail FROM tapdata.test_connection('c', 'source') WHERE check_name = 'connect')), qr/auth\.c|: \d\w{4}: /, 'and told as always');
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
	return;
}
