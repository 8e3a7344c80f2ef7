# test/lib/Tapdata/Fake.pm
#	  A source, and a target, that is a text file, for tests of the core; see
#	  test/connectors/fake.

=pod

=head1 NAME

Tapdata::Fake - a source that does exactly what the test writes, a target to read

=head1 SYNOPSIS

  my $source = Tapdata::Fake->new('t1', 't2');
  $source->txn('insert t1 1 one', 'update t1 1 uno');
  $hub->safe_psql('postgres', $source->pull_sql('p'));
  $source->break('08006', 'the line is cut');
  $source->mend;

  my $target = Tapdata::Fake::Target->new(holds_position => 1);
  $hub->safe_psql('postgres', $target->publish_sql('out', ['public.t']));
  is_deeply($target->rows('public.t', 'id'), { 1 => { id => 1, v => 'one' } });
  $target->fault('write', 3, '08006', 'the line is cut');

=cut

package Tapdata::Fake;

use strict;
use warnings;

use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;

my $count = 0;

=pod

=head2 new(@tables)

A new file with these tables, empty.

=cut

sub new
{
	my ($class, @tables) = @_;
	my $folder = abs_path(PostgreSQL::Test::Utils::tempdir('fake'));
	my $self = bless { path => "$folder/source" . ++$count }, $class;

	append_to_file($self->{path}, join('', map { "table $_\n" } @tables));
	return $self;
}

sub uri
{
	my ($self) = @_;

	return "fake://$self->{path}";
}

=pod

=head2 txn(@changes)

Append one transaction.

=cut

sub txn
{
	my ($self, @changes) = @_;

	append_to_file($self->{path},
		join('', map { "$_\n" } 'begin', @changes, 'commit'));
	return;
}

=pod

=head2 add_table($table), rows($table)

One more table; and the rows that a table has after all transactions, id to value.

=cut

sub add_table
{
	my ($self, $table) = @_;

	append_to_file($self->{path}, "table $table\n");
	return;
}

sub rows
{
	my ($self, $table) = @_;
	my %rows;

	for my $line (split /\n/, slurp_file($self->{path}))
	{
		my ($change, $of, $id, $value) = split / /, $line, 4;

		next unless defined $of && $of eq $table;
		$rows{$id} = $value if $change =~ /^(insert|update)$/;
		delete $rows{$id} if $change eq 'delete';
		%rows = () if $change eq 'truncate';
		if ($change eq 'move')
		{
			my ($new_id, $new_value) = split / /, $value, 2;
			my $before = delete $rows{$id};

			$rows{$new_id} = defined $new_value ? $new_value : $before;
		}
	}
	return \%rows;
}

=pod

=head2 fill($table, $from, $to)

Append one transaction that inserts rows with these ids.

=cut

sub fill
{
	my ($self, $table, $from, $to) = @_;

	$self->txn(map { "insert $table $_ value $_" } $from .. $to);
	return;
}

=pod

=head2 break($sqlstate, $message), mend()

Let every new session fail with this error, until it is mended.

=cut

sub break
{
	my ($self, $sqlstate, $message) = @_;

	unlink "$self->{path}.error";
	append_to_file("$self->{path}.error", "$sqlstate $message\n");
	return;
}

sub mend
{
	my ($self) = @_;

	unlink "$self->{path}.error";
	return;
}

=pod

=head2 pull_sql($name, $options)

SQL that connects the source as $name and pulls its tables by a pipeline of that
name, into a schema of that name.

=cut

sub pull_sql
{
	my ($self, $name, $options) = @_;

	$options ||= '{}';
	return "SELECT tapdata.connect('$name', '" . $self->uri . "'); "
	  . "SELECT tapdata.pull('$name', '$name', ARRAY['fake.*'], options => '$options');";
}

package Tapdata::Fake::Target;

use Cwd qw(abs_path);
use PostgreSQL::Test::Utils;

=pod

=head1 TARGETS

=head2 Tapdata::Fake::Target->new(holds_position => 1)

A new file that is written by pipelines, and holds their position or not.

=cut

sub new
{
	my ($class, %arguments) = @_;
	my $folder = abs_path(PostgreSQL::Test::Utils::tempdir('fake'));

	return bless {
		scheme => $arguments{holds_position} ? 'fakestore' : 'fake',
		path => "$folder/target" . ++$count
	}, $class;
}

sub uri
{
	my ($self) = @_;

	return "$self->{scheme}://$self->{path}";
}

=pod

=head2 publish_sql($name, \@tables, $options)

SQL that connects the target as $name and publishes tables to it by a pipeline of
that name.

=cut

