# test/lib/Tapdata/Http.pm
#	  Targets of the HTTP sink for TAP tests: a server that fails on request, OpenSearch.

=pod

=head1 NAME

Tapdata::Http - an HTTP server of the test's own that records requests

=head1 SYNOPSIS

  Tapdata::Http->require;
  my $server = Tapdata::Http->start(arguments => ['webhook']);

  publish_http($hub, $server, 'hook', ['s.*'], { body => 'ndjson' });
  $server->faults({ status => 429, headers => { 'Retry-After' => '1' } }, { do => 'cut', times => 3 });
  my @changes = $server->changes;

See test/services/http_server.py for what faults there are, and Tapdata::Service for start,
stop, kill9 and restart.

=cut

package Tapdata::Http;

use strict;
use warnings;
use parent 'Tapdata::Service';

use Exporter 'import';
use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(publish_http pull_http);

my $json = JSON::PP->new->utf8->allow_nonref->canonical->boolean_values('false', 'true');

sub script { return 'http_server'; }

=pod

=head2 Tapdata::Http->require_mode($mode)

Skips the whole script when a server of the mode cannot be had; with
TAPDATA_REQUIRE_SERVERS=1 in the environment that is a failure.

=cut

sub require_mode
{
	my ($class, $mode) = @_;
	my ($out, $err) = ('', '');

	return
	  if IPC::Run::run([ "$Tapdata::Service::services/http_server.sh", 'available', $mode ],
		'<', \undef, '>', \$out, '2>', \$err);
	chomp $err;
	$err =~ s/^skip: //;
	BAIL_OUT("$mode is required but: $err") if $ENV{TAPDATA_REQUIRE_SERVERS};
	plan skip_all => $err;
	return;
}

=pod

=head2 $server->uri($scheme, %arguments)

As tapdata.connect() takes it; path, user ("name:password") and host can be given.

=cut

sub uri
{
	my ($self, $scheme, %arguments) = @_;

	$scheme ||= $self->url =~ /^https/ ? 'https' : 'http';
	return sprintf '%s://%s%s:%d/%s', $scheme, $arguments{user} ? "$arguments{user}@" : '',
	  $arguments{host} || $self->host, $arguments{port} || $self->port, $arguments{path} || '';
}

=pod

=head2 $server->faults(@faults)

What is to happen to the next requests, instead of what was said before.

=cut

my $fault_number = 0;

sub faults
{
	my ($self, @faults) = @_;
	my $file = $self->directory . '/faults';

	# two that are alike are not the same
	$_->{name} ||= 'fault ' . ++$fault_number for @faults;
	unlink "$file.ours";
	append_to_file("$file.ours", $json->encode(\@faults));
	rename "$file.ours", $file or die "$file: $!";
	return;
}

=pod

=head2 $server->requests, $server->changes, $server->forget

The requests that were taken, each a hash; all changes in them, whatever the form of the
bodies, in their order; and forget them.

=cut

sub requests
{
	my ($self) = @_;
	my $file = $self->directory . '/requests';

	# the last line may be on its way
	my @lines = -f $file ? grep { /\}\n\z/ } split /(?<=\n)/, slurp_file($file) : ();
	my @requests = map { $json->decode($_) } @lines;
	return @requests;
}

