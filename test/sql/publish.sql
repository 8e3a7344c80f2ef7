-- Publishing: what is wrong is an error at the call, and nothing half made is left.
CREATE EXTENSION tapdata;
SELECT tapdata.connect('out', 'http://127.0.0.1:1/hook');
CREATE SCHEMA erp;
CREATE TABLE erp.orders (id int PRIMARY KEY, amount numeric, note text);
CREATE TABLE erp.log (at timestamptz, line text);
CREATE TABLE erp.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE erp.parts_1 PARTITION OF erp.parts FOR VALUES FROM (0) TO (100);

SELECT tapdata.publish(NULL, 'out', '{erp.orders}');
SELECT tapdata.publish('p', 'nosuch', '{erp.orders}');
SELECT tapdata.publish('p', 'out', '{}');
SELECT tapdata.publish('p', 'out', ARRAY['"erp']);
SELECT tapdata.publish('p', 'out', '{erp.nosuch}');
SELECT tapdata.publish('p', 'out', '{erp.parts_1}');
SELECT tapdata.publish('p', 'out', '{erp.orders, !erp.*}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '[]');

-- options
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"snapshot": "later"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"publish": "insert, upsert"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": 3}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": {"erp.other": "id > 1"}}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": {"erp.*": "id > 1", "*.orders": "id > 2"}}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"columns": "id"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"columns": {"erp.other": ["id"]}}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"origins": ["any", "local"]}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"origins": "nosuch"}');

-- what tables and rows can be told of
SELECT tapdata.publish('p', 'out', '{erp.log}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"columns": ["id", "nosuch"]}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"columns": ["amount"]}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": "amount > 10"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": "nosuch > 10", "publish": "insert"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": "random() > 0.5"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": "id IN (SELECT 1)"}');
SELECT tapdata.publish('p', 'out', '{erp.orders}', '{"where": "id) OR (true"}');

SELECT count(*) FROM tapdata.pipelines;
SELECT count(*) FROM pg_replication_slots;

-- A pipeline as a restored dump has it: stopped, with its position.
INSERT INTO tapdata.pipeline (name, direction, connection, tables, options, owner)
    SELECT 'p', 'publish', id, '{erp.*}', '{"where": {"erp.orders": "id > 10"}}', owner FROM tapdata.connection;
INSERT INTO tapdata.pipeline_table (pipeline, source_schema, source_name, hub_table, state, created, start_position, published)
    SELECT id, 'erp', 'orders', 'erp.orders', 's', true, '0/10', true FROM tapdata.pipeline
    UNION ALL
    SELECT id, 'erp', 'parts', 'erp.parts', 's', true, '0/10', true FROM tapdata.pipeline;
INSERT INTO tapdata.position SELECT id, '0/20', now() FROM tapdata.pipeline;
SELECT name, direction, connection, tables, into_schema, options, enabled FROM tapdata.pipelines;
SELECT name, direction, connection, state, tables, lag_seconds, position FROM tapdata.status;
SELECT pipeline, source_table, hub_table, state FROM tapdata.tables;

SELECT tapdata.disconnect('out');
SELECT tapdata.wait('p');
SELECT tapdata.alter_pipeline('p', '{"where": null, "columns": {"erp.orders": ["id"]}}');
SELECT options FROM tapdata.pipelines;
SELECT tapdata.alter_pipeline('p', '{"columns": {"erp.other": ["id"]}}');
SELECT tapdata.alter_pipeline('p', '{"where": {"erp.parts": "v"}}');

-- a table is published by any number, and filled by one
INSERT INTO tapdata.pipeline_table (pipeline, source_name, hub_table, state, created)
    SELECT id, 'orders', 'erp.orders', 's', false FROM tapdata.pipeline;
\set VERBOSITY terse
INSERT INTO tapdata.pipeline_table (pipeline, source_name, hub_table, state, created)
    SELECT id, 'other', 'erp.orders', 's', false FROM tapdata.pipeline;
\set VERBOSITY default
DELETE FROM tapdata.pipeline_table WHERE NOT published;

SELECT tapdata.remove_tables('p', '{erp.nosuch}');
SELECT tapdata.remove_tables('p', '{erp.*}');
SELECT tapdata.remove_tables('p', '{erp.parts}');
SELECT tables FROM tapdata.pipelines;
SELECT source_table FROM tapdata.tables;

INSERT INTO tapdata.dead_letter (pipeline, source_table, change, error, sqlstate, position)
    SELECT id, 'erp.orders', '{"op": "insert"}', 'refused', '23514', '0/20' FROM tapdata.pipeline;
SELECT "table", change, error, sqlstate, position FROM tapdata.dead_letters;
SELECT tapdata.retry_dead_letters('p');
SELECT tapdata.discard_dead_letters('p');

-- the hub tables stay, whatever is said
INSERT INTO erp.orders VALUES (1, 10, 'one');
SELECT tapdata.drop_pipeline('p', drop_tables => true);
SELECT * FROM erp.orders;
SELECT count(*) FROM tapdata.pipeline_table;
SELECT tapdata.disconnect('out');

DROP SCHEMA erp CASCADE;
DROP EXTENSION tapdata;
