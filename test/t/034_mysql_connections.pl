# Ways to connect to MySQL and MariaDB: TLS in all modes, unix sockets, the
# authentication methods, several hosts, and what a wrong one is answered.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;
use IPC::Run ();

my $keys = PostgreSQL::Test::Utils::tempdir;

sub openssl
{
	my @command = ('openssl', @_);
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '<', \'', '>', \$out, '2>', \$err) or BAIL_OUT("@command: $err");
	return;
}

# An authority and a certificate for the name localhost, and another authority.
sub make_certificates
{
	foreach my $ca ('ca', 'other')
	{
		openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', "/CN=$ca",
			'-keyout', "$keys/$ca.key", '-out', "$keys/$ca.pem");
	}
	foreach my $name ('server', 'client')
	{
		my $subject = $name eq 'server' ? 'localhost' : 'tap';

		append_to_file("$keys/$name.ext", "subjectAltName=DNS:$subject\n");
		openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', "/CN=$subject",
			'-keyout', "$keys/$name.key", '-out', "$keys/$name.csr");
		openssl('x509', '-req', '-days', '30', '-in', "$keys/$name.csr", '-CA', "$keys/ca.pem", '-CAkey', "$keys/ca.key",
			'-CAcreateserial', '-extfile', "$keys/$name.ext", '-out', "$keys/$name.pem");
	}
	chmod 0755, $keys;
	chmod 0644, glob("$keys/*");
	return;
}

my $count = 0;

# The checks of a connection that are not ok, and how it logged in.
sub login
{
	my ($hub, $uri, $options) = @_;
	my $name = 'c' . ++$count;

	$hub->safe_psql('postgres', "SELECT tapdata.connect('$name', '$uri', '$options')");
	return $hub->safe_psql('postgres',
		"SELECT ok, detail FROM tapdata.test_connection('$name') WHERE check_name = 'login'");
}

make_certificates();

foreach my $flavour (usable_flavours())
{
	subtest $flavour => sub { check_connections($flavour) };
}

sub check_connections
{
	my ($flavour) = @_;
	my $source = Tapdata::MySQL->start(flavour => $flavour,
		options => ["--ssl-ca=$keys/ca.pem", "--ssl-cert=$keys/server.pem", "--ssl-key=$keys/server.key",
			'--bind-address=127.0.0.1,127.0.0.2']);
	my $hub = new_hub("connections_$flavour");
	my ($port, $password) = ($source->port, $source->password);
	my $uri = 'mysql://' . $source->user . ":$password\@localhost:$port/";
	my $numeric = 'mysql://' . $source->user . ":$password\@127.0.0.1:$port/";
	# Connector/C 3.4 asks no name of 127.0.0.1
	my $nameless = 'mysql://' . $source->user . ":$password\@127.0.0.2:$port/";
	my $plain = 'mysql://%s:pw@127.0.0.1:' . $port . '/';

	like(login($hub, $uri, '{"ssl_mode": "disable"}'), qr/^t\|.*without TLS/, 'no TLS');
	like(login($hub, $uri, '{}'), qr/^t\|.*, TLS \w/, 'TLS where the server has it, by default');
	like(login($hub, $uri, '{"ssl_mode": "require"}'), qr/^t\|.*, TLS \w/, 'TLS required');
	like(login($hub, $uri, qq({"ssl_mode": "verify_ca", "ssl_ca": "$keys/ca.pem"})), qr/^t\|.*, TLS \w/, 'the authority verified');
	like(login($hub, $numeric, qq({"ssl_mode": "verify_ca", "ssl_ca": "$keys/ca.pem"})), qr/^t\|.*, TLS \w/, 'under another name, too');
	like(login($hub, $uri, qq({"ssl_mode": "verify_ca", "ssl_ca": "$keys/other.pem"})), qr/^f\|.*certificate/, 'a wrong authority');
	like(login($hub, $uri, qq({"ssl_mode": "verify_identity", "ssl_ca": "$keys/ca.pem"})), qr/^t\|.*, TLS \w/, 'the name verified');
	like(login($hub, $nameless, qq({"ssl_mode": "verify_identity", "ssl_ca": "$keys/ca.pem"})), qr/^f\|/, 'a wrong name');
	sql_fails($hub, "SELECT tapdata.connect('bad', '$uri', '{\"ssl_mode\": \"verify_ca\"}')", '22023', qr/ssl_ca/,
		'verify_ca without an authority is an error at the call');
	like(login($hub, $uri, sprintf('{"socket": "%s"}', $source->socket)), qr/^t\|/, 'a unix socket');
	like(login($hub, "mysql://" . $source->user . ":$password\@127.0.0.1:1,localhost:$port/", '{}'), qr/^t\|/, 'the second host');

	check_accounts($source, $hub, $plain, $flavour);
	check_stream($source, $hub, $uri);
	$source->stop;
	$hub->stop;
	return;
}