sub changes
{
	my ($self) = @_;
	my @changes;

	for my $request (grep { $_->{method} ne 'GET' } $self->requests)
	{
		my $body = $request->{body};

		utf8::encode($body);
		next if $body eq '';
		push @changes, $body =~ /^\[/ ? @{ $json->decode($body) } : map { $json->decode($_) } split /\n/, $body;
	}
	return @changes;
}

sub forget
{
	my ($self) = @_;

	unlink $self->directory . '/requests';
	return;
}

=pod

=head2 $server->api(%routes)

Mode api: what is served from now on, by path; see http_server.py.

=cut

sub api
{
	my ($self, %routes) = @_;
	my $file = $self->directory . '/api';

	unlink "$file.ours";
	append_to_file("$file.ours", $json->encode(\%routes));
	rename "$file.ours", $file or die "$file: $!";
	return;
}

=pod

=head2 $server->documents

Mode bulk: what is stored, a hash by index and id, without what was deleted.

=cut

sub documents
{
	my ($self) = @_;
	my $all = $json->decode(slurp_file($self->directory . '/documents'));

	return { map { $_ => $all->{$_}{source} } grep { defined $all->{$_}{source} } keys %$all };
}

=pod

=head2 $server->query($statement)

Mode clickhouse: the answer to a query as text.

=cut

sub query
{
	my ($self, $statement) = @_;
	my $answer = HTTP::Tiny->new(timeout => 60)->post($self->url . '/', { content => $statement });

	die "$statement: $answer->{status} $answer->{content}" unless $answer->{success};
	chomp $answer->{content};
	return $answer->{content};
}

=pod

=head2 publish_http($hub, $uri, $name, $tables, $options, %arguments)

Connects $uri (or a server) as connection $name and publishes the tables that match the
patterns to it by a pipeline of the same name. connection_options is a hash, as $options is.

=cut

sub publish_http
{
	my ($hub, $target, $name, $tables, $options, %arguments) = @_;
	my $uri = ref $target ? $target->uri : $target;
	my $patterns = join ',', map { "'$_'" } @$tables;
	my ($connection_options, $pipeline_options) =
	  map { $json->encode($_ || {}) =~ s/'/''/gr } $arguments{connection_options}, $options;

	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('$name', '$uri', '$connection_options');
		SELECT tapdata.publish('$name', '$name', ARRAY[$patterns], '$pipeline_options');));
	return;
}

=pod

=head2 pull_http($hub, $uri, $name, $connection_options, $options, @tables)

Connects $uri (or a server) as connection $name and pulls the tables that match the patterns
(*) from it by a pipeline of the same name. Both kinds of options are hashes.

=cut

sub pull_http
{
	my ($hub, $source, $name, $connection_options, $options, @tables) = @_;
	my $uri = ref $source ? $source->uri : $source;
	my $patterns = join ',', map { "'$_'" } @tables ? @tables : ('*');
	my ($connection_json, $json_options) =
	  map { $json->encode($_ || {}) =~ s/'/''/gr } $connection_options, $options;

	$hub->safe_psql('postgres', qq(
		SELECT tapdata.connect('$name', '$uri', '$connection_json');
		SELECT tapdata.pull('$name', '$name', ARRAY[$patterns], options => '$json_options');));
	return;
}

package Tapdata::OpenSearch;

use strict;
use warnings;
our @ISA = ('Tapdata::Service');

sub script { return 'opensearch'; }

sub uri
{
	my ($self, %arguments) = @_;

	return sprintf 'opensearch+http://%s:%d', $self->host, $arguments{port} || $self->port;
}

=pod

=head1 Tapdata::OpenSearch

A real OpenSearch; a Tapdata::Service with

=head2 $search->call($method, $path, $body)

A request, without a slash at the beginning of the path; the answer's JSON as data.

=head2 $search->documents($index)

All documents of an index by their id, after a refresh.

=cut

sub call
{
	my ($self, $method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => 60)->request($method, $self->url . "/$path",
		{ defined $body ? (headers => { 'Content-Type' => 'application/json' }, content => $json->encode($body)) : () });

	return $json->decode($answer->{content});
}

sub documents
{
	my ($self, $index) = @_;

	$self->call('POST', "$index/_refresh");
	my $found = $self->call('GET', "$index/_search?size=10000&scroll=1m");
	my %documents;
	while (@{ $found->{hits}{hits} || [] })
	{
		$documents{ $_->{_id} } = $_->{_source} for @{ $found->{hits}{hits} };
		$found = $self->call('POST', '_search/scroll', { scroll => '1m', scroll_id => $found->{_scroll_id} });
	}
	return \%documents;
}

1;
