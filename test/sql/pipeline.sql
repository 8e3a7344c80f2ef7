-- Pipelines: what is wrong is an error at the call, and nothing half made is left.
CREATE EXTENSION tapdata;
SELECT tapdata.connect('erp', 'mysql://tap:secret@127.0.0.1:1/shop', '{"connect_timeout": 2}');

SELECT tapdata.pull(NULL, 'erp', '{shop.*}');
SELECT tapdata.pull('', 'erp', '{shop.*}');
SELECT tapdata.pull('p', 'nosuch', '{shop.*}');
SELECT tapdata.pull('p', 'erp', NULL);
SELECT tapdata.pull('p', 'erp', '{}');
SELECT tapdata.pull('p', 'erp', '{shop.*, NULL}');
SELECT tapdata.pull('p', 'erp', ARRAY['"shop']);
SELECT tapdata.pull('p', 'erp', '{shop.*}', options => '[]');
SELECT tapdata.pull('p', 'erp', '{shop.*}', options => '{"workers": 0}');
SELECT tapdata.pull('p', 'erp', '{shop.*}', options => '{"on_error": "ignore"}');
SELECT tapdata.pull('p', 'erp', '{shop.*}', options => '{"indexes": "perhaps"}');
\set VERBOSITY terse
SELECT tapdata.pull('p', 'erp', '{shop.*}', options => '{"worker": 1}');
-- an option of connections
SELECT tapdata.pull('p', 'erp', '{shop.*}', options => '{"ssl_mode": "require"}');

-- nothing listens there
\set VERBOSITY sqlstate
SELECT tapdata.pull('p', 'erp', '{shop.*}');
\set VERBOSITY default

SELECT count(*) FROM tapdata.pipelines;
SELECT count(*) FROM pg_namespace WHERE nspname = 'erp';

-- no such pipeline
SELECT tapdata.add_tables('p', '{shop.a}');
SELECT tapdata.remove_tables('p', '{shop.a}');
SELECT tapdata.alter_pipeline('p', '{}');
SELECT tapdata.start('p');
SELECT tapdata.stop('p');
SELECT tapdata.resync('p');
SELECT tapdata.resync('p', 'shop.a');
SELECT tapdata.drop_pipeline('p');
SELECT tapdata.wait('p');
SELECT tapdata.retry_dead_letters('p');
SELECT tapdata.discard_dead_letters('p');

-- A pipeline as a restored dump has it: stopped, with its position.
INSERT INTO tapdata.pipeline (name, direction, connection, tables, into_schema, options, owner)
    SELECT 'p', 'pull', id, '{shop.*}', 'erp', '{"workers": 3}', owner FROM tapdata.connection;
CREATE SCHEMA erp;
CREATE TABLE erp.a (id int PRIMARY KEY, v text, n int);
CREATE TABLE erp.b (v text);
INSERT INTO tapdata.pipeline_table (pipeline, source_schema, source_name, hub_table, state, created)
    SELECT id, 'shop', 'a', 'erp.a', 's', true FROM tapdata.pipeline
    UNION ALL
    SELECT id, 'shop', 'b', 'erp.b', 's', false FROM tapdata.pipeline;
INSERT INTO tapdata.position SELECT id, 'bin.000007:4', now() FROM tapdata.pipeline;
SELECT name, direction, connection, tables, into_schema, options, enabled FROM tapdata.pipelines;
SELECT name, direction, connection, state, tables, inserts, lag_seconds, lag_bytes, position,
       dead_letters, last_error
  FROM tapdata.status;
SELECT * FROM tapdata.tables ORDER BY source_table;

SELECT tapdata.pull('p', 'erp', '{shop.*}');
SELECT tapdata.publish('p', 'erp', '{shop.*}');
SELECT tapdata.disconnect('erp');
SELECT tapdata.wait('p');

SELECT tapdata.alter_pipeline('p', '{"workers": null, "ddl": "stop"}');
SELECT options FROM tapdata.pipelines;
SELECT tapdata.alter_pipeline('p', '{"ddl": "never"}');

-- removing: patterns go, tables that others still match are excluded
SELECT tapdata.remove_tables('p', '{shop.nosuch}');
SELECT tapdata.remove_tables('p', '{shop.*}');
SELECT tapdata.remove_tables('p', '{shop.b}');
SELECT tables FROM tapdata.pipelines;
SELECT source_table FROM tapdata.tables;
SELECT tapdata.resync('p', 'shop.b');

-- in one transaction the worker cannot start
BEGIN;
SELECT tapdata.start('p');
SELECT tapdata.wait('p');
ROLLBACK;

-- resync empties the hub table and forgets how far it had come
INSERT INTO erp.a VALUES (1, 'one', 1);
BEGIN;
SELECT tapdata.resync('p', 'erp.a');
SELECT source_table, state FROM tapdata.tables;
SELECT count(*) FROM erp.a;
SELECT name, state, position FROM tapdata.status;
ROLLBACK;
BEGIN;
SELECT tapdata.resync('p');
SELECT name, state, position FROM tapdata.status;
ROLLBACK;
SELECT count(*) FROM erp.a;

-- dead letters
INSERT INTO tapdata.dead_letter (pipeline, source_table, change, error, sqlstate)
    SELECT id, t, c::jsonb, 'too long', '22001'
      FROM tapdata.pipeline, (VALUES
        ('shop.a', '{"op": "insert", "table": "shop.a", "new": {"id": "2", "v": "two", "n": "2"}}'),
        ('shop.a', '{"op": "update", "table": "shop.a", "old": {"id": "1"}, "new": {"id": "1", "v": null}}'),
        ('shop.a', '{"op": "update", "table": "shop.a", "old": {"id": "2"}, "new": {"id": "3", "v": "three"}}'),
        ('shop.a', '{"op": "insert", "table": "shop.a", "new": {"id": "4", "n": "many"}}'),
        ('shop.b', '{"op": "insert", "table": "shop.b", "new": {"v": "gone"}}'),
        ('shop.a', '{"op": "delete", "table": "shop.a", "old": {"id": "4"}}')) AS letters(t, c);
SELECT pipeline, "table", change, error, sqlstate FROM tapdata.dead_letters;
SELECT tapdata.retry_dead_letters('p');
SELECT * FROM erp.a ORDER BY id;
SELECT dead_letters FROM tapdata.status;
SELECT tapdata.discard_dead_letters('p');
SELECT tapdata.retry_dead_letters('p');
SELECT pipeline, source_table, severity, kind, message FROM tapdata.events;

-- dropping
BEGIN;
SELECT tapdata.drop_pipeline('p', drop_tables => true);
SELECT to_regclass('erp.a'), to_regclass('erp.b');
ROLLBACK;
SELECT tapdata.drop_pipeline('p');
SELECT to_regclass('erp.a'), to_regclass('erp.b');
SELECT (SELECT count(*) FROM tapdata.pipeline_table), (SELECT count(*) FROM tapdata.position),
       (SELECT count(*) FROM tapdata.dead_letter);
SELECT tapdata.disconnect('erp');
DROP SCHEMA erp CASCADE;
DROP EXTENSION tapdata;
