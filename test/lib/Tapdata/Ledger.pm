# test/lib/Tapdata/Ledger.pm
#	  Writers in the hub, whose every change can be accounted for at a target.

=pod

=head1 NAME

Tapdata::Ledger - money moves between accounts of the hub; each row counts its changes

=head1 SYNOPSIS

  my $ledger = Tapdata::Ledger->new($hub);
  $ledger->open(clients => 2);
  ...
  $ledger->close;
  my $sum = $ledger->sum;

Schema ledger has the tables account (id, balance, version) and entry (id, amount). The
sum over all balances is constant in every consistent state. The version of an
account grows by one with each committed change of it, so that a change that is lost
or repeated at a target shows there. The writers connect again when the hub was killed
under them, and roll some of their work back.

=cut

package Tapdata::Ledger;

use strict;
use warnings;

use File::Temp ();
use POSIX ();
use Time::HiRes qw(sleep);

use constant ACCOUNTS => 20;
use constant BALANCE => 1000;

# for END
my @ledgers;

sub new
{
	my ($class, $hub) = @_;
	my $self = bless {
		hub => $hub,
		stop_file => File::Temp->new->filename,
		owner => $$,
		clients => []
	}, $class;
	my ($accounts, $balance) = (ACCOUNTS, BALANCE);

	$hub->safe_psql('postgres', <<"SQL");
CREATE SCHEMA ledger;
CREATE TABLE ledger.account (id int PRIMARY KEY, balance int NOT NULL, version int NOT NULL);
CREATE TABLE ledger.entry (id bigserial PRIMARY KEY, amount int NOT NULL);
INSERT INTO ledger.account SELECT g, $balance, 0 FROM generate_series(1, $accounts) g;
CREATE PROCEDURE ledger.work(transactions int, pause float) LANGUAGE plpgsql AS \$\$
DECLARE
	-- locked in the order of their numbers, so that clients do not deadlock
	low int;
	high int;
	amount int;
BEGIN
	FOR i IN 1 .. transactions LOOP
		low := 1 + random() * ($accounts - 2);
		high := low + 1 + random() * ($accounts - 1 - low);
		amount := 1 + random() * 50;
		UPDATE ledger.account SET balance = balance - amount, version = version + 1 WHERE id = low;
		UPDATE ledger.account SET balance = balance + amount, version = version + 1 WHERE id = high;
		INSERT INTO ledger.entry (amount) VALUES (amount);
		IF i % 7 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
		PERFORM pg_sleep(pause);
	END LOOP;
END
\$\$;
SQL
	push @ledgers, $self;
	return $self;
}

=pod

=head2 sum, accounts

What all balances make together; how many accounts there are.

=cut

sub sum { return ACCOUNTS * BALANCE; }
sub accounts { return ACCOUNTS; }

sub open
{
	my ($self, %arguments) = @_;
	my $pause = $arguments{pause} || 0.005;

	unlink $self->{stop_file};
	for (1 .. $arguments{clients} || 2)
	{
		my $pid = fork();
		die "fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			$SIG{TERM} = 'DEFAULT';
			until (-e $self->{stop_file})
			{
				my $code = eval { ($self->{hub}->psql('postgres', "CALL ledger.work(50, $pause)"))[0] };

				sleep 0.2 if !defined $code || $code != 0;
			}
			POSIX::_exit(0);
		}
		push @{ $self->{clients} }, $pid;
	}
	return;
}

sub close
{
	my ($self) = @_;

	CORE::open my $file, '>', $self->{stop_file} or die "$self->{stop_file}: $!";
	CORE::close $file;
	waitpid $_, 0 for @{ $self->{clients} };
	$self->{clients} = [];
	unlink $self->{stop_file};
	return;
}

# Clients do not outlive a test that gives up.
END
{
	local $?;
	for my $ledger (grep { $_->{owner} == $$ } @ledgers)
	{
		kill 'KILL', @{ $ledger->{clients} };
	}
}

1;
