# shellcheck shell=bash
# test/demo/unify.sh
#	  The demo's second part: orders of another PostgreSQL, clicks from Kafka and the extract
#	  of a COBOL program join the shop's customers in the hub.

start_more_servers()
{
	step "Three more systems: a PostgreSQL with wholesale orders, a Kafka with clicks, a COBOL program with accounts"
	"$services/kafka.sh" available >/dev/null 2>&1 || "$services/kafka.sh" fetch
	"$services/kafka.sh" start "$folder/kafka"
	KAFKA=127.0.0.1:$(sed -n 's/^PORT=//p' "$folder/kafka/env")
	"$services/postgres.sh" start "$folder/wholesale" wal_level=logical max_slot_wal_keep_size=1GB
	wholesale_host=$(sed -n 's/^HOST=//p' "$folder/wholesale/env")
	wholesale_port=$(sed -n 's/^PORT=//p' "$folder/wholesale/env")
	wholesale_sql "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int NOT NULL, total numeric(12,2) NOT NULL)"
	wholesale_sql "INSERT INTO orders SELECT n, 1 + n % 5000, n * 1.5 FROM generate_series(1, 20000) n"
	seq 1 5000 | awk '{ printf "{\"customer\": %d, \"page\": \"/product/%d\"}\n", $1 % 100 + 1, $1 % 400 }' | clicks
	mkdir "$folder/mainframe"
	cp "$here/../cobol/credit.cpy" "$folder/mainframe/"
	cobc -x -I "$here/../cobol" -o "$folder/mainframe/credit" "$here/../cobol/credit.cob"
	seq 1 5000 | awk '{ print $1, "LIS", $1 * 1000, -$1 * 7, "A" }' | extract
	chmod -R a+rX "$folder/mainframe"
}

wholesale_sql()
{
	hub_sql -h "$wholesale_host" -p "$wholesale_port" -d postgres -c "$1" >/dev/null
}

# Clicks from standard input, one JSON object a line.
clicks()
{
	kcat -P -b "$KAFKA" -t clicks 2>/dev/null
}

# Runs the COBOL program on lines from standard input; its file is put in place at once.
extract()
{
	cat >"$folder/mainframe/lines"
	LINES_NAME=$folder/mainframe/lines OUT_NAME=$folder/mainframe/next "$folder/mainframe/credit"
	chmod a+r "$folder/mainframe/next"
	mv "$folder/mainframe/next" "$folder/mainframe/credit.dat"
}

pull_more()
{
	run_sql "SELECT tapdata.connect('wholesale', 'postgres://postgres@localhost:$wholesale_port/postgres', '{\"socket\": \"$wholesale_host\"}');"
	run_sql "SELECT tapdata.pull('wholesale', 'wholesale', ARRAY['public.orders']);"
	run_sql "SELECT tapdata.connect('web', 'kafka://$KAFKA');"
	run_sql "SELECT tapdata.pull('web', 'web', ARRAY['clicks'], options => '{\"format\": \"json\"}');"
	run_sql "SELECT tapdata.connect('mainframe', 'file://$folder/mainframe/credit.dat', '{
    \"format\": \"fixed\", \"copybook\": \"$folder/mainframe/credit.cpy\", \"code_page\": \"ASCII\", \"dialect\": \"gnucobol\",
    \"key\": \"customer_id\", \"mode\": \"replace\"}');"
	run_sql "SELECT tapdata.pull('mainframe', 'mainframe', ARRAY['credit']);"
	wait_for_more
	hub_sql -c "SELECT name, connection, state, tables, position FROM tapdata.status WHERE direction = 'pull' ORDER BY 1" -P footer=off
}

wait_for_more()
{
	hub_sql -c "SELECT tapdata.wait(name) FROM tapdata.pipelines WHERE direction = 'pull'" >/dev/null
}

show_customers()
{
	local query="SELECT c.name, (SELECT sum(total) FROM wholesale.orders WHERE customer_id = c.id) AS wholesale,
       (SELECT count(*) FROM web.clicks WHERE customer = c.id) AS clicks, a.credit_limit, a.balance
  FROM shop.customers c JOIN mainframe.credit a ON a.customer_id = c.id
 WHERE c.id <= 3 ORDER BY c.id"

	printf '%shub=# %s;%s\n' "$dim" "$query" "$plain"
	hub_sql -P footer=off -c "$query"
}

change_more()
{
	step "All of them live: customer 1 marries, customer 2 orders and clicks, last night's extract has a new balance for 3"
	mariadb --no-defaults --socket="$SOURCE_SOCKET" --user=root shop -e "UPDATE customers SET name = 'Grace Hopper' WHERE id = 1"
	wholesale_sql "INSERT INTO orders VALUES (20001, 2, 1000000)"
	printf '{"customer": 2, "page": "/basket"}\n' | clicks
	seq 1 5000 | awk '{ print $1, "LIS", $1 * 1000, $1 == 3 ? 4200 : -$1 * 7, "A" }' | extract
	wait_for_more
	show_customers
	hub_sql -c "SELECT pipeline, source_table, inserts, updates, deletes FROM tapdata.tables WHERE pipeline = 'mainframe'" -P footer=off
}
