# test/lib/Tapdata/Bank.pm
#	  A bank at the source, whose clients never rest, and its invariant.

=pod

=head1 NAME

Tapdata::Bank - money moves between two tables; the sum over both is constant

=head1 SYNOPSIS

  my $bank = Tapdata::Bank->new($source, rows => 200_000);
  $bank->open_doors(clients => 3);
  ...
  $bank->close_doors;
  $bank->check_sum($hub, 'bank');

Each client is a process that runs transactions of several kinds against the
source and connects again when the source was killed under it: transfers between
the tables, inserts, updates, deletes and key changes of a large table, rows of a
table without a key, rolled back work, savepoints.

=cut

package Tapdata::Bank;

use strict;
use warnings;

use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep);

use constant ACCOUNTS => 50;
use constant BALANCE => 1000;

# for END
my @banks;

sub new
{
	my ($class, $source, %arguments) = @_;
	my $self = bless {
		source => $source,
		rows => $arguments{rows} || 20_000,
		stop_file => File::Temp->new->filename,
		owner => $$,
		clients => []
	}, $class;
	my $accounts = ACCOUNTS;
	my $balance = BALANCE;

	push @banks, $self;
	$source->sql(qq(
		CREATE DATABASE bank;
		USE bank;
		CREATE TABLE current_account (id int PRIMARY KEY, balance bigint NOT NULL);
		CREATE TABLE savings_account (id int PRIMARY KEY, balance bigint NOT NULL);
		CREATE TABLE history (id int PRIMARY KEY AUTO_INCREMENT, amount int, note varchar(100));
		CREATE TABLE noise (a int, b varchar(20));
		CREATE TABLE unrelated.ignored (id int PRIMARY KEY AUTO_INCREMENT, a int);
	) =~ s/CREATE TABLE unrelated/CREATE DATABASE unrelated; CREATE TABLE unrelated/r);
	for my $id (1 .. $accounts)
	{
		$source->do("INSERT INTO bank.current_account VALUES ($id, $balance)");
		$source->do("INSERT INTO bank.savings_account VALUES ($id, $balance)");
	}

	# doubling is quicker than sending rows
	$source->do("INSERT INTO bank.history (amount, note) VALUES (1, 'first note')");
	for (my $have = 1; $have < $self->{rows}; $have *= 2)
	{
		$source->do(
			"INSERT INTO bank.history (amount, note) SELECT amount + 1, concat('note ', id) FROM bank.history LIMIT "
			  . ($self->{rows} - $have));
	}
	return $self;
}

=pod

=head2 $bank->sum

The sum that every consistent state shows.

=cut

sub sum { return 2 * ACCOUNTS * BALANCE; }

sub tables { return qw(current_account savings_account history noise); }

sub open_doors
{
	my ($self, %arguments) = @_;

	unlink $self->{stop_file};
	for my $number (1 .. $arguments{clients} || 3)
	{
		my $pid = fork();
		die "fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			$SIG{TERM} = 'DEFAULT';
			srand($number * 7919 + time);
			$self->_work($number, $arguments{pause} || 0.002)
			  until -e $self->{stop_file};
			POSIX::_exit(0);
		}
		push @{ $self->{clients} }, $pid;
	}
	return;
}

sub close_doors
{
	my ($self) = @_;

	open my $file, '>', $self->{stop_file} or die "$self->{stop_file}: $!";
	close $file;
	waitpid $_, 0 for @{ $self->{clients} };
	$self->{clients} = [];
	unlink $self->{stop_file};
	return;
}

# Clients do not outlive a test that gives up.
END
{
	local $?;
	for my $bank (grep { $_->{owner} == $$ } @banks)
	{
		kill 'KILL', @{ $bank->{clients} };
	}
}

# One connection's life: ends with an error when the source goes away.
sub _work
{
	my ($self, $number, $pause) = @_;

	eval {
		my $db = $self->{source}->connect('bank');

		until (-e $self->{stop_file})
		{
			eval { $self->_transaction($db); 1 } or do
			{
				my $error = $@;

				# deadlocks are part of life, a lost connection is not
				die $error unless eval { $db->rollback if !$db->{AutoCommit}; $db->ping };
			};
			sleep $pause;
		}
		1;
	} or sleep 0.2;
	return;
}

sub _transaction
{
	my ($self, $db) = @_;
	my $kind = int rand 10;
	my ($from, $to) = (1 + int rand ACCOUNTS, 1 + int rand ACCOUNTS);
	my $amount = 1 + int rand 100;

	if ($kind == 8)
	{
		$db->do("INSERT INTO unrelated.ignored (a) VALUES ($amount)");
		return;
	}
	$db->begin_work;
	if ($kind < 5)
	{
		my ($a, $b) = rand 2 < 1 ? qw(current_account savings_account) : qw(savings_account current_account);

		$db->do("UPDATE $a SET balance = balance - $amount WHERE id = $from");
		$db->do("UPDATE $b SET balance = balance + $amount WHERE id = $to");
		$db->do("INSERT INTO history (amount, note) VALUES ($amount, 'transfer')");
	}
	elsif ($kind == 5)
	{
		my $id = 1 + int rand $self->{rows};

		$db->do("UPDATE history SET amount = amount + 1, note = 'changed' WHERE id = $id");
		$db->do('DELETE FROM history WHERE id = ' . (1 + int rand $self->{rows}));

		# a key change
		$db->do("UPDATE IGNORE history SET id = id + 10000000 WHERE id = " . (1 + int rand $self->{rows}));
	}
	elsif ($kind == 6)
	{
		$db->do("INSERT INTO noise VALUES ($amount, 'x'), ($amount, 'x'), (NULL, NULL)");
		$db->do('DELETE FROM noise WHERE a = ' . (1 + int rand 100) . ' LIMIT 1');
	}
	elsif ($kind == 7)
	{
		$db->do("UPDATE current_account SET balance = balance - 1000000 WHERE id = $from");
		$db->rollback;
		return;
	}
	else
	{
		$db->do("UPDATE current_account SET balance = balance - $amount WHERE id = $from");
		$db->do('SAVEPOINT s');
		$db->do("UPDATE savings_account SET balance = balance + 777 WHERE id = $to");
		$db->do('ROLLBACK TO SAVEPOINT s');
		$db->do("UPDATE savings_account SET balance = balance + $amount WHERE id = $to");
	}
	$db->commit;
	return;
}

1;
