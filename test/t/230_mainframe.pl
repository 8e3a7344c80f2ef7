# Mainframe records as a source: what COBOL programs write is in the hub as they print it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";

use Encode;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Tapdata::Cobol;
use Tapdata::Test;
use Test::More;

Tapdata::Cobol->require;

my $hub = new_hub('mainframe', "tapdata.retry_min = 100ms\ntapdata.retry_max = 400ms\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->canonical;

sub sql
{
	return $hub->safe_psql('postgres', shift);
}

# Pulls a file as pipeline and schema $name, and waits until it is in the hub.
sub pulled
{
	my ($name, $file, $options, %pipeline) = @_;
	my $connection = $json->encode({ settle_ms => 0, poll_ms => 100, %$options }) =~ s/'/''/gr;
	my $given = $json->encode(\%pipeline);

	sql("SELECT tapdata.connect('$name', 'file://$file', '$connection');
		SELECT tapdata.pull('$name', '$name', '{*}', '$name', '$given')");
	caught_up($hub, $name);
	return;
}

# A row of accounts as the program prints it.
my $printed = q{concat_ws('|', account_id, account_name, status_code, packed_amount, packed_count, packed_long,
	binary_small, binary_middle, binary_large, binary_point, binary_unsigned, native_small, native_large,
	zoned_signed, zoned_leading, zoned_separate, zoned_both, zoned_long, scaled_up, scaled_down, blank_zero,
	round((single_float * 8)::numeric, 2), round((double_float * 1024)::numeric, 2), edited, right_text,
	align_byte, align_small, align_byte_2, align_middle,
	(SELECT string_agg((e->>'align_flag') || (e->>'align_number') || ' ', '') FROM jsonb_array_elements(align_table) e),
	array_to_string(months, ' '))};

sub same_accounts
{
	my ($schema, $lines, $name) = @_;
	my @rows = split /\n/, sql("SELECT $printed FROM $schema.accounts ORDER BY account_id");

	return is_deeply(\@rows, $lines, $name);
}

# --- fixed length, as GnuCOBOL lays records out ------------------------------------------------

my $accounts = Tapdata::Cobol->copybook('accounts');
my $program = Tapdata::Cobol->compile('accounts', '-std=default');
my @lines = $program->run("$folder/accounts.dat", HOW_MANY => 500);
my %gnucobol = (
	format => 'fixed',
	copybook_text => $accounts,
	code_page => 'ASCII',
	dialect => 'gnucobol');

pulled('gnu', "$folder/accounts.dat", { %gnucobol, key => 'account_id' });
is(scalar @lines, 500, 'the program printed its records');
same_accounts('gnu', \@lines, 'values are those that the program prints');
done_testing();
