# How a session to a source is made: TLS and what it verifies, the ways to log in,
# unix sockets, passwords that change, names of tables without case.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Tapdata::MySQL;
use Tapdata::Test;
use Test::More;

my $certificates = abs_path(PostgreSQL::Test::Utils::tempdir('certificates'));
my ($source, $hub);

make_certificates();
foreach my $flavour (usable_flavours())
{
	$source = Tapdata::MySQL->start(
		flavour => $flavour,
		options => [
			"--ssl-ca=$certificates/ca.crt", "--ssl-cert=$certificates/server.crt",
			"--ssl-key=$certificates/server.key",

			# MySQL takes lower_case_table_names only when its data folder is made
			$flavour eq 'mariadb' ? ('--lower-case-table-names=1', '--plugin-load-add=auth_ed25519') : ()
		]);
	$hub = new_hub("connection_$flavour", "tapdata.retry_min = 100ms\ntapdata.retry_max = 300ms\n");
	$source->sql(<<'SQL');
CREATE DATABASE shop;
CREATE TABLE shop.orders (Id int PRIMARY KEY, v int);
INSERT INTO shop.orders VALUES (1, 1);
SQL
	subtest "$flavour: names without case (lower_case_table_names = 1)" => \&names_without_case
	  if $flavour eq 'mariadb';
	subtest "$flavour: TLS" => \&tls;
	subtest "$flavour: ways to log in" => \&logins;
	subtest "$flavour: a password that rotates in a file" => \&password_file;
	$hub->stop('fast');
	$source->kill9;
}
done_testing();

sub openssl
{
	system_or_bail('openssl', @_);
	return;
}

# One authority, a server that is called localhost, and an authority of somebody else.
sub make_certificates
{
	foreach my $name ('ca', 'other')
	{
		openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', "/CN=$name",
			'-keyout', "$certificates/$name.key", '-out', "$certificates/$name.crt");
	}
	append_to_file("$certificates/names", "subjectAltName = DNS:localhost\n");
	openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost',
		'-keyout', "$certificates/server.key", '-out', "$certificates/server.csr");
	openssl('x509', '-req', '-days', '2', '-CAcreateserial', '-in', "$certificates/server.csr",
		'-CA', "$certificates/ca.crt", '-CAkey', "$certificates/ca.key", '-out', "$certificates/server.crt",
		'-extfile', "$certificates/names");

	# the server may run as another user
	chmod 0755, $certificates;
	chmod 0644, glob "$certificates/*";
	return;
}

sub names_without_case
{
	pull($hub, $source, 'shop');
	caught_up($hub, 'shop');
	$source->sql(<<'SQL');
UPDATE SHOP.ORDERS SET V = 2;
CREATE TABLE ShOp.LaTer (a int PRIMARY KEY);
INSERT INTO sHoP.lAtEr VALUES (5);
ALTER TABLE SHOP.Orders ADD COLUMN More int;
INSERT INTO Shop.orders VALUES (2, 2, 2);
RENAME TABLE Shop.LATER TO shop.Renamed;
INSERT INTO shop.RENAMED VALUES (6);
SQL
	caught_up($hub, 'shop');
	sql_ok($hub, 'SELECT * FROM shop.orders ORDER BY 1', "1|2|\n2|2|2", 'rows');
	sql_ok($hub, 'SELECT * FROM shop.renamed ORDER BY 1', "5\n6", 'a later table');
	sql_ok($hub, q(SELECT restarts FROM tapdata.status WHERE name = 'shop'), '0', 'without an error');
	return;
}

# Connects anew as connection c; the answer of the check named login.
sub checks
{
	my ($host, $options, $user, $password) = @_;
	my $uri = sprintf 'mysql://%s:%s@%s:%d/', $user || $source->user, $password || $source->password,
	  $host, $source->port;

	$hub->psql('postgres', q(SELECT tapdata.disconnect('c')));
	$hub->safe_psql('postgres', "SELECT tapdata.connect('c', '$uri', '$options')");
	return $hub->safe_psql('postgres',
		q(SELECT check_name, ok, detail FROM tapdata.test_connection('c') WHERE check_name IN ('login', 'reachable') ORDER BY ok, check_name LIMIT 1));
}