sub publish_sql
{
	my ($self, $name, $tables, $options) = @_;
	my $list = join ', ', map { "'$_'" } @$tables;

	$options ||= '{}';
	$options =~ s/'/''/g;
	return "SELECT tapdata.connect('$name', '" . $self->uri . "'); "
	  . "SELECT tapdata.publish('$name', '$name', ARRAY[$list], '$options');";
}

=pod

=head2 fault($call, $number, $sqlstate, $message, always => 1), mend()

Let the $number-th call of a callback from now on fail, once or for ever; see
test/connectors/fake/fake_sink.h. mend() takes it back, faulty() tells whether it is
still to come.

=cut

sub fault
{
	my ($self, $call, $number, $sqlstate, $message, %arguments) = @_;
	my $always = $arguments{always} ? 'always ' : '';
	my $file = "$self->{path}.fault";

	# whole at once, since the worker may look at any time
	unlink "$file.new";
	append_to_file("$file.new", "$always$call $number $sqlstate $message\n");
	rename "$file.new", $file or die "could not rename $file.new: $!";
	return;
}

sub mend
{
	my ($self) = @_;

	unlink "$self->{path}.fault";
	return;
}

sub faulty
{
	my ($self) = @_;

	return -e "$self->{path}.fault";
}

sub _unescaped
{
	my ($text) = @_;
	my %meant = (t => "\t", n => "\n", r => "\r", '\\' => '\\');

	$text =~ s/\\(.)/$meant{$1}/g;
	return $text;
}

# Pairs of names and values; what was not sent is left out.
sub _row
{
	my @fields = @_;
	my %row;

	while (my ($name, $value) = splice @fields, 0, 2)
	{
		next if $value eq '\\?';
		$row{ _unescaped($name) } = $value eq '\\N' ? undef : _unescaped($value);
	}
	return \%row;
}

my %fields_of = (
	copy => [qw(table again)],
	copied => ['table'],
	position => ['lsn'],
	commit => ['lsn'],
	idle => ['lsn'],
	begin => [qw(xid lsn end_lsn commit_time origin changes)]);

sub _line
{
	my ($text) = @_;
	my ($kind, @fields) = split /\t/, $text, -1;
	my %line = (kind => $kind);

	if (my $names = $fields_of{$kind})
	{
		@line{@$names} = map { $_ eq '\\N' ? undef : _unescaped($_) } @fields;
		return \%line;
	}
	@line{qw(table)} = _unescaped(shift @fields);
	if ($kind eq 'table')
	{
		$line{ddl} = shift @fields;
		while (@fields && $fields[0] ne 'keys')
		{
			push @{ $line{columns} }, [ map { _unescaped($_) } splice @fields, 0, 2 ];
		}
		(undef, undef, @{ $line{keys} }) = map { _unescaped($_) } @fields;
		return \%line;
	}
	my $old;
	(@line{qw(lsn number)}, $old) = splice @fields, 0, 3;
	$line{old} = _row(splice @fields, 0, 2 * $old) if $old;
	$line{new} = _row(@fields) if @fields;
	return \%line;
}

=pod

=head2 lines()

What the target holds, as references to hashes with kind (insert, commit, ...),
table, lsn, number, old and new (references to hashes by column; a column that was
not sent is missing), and what else such a line has.

=cut

sub lines
{
	my ($self) = @_;

	return () unless -e $self->{path};
	my $text = slurp_file($self->{path});
	return map { _line($_) } grep { $_ ne '' } split /\n/, $text;
}

=pod

=head2 rows($table, @key)

The rows that a table has when all lines are played back, by the values of its key
joined with commas. A repeated transaction does no harm, as with an upsert.

=cut

sub rows
{
	my ($self, $table, @key) = @_;
	my %rows;
	my $key_of = sub {
		my ($row) = @_;
		return join ',', map { defined $row->{$_} ? $row->{$_} : '' } @key;
	};

	for my $line (grep { defined $_->{table} && $_->{table} eq $table } $self->lines)
	{
		my ($kind, $old, $new) = @$line{qw(kind old new)};

		%rows = () if $kind eq 'truncate' || $kind eq 'copy';
		next unless $old || $new;
		my $before = delete $rows{ $key_of->($old || $new) };
		$rows{ $key_of->($new) } = { %{ $before || {} }, %{ $old || {} }, %$new } if $new;
	}
	return \%rows;
}

=pod

=head2 transactions()

The whole transactions in the file, each a reference to an array of its lines from
begin to commit.

=cut

sub transactions
{
	my ($self) = @_;
	my (@transactions, $open);

	for my $line ($self->lines)
	{
		$open = [] if $line->{kind} eq 'begin';
		push @$open, $line if $open;
		next unless $line->{kind} eq 'commit';
		push @transactions, $open if $open;
		$open = undef;
	}
	return @transactions;
}

1;
