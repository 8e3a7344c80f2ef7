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
is(sql(q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
	FROM pg_attribute WHERE attrelid = 'gnu.accounts'::regclass AND attnum > 0}),
	join(', ', 'account_id integer', 'account_name text', 'status_code text', 'packed_amount numeric(9,2)',
		'packed_count smallint', 'packed_long numeric(20,2)', 'binary_small smallint', 'binary_middle integer',
		'binary_large bigint', 'binary_point numeric(7,2)', 'binary_unsigned integer', 'native_small smallint',
		'native_large numeric(20,0)', 'zoned_signed numeric(7,2)', 'zoned_leading integer', 'zoned_separate integer',
		'zoned_both integer', 'zoned_long numeric(20,0)', 'scaled_up integer', 'scaled_down numeric(5,5)',
		'blank_zero integer', 'single_float real', 'double_float double precision', 'edited text', 'right_text text',
		'align_byte text', 'align_small smallint', 'align_byte_2 text', 'align_middle integer', 'align_table jsonb',
		'months numeric(4,1)[]'),
	'types');
is(sql(q{SELECT col_description('gnu.accounts'::regclass, 3)}), "IS-ACTIVE 'A', IS-CLOSED 'C' 'D' THRU 'F'",
	'conditions are comments on columns');
like(sql(q{SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'gnu.accounts'::regclass}),
	qr/PRIMARY KEY \(account_id\)/, 'the key');

# --- a file that grows -------------------------------------------------------------------------

my @more = $program->run("$folder/more.dat", HOW_MANY => 600);
append_to_file("$folder/accounts.dat", substr(slurp_file("$folder/more.dat"), -s "$folder/accounts.dat"));
caught_up($hub, 'gnu');
same_accounts('gnu', \@more, 'records that are added to the file');

# --- a code page of EBCDIC, as IBM's compiler lays records out -----------------------------------

# Display items become EBCDIC, as they are by GnuCOBOL's translated signs; all others stay.
sub to_ebcdic
{
	my ($data, $length, @texts) = @_;
	my $result = '';

	for (my $at = 0; $at < length $data; $at += $length)
	{
		my $record = substr $data, $at, $length;

		for my $text (@texts)
		{
			my ($from, $bytes) = @$text;
			substr($record, $from, $bytes) = encode('cp37', substr($record, $from, $bytes));
		}
		$result .= $record;
	}
	return $result;
}

my $ibm = Tapdata::Cobol->compile('accounts', '-std=ibm', '-fassign-clause=mf', '-fsign=EBCDIC');
@lines = $ibm->run("$folder/ibm.dat", HOW_MANY => 200);
my $data = slurp_file("$folder/ibm.dat");
my @texts = ([ 0, 32 ], [ 83, 55 ], [ 150, 18 ], [ 168, 1 ], [ 172, 1 ], [ 180, 1 ], [ 188, 1 ], [ 196, 1 ]);
my %ebcdic = (
	format => 'fixed',
	code_page => 'IBM037',
	byte_order => 'little',
	float_format => 'ieee');

sub write_file
{
	my ($file, $content) = @_;

	open my $handle, '>:raw', $file or die "cannot write $file: $!";
	print $handle $content;
	close $handle;
	return;
}

is(length $data, 200 * 216, 'records have one length');
write_file("$folder/accounts.cpy", $accounts);
mkdir "$folder/ebcdic";
write_file("$folder/ebcdic/accounts.dat", to_ebcdic($data, 216, @texts));
pulled('ibm', "$folder/ebcdic/accounts.dat",
	{ %ebcdic, copybook => "$folder/accounts.cpy", conditions => 'label', trim => 'both' });
same_accounts('ibm', [ map { s/\|( +)([-\d.]+\|right)/|$2/r } @lines ], 'EBCDIC');
is(sql(q{SELECT string_agg(DISTINCT status_code || coalesce(status_code_label, '-'), ' ') FROM ibm.accounts}),
	'?- AIS-ACTIVE EIS-CLOSED', 'conditions as a column');

# --- records of variable length and of several kinds --------------------------------------------

my $orders = Tapdata::Cobol->copybook('orders');
my @printed = Tapdata::Cobol->compile('orders', '-std=default')->run("$folder/orders.dat", HOW_MANY => 40);
my %orders = (
	copybook_text => $orders,
	code_page => 'ASCII',
	dialect => 'gnucobol',
	redefines => {
		'ORDER-RECORD' => 'IS-ORDER',
		'PAYMENT-RECORD' => "RECORD-KIND OF PAYMENT-RECORD = 'P'",
		'PICK-UP' => 'DELIVERY-KIND = 1' });
