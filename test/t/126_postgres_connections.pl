
# Ways to a PostgreSQL target: passwords, TLS, several hosts, hosts that do not
# answer, and users of the hub who may not borrow the server's own standing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use IO::Socket::INET;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::Postgres;
use Tapdata::Test;
use Test::More;
use Time::HiRes qw(time);

my $keys = PostgreSQL::Test::Utils::tempdir();

sub openssl
{
	my @command = ('openssl', @_);
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '>', \$out, '2>', \$err) or die "@command: $err";
	return;
}

sub make_certificates
{
	for my $ca (qw(ca other))
	{
		openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', "/CN=$ca",
			'-keyout', "$keys/$ca.key", '-out', "$keys/$ca.pem");
	}
	for my $certificate ([ 'server', 'localhost' ], [ 'client', 'by_certificate' ])
	{
		my ($name, $subject) = @$certificate;

		openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', "/CN=$subject",
			'-keyout', "$keys/$name.key", '-out', "$keys/$name.csr");
		openssl('x509', '-req', '-days', '30', '-in', "$keys/$name.csr", '-CA', "$keys/ca.pem", '-CAkey', "$keys/ca.key",
			'-CAcreateserial', '-out', "$keys/$name.pem");
		chmod 0600, "$keys/$name.key";
	}
	return;
}

make_certificates();
my $hub = new_hub('hub');
my $target = new_target('target', qq(
listen_addresses = '127.0.0.1'
ssl = on
ssl_ca_file = '$keys/ca.pem'
ssl_cert_file = '$keys/server.pem'
ssl_key_file = '$keys/server.key'));
my $port = $target->port;

$target->safe_psql('postgres', q(
	CREATE ROLE by_password LOGIN PASSWORD 'se cret/?#@:%';
	CREATE ROLE by_certificate LOGIN;
	CREATE ROLE by_trust LOGIN SUPERUSER;
	CREATE ROLE only_tls LOGIN PASSWORD 'secret';
	CREATE DATABASE other;));
unlink $target->data_dir . '/pg_hba.conf';
append_to_file($target->data_dir . '/pg_hba.conf', q(
local all all trust
hostssl all by_certificate 127.0.0.1/32 cert
hostssl all only_tls 127.0.0.1/32 scram-sha-256
host all by_trust 127.0.0.1/32 trust
host all by_password 127.0.0.1/32 scram-sha-256
));
$target->reload;

# The check "connect" of a connection: t or f, its detail and hint.
sub login
{
	my ($uri, $options, $role) = @_;

	$options ||= '{}';
	$role ||= 'postgres';
	return $hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('try', '$uri', '$options');
		SELECT ok || '|' || coalesce(detail, '') || '|' || coalesce(hint, '') FROM tapdata.test_connection('try') WHERE check_name = 'connect';
		SELECT tapdata.disconnect('try');)) =~ s/^\s+|\s+$//gr;
}

my $password = 'se%20cret%2F%3F%23%40%3A%25';
my $good = "postgres://by_password:$password\@127.0.0.1:$port/postgres";

like(login($good), qr/^true/, 'password in the URI');
like(login("postgresql://by_password\@127.0.0.1:$port/postgres", '{"password": "se cret/?#@:%"}'), qr/^true/, 'password as an option');
append_to_file("$keys/password", "se cret/?#\@:%\n");
like(login("postgres://by_password\@127.0.0.1:$port/postgres", qq({"password_file": "$keys/password"})), qr/^true/, 'password in a file');
like(login("postgres://by_password:wrong\@127.0.0.1:$port/postgres"), qr/^false\|.*authentication failed.*alter_connection/s, 'a wrong password');
like(login("postgres://by_password\@127.0.0.1:$port/postgres"), qr/^false\|.*no password/s, 'no password');
like(login("postgres://nobody:x\@127.0.0.1:$port/postgres"), qr/^false\|/, 'a user that is none');
like(login("postgres://by_password:$password\@127.0.0.1:$port/none"), qr/^false\|.*database "none" does not exist.*Check the name/s, 'a database that is none');

# hosts
my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
my $dead = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
my $dead_port = $dead->sockport;
close $dead;
like(login("postgres://by_password:$password\@127.0.0.1:$dead_port/postgres"), qr/^false\|.*refused/s, 'nobody listens');
my $begin = time;
like(login('postgres://by_password:x@127.0.0.1:' . $silent->sockport . '/postgres', '{"connect_timeout": 1}'),
	qr/^false\|.*longer than 1 s.*connect_timeout/s, 'a host that does not answer');