sub check_accounts
{
	my ($source, $hub, $plain, $flavour) = @_;
	my %accounts = $flavour eq 'mysql' ?
	  ('IDENTIFIED WITH caching_sha2_password BY' => 'sha2') :
	  ('IDENTIFIED VIA mysql_native_password USING PASSWORD(%s)' => 'native',
		'IDENTIFIED VIA ed25519 USING PASSWORD(%s)' => 'ed25519');

	$source->sql(q(INSTALL SONAME 'auth_ed25519')) if $flavour eq 'mariadb';
	foreach my $how (sort keys %accounts)
	{
		my $user = $accounts{$how};
		my $with = $how =~ /%s/ ? sprintf($how, "'pw'") : "$how 'pw'";

		$source->sql("CREATE USER $user $with; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO $user;");
		foreach my $mode ('require', 'disable')
		{
			# the first login of caching_sha2_password without TLS exchanges an RSA key
			like(login($hub, sprintf($plain, $user), qq({"ssl_mode": "$mode"})), qr/^t\|/, "$user, ssl_mode = $mode");
		}
	}
	$source->sql('CREATE USER x509 ' . ($flavour eq 'mysql' ? "IDENTIFIED BY 'pw'" : "IDENTIFIED BY 'pw'") . ' REQUIRE X509;');
	like(login($hub, sprintf($plain, 'x509'), '{}'), qr/^f\|/, 'without the certificate that the account needs');
	like(login($hub, sprintf($plain, 'x509'), qq({"ssl_cert": "$keys/client.pem", "ssl_key": "$keys/client.key"})), qr/^t\|/,
		'with the certificate');
	like(login($hub, sprintf($plain, 'nobody'), '{}'), qr/^f\|.*[Aa]ccess denied/, 'a wrong user');
	return;
}

# The stream over TLS: small and large packets, and it stops at once.
sub check_stream
{
	my ($source, $hub, $uri) = @_;

	$source->sql('CREATE DATABASE shop; CREATE TABLE shop.t (id int PRIMARY KEY, v longtext);');
	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('shop', '$uri', '{"ssl_mode": "verify_identity", "ssl_ca": "$keys/ca.pem"}');
		SELECT tapdata.pull('shop', 'shop', ARRAY['shop.*']);));
	caught_up($hub, 'shop');
	my $n = 0;
	foreach my $bytes (1, 100, 2000, 2040 .. 2060, 4000, 8100 .. 8110, 16300 .. 16310, 16384, 20000, 100000, 5000000)
	{
		$source->sql("INSERT INTO shop.t VALUES (" . ++$n . ", REPEAT('x', $bytes)), (-$n, REPEAT('y', 10));");
	}
	caught_up($hub, 'shop');
	same_rows($source, 'shop.t', $hub, 'shop.t', 'packets of all sizes over TLS',
		source_columns => 'id, LENGTH(v), LEFT(v, 1)', hub_columns => 'id, length(v), left(v, 1)');
	sql_ok($hub, q(SELECT restarts FROM tapdata.status), '0', 'without an error');
	my $pid = pipeline_pid($hub, 'shop');
	my $patience = 1000 * $PostgreSQL::Test::Utils::timeout_default;
	ok(within($hub, 1, sub {
		sql_ok($hub, "SELECT pg_terminate_backend($pid, $patience)", 't', 'an idle stream over TLS ends');
	}), 'within a second');
	return;
}

done_testing();
