# test/lib/Tapdata/SchemaRegistry.pm
#	  A real, throw-away schema registry for TAP tests.

=pod

=head1 NAME

Tapdata::SchemaRegistry - Apicurio Registry, by the protocol of Confluent's

=head1 SYNOPSIS

  my $registry = Tapdata::SchemaRegistry->start;
  my $url = $registry->url;
  my $subjects = $registry->request(GET => '/subjects');
  $registry->request(PUT => '/config/shop.orders-value', { compatibility => 'FULL' });

=cut

package Tapdata::SchemaRegistry;

use strict;
use warnings;
use parent 'Tapdata::Service';

use HTTP::Tiny;
use JSON::PP qw(decode_json encode_json);

sub script { return 'registry'; }

=pod

=head2 $registry->request($method, $path, $body)

Its decoded answer; dies on anything but success.

=cut

sub request
{
	my ($self, $method, $path, $body) = @_;
	my %arguments = (headers => { 'Content-Type' => 'application/vnd.schemaregistry.v1+json' });

	$arguments{content} = encode_json($body) if $body;
	my $answer = HTTP::Tiny->new(timeout => 30, no_proxy => '127.0.0.1')
	  ->request($method, $self->url . $path, \%arguments);
	die "$method $path: $answer->{status} $answer->{content}" unless $answer->{success};
	return $answer->{content} eq '' ? undef : JSON::PP->new->utf8->allow_nonref->decode($answer->{content});
}

=pod

=head2 $registry->schema($subject, $version)

A decoded schema, the latest one without a version.

=cut

sub schema
{
	my ($self, $subject, $version) = @_;
	my $found = $self->request(GET => "/subjects/$subject/versions/" . ($version || 'latest'));

	return decode_json($found->{schema} =~ s/([^\x00-\x7f])/sprintf '\\u%04x', ord $1/ger);
}

1;