cmp_ok(time - $begin, '<', 10, 'is given up in time');
like(login("postgres://by_password:$password\@127.0.0.1:$dead_port,127.0.0.1:" . $silent->sockport . ",127.0.0.1:$port/postgres",
		'{"connect_timeout": 1}'), qr/^true/, 'the first of several hosts that answers');
$target->safe_psql('postgres', 'ALTER DATABASE other SET default_transaction_read_only = on');
like(login("postgres://by_password:$password\@127.0.0.1:$port/other"), qr/^false\|.*read-only/s, 'a server that takes no writes');
like(login("postgres://by_password:$password\@127.0.0.1:$port/other", '{"target_session_attrs": "any"}'), qr/^true/, 'unless that is wanted');

# TLS
my $tls = "postgres://only_tls:secret\@HOST:$port/postgres";
my $by_name = $tls =~ s/HOST/localhost/r;
my $by_address = $tls =~ s/HOST/127.0.0.1/r;
like(login($by_address), qr/^true/, 'TLS is preferred');
like(login($by_address, '{"sslmode": "disable"}'), qr/^false\|.*pg_hba\.conf.*(no encryption|SSL off)/s, 'TLS that the target asks for');
like(login($by_address, '{"sslmode": "require"}'), qr/^true/, 'require');
like(login($by_address, qq({"sslmode": "verify-ca", "sslrootcert": "$keys/ca.pem"})), qr/^true/, 'verify-ca');
like(login($by_address, qq({"sslmode": "verify-ca", "sslrootcert": "$keys/other.pem"})), qr/^false\|.*certificate verify failed/s, 'another authority');
like(login($by_name, qq({"sslmode": "verify-full", "sslrootcert": "$keys/ca.pem"})), qr/^true/, 'verify-full');
like(login($by_address, qq({"sslmode": "verify-full", "sslrootcert": "$keys/ca.pem"})), qr/^false\|.*does not match host name/s, 'another name');
my $certificate = "postgres://by_certificate\@127.0.0.1:$port/postgres";
like(login($certificate), qr/^false\|/, 'without the certificate that the user needs');
like(login($certificate, qq({"sslcert": "$keys/client.pem", "sslkey": "$keys/client.key"})), qr/^true/, 'with it');

# what the server's account has is not lent
$hub->safe_psql('postgres', q(
	CREATE ROLE etl LOGIN;
	GRANT USAGE ON SCHEMA tapdata TO etl;
	CREATE SCHEMA etl AUTHORIZATION etl;));
my $trust = "postgres://by_trust\@127.0.0.1:$port/postgres";
like(login($trust), qr/^true/, 'a superuser may use a target that asks for no password');
sub as_etl
{
	my ($uri) = @_;

	return $hub->safe_psql('postgres', qq(
		SET SESSION AUTHORIZATION etl;
		SELECT tapdata.connect('try', '$uri');
		SELECT ok || '|' || detail FROM tapdata.test_connection('try') WHERE check_name = 'connect';
		SELECT tapdata.disconnect('try');)) =~ s/^\s+|\s+$//gr;
}
like(as_etl($trust), qr/^false\|password is required/, 'others may not');
like(as_etl("postgres://by_trust:x\@127.0.0.1:$port/postgres"), qr/^false\|password is required/, 'nor with a password that nobody asked for');
like(as_etl($good), qr/^true/, 'but with a password that was asked for');
is($hub->safe_psql('postgres', "SET SESSION AUTHORIZATION etl; SELECT count(*) FROM tapdata.connections"), '0', 'nothing is left');

# a pipeline of theirs
$target->safe_psql('postgres', 'CREATE SCHEMA etl AUTHORIZATION by_password; CREATE SCHEMA tapdata_target AUTHORIZATION by_password');
$hub->safe_psql('postgres', qq(
	SET SESSION AUTHORIZATION etl;
	CREATE TABLE etl.t (id int PRIMARY KEY, v text);
	INSERT INTO etl.t VALUES (1, 'a');
	SELECT tapdata.connect('mine', '$good');
	SELECT tapdata.publish('mine', 'mine', ARRAY['etl.t']);));
delivered($hub, 'mine');
$hub->safe_psql('postgres', "UPDATE etl.t SET v = 'b'");
delivered($hub, 'mine');
is($target->safe_psql('postgres', 'SELECT v FROM etl.t'), 'b', 'a pipeline of a user with a password');

# secrets
my $log = slurp_file($hub->logfile);
unlike($hub->safe_psql('postgres', 'SELECT uri, options FROM tapdata.connections'), qr/se%20cret|se cret/, 'no password in views');
unlike($log =~ s/^.*statement:.*$//gmr, qr/se%20cret|se cret/, 'no password in the log');

done_testing();