my $order_lines = q{concat_ws('|', record_kind, order_id, amount, customer, delivery_kind, delivery, shop, shelf, line_count,
	(SELECT string_agg(concat_ws(' ', l->>'article', l->>'quantity', l->'texts'->'text_line'->>0,
		l->'texts'->'text_line'->>1) || ',', '') FROM jsonb_array_elements(order_lines) l))};

# All of a table as the program prints it.
sub orders_of
{
	my ($table, $where) = @_;

	return [ split /\n/, sql("SELECT $order_lines FROM $table " . ($where || '') . ' ORDER BY order_id, record_kind') ];
}

pulled('rdw', "$folder/orders.dat", { %orders, format => 'rdw', rdw_counts_itself => JSON::PP::false });
my @sorted = map { s/\|0\|$/|0/r } @printed;
is_deeply(orders_of('rdw.orders'), \@sorted, 'records of variable length: two kinds, REDEFINES, DEPENDING ON');
is(sql('SELECT count(*), count(amount), count(shop), count(delivery) FROM rdw.orders'), '53|13|20|20',
	'what a record does not have is NULL');
is(sql(q{SELECT jsonb_typeof(order_lines), order_lines FROM rdw.orders WHERE order_id = 1}),
	'array|[{"texts": {"text_line": ["first", "2nd"]}, "article": "art1", "quantity": -1}]', 'a table of groups');

# The same with lengths that count themselves, in blocks, and only one kind of record.
my @records;
for (my $at = 0, $data = slurp_file("$folder/orders.dat"); $at < length $data;)
{
	my $bytes = unpack 'n', substr $data, $at, 2;

	push @records, substr $data, $at + 4, $bytes;
	$at += 4 + $bytes;
}
my $blocks = '';
while (my @block = splice @records, 0, 5)
{
	my $content = join '', map { pack('n x2', length($_) + 4) . $_ } @block;

	$blocks .= pack('n x2', length($content) + 4) . $content;
}
mkdir "$folder/blocks";
write_file("$folder/blocks/orders.bin", $blocks);
pulled('bdw', "$folder/blocks/orders.bin", { %orders, format => 'bdw', record => 'ORDER-RECORD' });
$order_lines =~ s/ amount,//;
is_deeply(orders_of('bdw.orders'), [ grep { /^O/ } @sorted ], 'blocks, and only one kind of record');

pulled('folder', "$folder/blocks/", { tables => { payments => { files => '*.bin', %orders, format => 'bdw',
	record => 'payment-record' } } });
is(sql('SELECT count(*), sum(amount) FROM folder.payments'), '13|' . -1.05 * (3 * 13 * 14 / 2), 'the other kind, as a table of a folder');

# A file that grows within a block, and a pipeline that starts again there.
my $half = 4 + (unpack 'n', substr $blocks, 4, 2);
mkdir "$folder/growing";
write_file("$folder/growing/orders.bin", substr $blocks, 0, $half);
pulled('growing', "$folder/growing/orders.bin", { %orders, format => 'bdw' });
is(sql('SELECT count(*) FROM growing.orders'), 1, 'the beginning of a block');
sql("SELECT tapdata.stop('growing')");
append_to_file("$folder/growing/orders.bin", substr $blocks, $half);
sql("SELECT tapdata.start('growing')");
caught_up($hub, 'growing');
is(sql('SELECT count(*) FROM growing.orders'), 53, 'and the rest');

# --- lines ---------------------------------------------------------------------------------------

my @labels = Tapdata::Cobol->compile('labels')->run("$folder/labels.dat");
pulled('line', "$folder/labels.dat",
	{ format => 'line_sequential', copybook_text => Tapdata::Cobol->copybook('labels'), code_page => 'ASCII' });
is(sql(q{SELECT string_agg(concat_ws('|', label_id, label_text, label_price, label_remark), E'\n' ORDER BY label_id) FROM line.labels}),
	join("\n", @labels), 'line-sequential');

@lines = Tapdata::Cobol->compile('sliding', '-fodoslide', '-fcomplex-odo')->run('');
write_file("$folder/sliding.txt", join '', map { "$_\n" } @lines);
pulled('sliding', "$folder/sliding.txt",
	{ format => 'line_sequential', copybook_text => Tapdata::Cobol->copybook('sliding'), code_page => 'ASCII', odo_slides => JSON::PP::true });
is(scalar @lines, 6, 'records whose parts move');
is(sql(q{SELECT string_agg(first_count::text || last_count || array_to_string(first_table, '') || middle
	|| (SELECT string_agg((l->>'last_one') || (l->>'last_two'), '') FROM jsonb_array_elements(last_table) l)
	|| behind, E'\n' ORDER BY first_count) FROM sliding.sliding}), join("\n", @lines), 'are read where they are');

done_testing();