sub tls
{
	my $ca = qq("ssl_ca": "$certificates/ca.crt");
	my $other = qq("ssl_ca": "$certificates/other.crt");

	like(checks('127.0.0.1', '{"ssl_mode": "require"}'), qr/^login\|t\|.*, TLS /, 'require');
	like(checks('127.0.0.1', '{"ssl_mode": "disable"}'), qr/^login\|t\|.*, without TLS/, 'disable');
	like(checks('127.0.0.1', qq({"ssl_mode": "verify_ca", $ca})), qr/^login\|t\|.*, TLS /, 'verify_ca');
	like(checks('127.0.0.1', qq({"ssl_mode": "verify_ca", $other})), qr/^(login|reachable)\|f\|.*(certificate|TLS)/i,
		'verify_ca refuses a certificate of another authority');
	like(checks('localhost', qq({"ssl_mode": "verify_identity", $ca})), qr/^login\|t\|.*, TLS /, 'verify_identity');
	like(checks('127.0.0.1', qq({"ssl_mode": "verify_identity", $ca})), qr/^(login|reachable)\|f\|.*(certificate|TLS|Validation|host)/i,
		'verify_identity refuses another name');
	sql_fails($hub, q(SELECT tapdata.pull('c', 'c', ARRAY['shop.*'], into_schema => 'c')), '28000', qr/certificate|TLS/i,
		'with the class of errors that are not tried again');

	# a stream over TLS, with rows larger than one record of it
	checks('localhost', qq({"ssl_mode": "verify_identity", $ca}));
	$source->sql('CREATE DATABASE tls; CREATE TABLE tls.t (id int PRIMARY KEY, b longtext);');
	$hub->safe_psql('postgres', q(SELECT tapdata.pull('tls', 'c', ARRAY['tls.*'], into_schema => 'tls')));
	$source->do("INSERT INTO tls.t VALUES ($_, REPEAT('x', $_ * 7000))") for 1 .. 100;
	$source->do('UPDATE tls.t SET id = id + 1000 WHERE id % 3 = 0');
	caught_up($hub, 'tls');
	same_rows($source, 'tls.t', $hub, 'tls.t', 'a stream over TLS', source_columns => 'id, LENGTH(b)',
		hub_columns => 'id, length(b)');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('tls')));
	return;
}

sub logins
{
	my $mariadb = $source->is_mariadb;
	my $plugin = $mariadb ? 'ed25519' : 'caching_sha2_password';
	my $socket = $source->socket;

	$source->sql($mariadb
		? q(CREATE USER 'modern'@'%' IDENTIFIED VIA ed25519 USING PASSWORD('s3cret');)
		: q(CREATE USER 'modern'@'%' IDENTIFIED WITH caching_sha2_password BY 's3cret';));
	$source->sql(q(GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'modern'@'%'));
	like(checks('127.0.0.1', '{"ssl_mode": "disable"}', 'modern', 's3cret'), qr/^login\|t\|as modern\@.*without TLS/,
		"$plugin without TLS");
	like(checks('127.0.0.1', '{"ssl_mode": "disable"}', 'modern', 's3cret'), qr/^login\|t\|/, 'and once more');
	like(checks('127.0.0.1', '{"ssl_mode": "require"}', 'modern', 's3cret'), qr/^login\|t\|as modern\@.*TLS/, "$plugin over TLS");
	like(checks('127.0.0.1', '{"ssl_mode": "disable"}', 'modern', 'wrong'), qr/^login\|f\|.*Access denied/, 'a wrong password');
	like(checks('127.0.0.1', qq({"socket": "$socket"}), 'modern', 's3cret'), qr/^login\|t\|as modern\@/, 'unix socket');
	like(checks('127.0.0.1', qq({"socket": "$socket.none"}), 'modern', 's3cret'), qr/^reachable\|f\|/, 'a socket that is not there');

	# the stream of the log logs in in the same way
	checks('127.0.0.1', qq({"socket": "$socket"}), 'modern', 's3cret');
	$hub->safe_psql('postgres', q(SELECT tapdata.pull('local', 'c', ARRAY['shop.*'], into_schema => 'local')));
	$source->do('UPDATE shop.orders SET v = v + 1');
	caught_up($hub, 'local');
	same_rows($source, 'shop.orders', $hub, 'local.orders', 'a stream through a unix socket');
	$hub->safe_psql('postgres', q(SELECT tapdata.drop_pipeline('local')));
	return;
}

# The file is read at each connect, so that nobody has to tell the pipeline.
sub password_file
{
	my $path = "$certificates/password_" . $source->flavour;
	my $uri = sprintf 'mysql://rotated@%s:%d/', $source->host, $source->port;

	append_to_file($path, "first\n");
	$source->sql(q(CREATE USER 'rotated'@'%' IDENTIFIED BY 'first'; GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'rotated'@'%'));
	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('rotated', '$uri', '{"password_file": "$path"}');
		SELECT tapdata.pull('rotated', 'rotated', ARRAY['shop.*'], into_schema => 'rotated')));
	caught_up($hub, 'rotated');
	$source->sql(q(ALTER USER 'rotated'@'%' IDENTIFIED BY 'second'));
	unlink $path;
	append_to_file($path, "second\n");
	$source->end_threads(q(USER = 'rotated'));
	$source->do('UPDATE shop.orders SET v = v + 1');
	caught_up($hub, 'rotated');
	same_rows($source, 'shop.orders', $hub, 'rotated.orders', 'a new password in the file is enough');

	# the other way round: the file is late
	$source->sql(q(ALTER USER 'rotated'@'%' IDENTIFIED BY 'third'));
	$source->end_threads(q(USER = 'rotated'));
	wait_for_state($hub, 'rotated', 'failed');
	sql_ok($hub, q(SELECT last_error ~ 'Access denied' AND last_error !~ 'second' FROM tapdata.status WHERE name = 'rotated'),
		't', 'a password that is refused stops it, and is not shown');
	unlink $path;
	append_to_file($path, "third\n");
	$source->do('UPDATE shop.orders SET v = v + 1');
	$hub->safe_psql('postgres', q(SELECT tapdata.start('rotated')));
	caught_up($hub, 'rotated');
	same_rows($source, 'shop.orders', $hub, 'rotated.orders', 'start() when it is right');
	return;
}
