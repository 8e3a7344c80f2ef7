-- Who may see and do what.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_tap_owner, regress_tap_other, regress_tap_member,
    regress_tap_monitor, regress_tap_outsider, regress_tap_nobody;
RESET client_min_messages;
CREATE EXTENSION tapdata;
CREATE ROLE regress_tap_owner LOGIN;
CREATE ROLE regress_tap_other LOGIN;
CREATE ROLE regress_tap_member LOGIN IN ROLE regress_tap_owner;
CREATE ROLE regress_tap_nobody LOGIN;
CREATE ROLE regress_tap_monitor LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_tap_outsider LOGIN IN ROLE pg_read_all_data, pg_write_all_data;
GRANT USAGE ON SCHEMA tapdata TO regress_tap_owner, regress_tap_other, regress_tap_monitor;

SET ROLE regress_tap_owner;
SELECT tapdata.connect('mine', 'mysql://tap:secret@127.0.0.1:1/shop', '{"connect_timeout": 1}');

-- files of the server are not for everybody
\set VERBOSITY terse
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1', '{"password_file": "/etc/passwd"}');
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1?password_file=/etc/passwd');
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1', '{"ssl_key": "/etc/passwd"}');
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1', '{"socket": "/run/mysqld/mysqld.sock"}');
\set VERBOSITY default

-- no table is readable, the views are
SELECT * FROM tapdata.connection;
SELECT * FROM tapdata.pipeline;
SELECT * FROM tapdata.event;
SELECT * FROM tapdata.dead_letter;
SELECT name, uri FROM tapdata.connections;

RESET ROLE;
INSERT INTO tapdata.pipeline (name, direction, connection, tables, into_schema, options, owner)
    SELECT 'p', 'pull', id, '{shop.*}', 'erp', '{}', owner FROM tapdata.connection;
INSERT INTO tapdata.event (pipeline, severity, kind, message)
    VALUES ('p', 'info', 'test', 'of p'), (NULL, 'info', 'test', 'of nobody');
INSERT INTO tapdata.dead_letter (pipeline, change, error, sqlstate)
    SELECT id, '{}', 'e', '22000' FROM tapdata.pipeline;

\set seen 'SELECT (SELECT count(*) FROM tapdata.connections) AS connections, (SELECT count(*) FROM tapdata.pipelines) AS pipelines, (SELECT count(*) FROM tapdata.status) AS status, (SELECT count(*) FROM tapdata.events) AS events, (SELECT count(*) FROM tapdata.dead_letters) AS dead_letters;'
:seen
SET ROLE regress_tap_owner;
:seen
SET ROLE regress_tap_member;
:seen
SET ROLE regress_tap_other;
:seen
SET ROLE regress_tap_monitor;
:seen

-- somebody else's
SET ROLE regress_tap_other;
SELECT tapdata.alter_connection('mine', 'mysql://evil/');
SELECT tapdata.disconnect('mine');
SELECT * FROM tapdata.test_connection('mine');
SELECT * FROM tapdata.discover('mine');
SELECT tapdata.pull('x', 'mine', '{shop.*}');
SELECT tapdata.publish('x', 'mine', '{shop.*}');
SELECT tapdata.add_tables('p', '{shop.*}');
SELECT tapdata.remove_tables('p', '{shop.*}');
SELECT tapdata.alter_pipeline('p', '{"workers": 1}');
SELECT tapdata.start('p');
SELECT tapdata.stop('p');
SELECT tapdata.resync('p');
SELECT tapdata.drop_pipeline('p');
SELECT tapdata.wait('p');
SELECT tapdata.retry_dead_letters('p');
SELECT tapdata.discard_dead_letters('p');

-- a member of the owner may
SET ROLE regress_tap_member;
SELECT tapdata.alter_pipeline('p', '{"workers": 1}');
SELECT tapdata.stop('p');
SELECT tapdata.discard_dead_letters('p');

-- who may not use the schema can do nothing
SET ROLE regress_tap_nobody;
SELECT name FROM tapdata.status;
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1');

-- who may read and write all data still cannot read passwords or take over pipelines
SET ROLE regress_tap_outsider;
:seen
SELECT count(*) FROM tapdata.connection;
UPDATE tapdata.pipeline SET owner = 'regress_tap_outsider';
INSERT INTO tapdata.pipeline_state VALUES (1, 1, true);

-- Dead letters are stored with the rights of the pipeline's owner, not of who retries.
RESET ROLE;
CREATE TABLE regress_tap_secret (id int PRIMARY KEY);
INSERT INTO tapdata.pipeline_table (pipeline, source_schema, source_name, hub_table, state, created)
    SELECT id, 'shop', 'a', 'regress_tap_secret', 's', false FROM tapdata.pipeline;
INSERT INTO tapdata.dead_letter (pipeline, source_table, change, error, sqlstate)
    SELECT id, 'shop.a', '{"op": "insert", "new": {"id": "1"}}', 'e', '22000' FROM tapdata.pipeline;
SELECT tapdata.retry_dead_letters('p');
SELECT count(*) FROM regress_tap_secret;
GRANT SELECT, INSERT, UPDATE ON regress_tap_secret TO regress_tap_owner;
SELECT tapdata.retry_dead_letters('p');
SELECT count(*) FROM regress_tap_secret;

-- A caller's operators take no part in what runs with other rights.
CREATE SCHEMA regress_tap_trap;
CREATE FUNCTION regress_tap_trap.name_eq(name, name) RETURNS boolean LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'trapped as %', current_user; END $$;
CREATE OPERATOR regress_tap_trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = regress_tap_trap.name_eq);
GRANT USAGE ON SCHEMA regress_tap_trap TO PUBLIC;
SET ROLE regress_tap_owner;
SET search_path = regress_tap_trap, pg_catalog;
SELECT tapdata.stop('p');
SELECT name, state FROM tapdata.status;
SHOW search_path;
RESET search_path;
RESET ROLE;
DROP SCHEMA regress_tap_trap CASCADE;

SELECT tapdata.drop_pipeline('p');
DROP TABLE regress_tap_secret;
DROP EXTENSION tapdata;
DROP ROLE regress_tap_owner, regress_tap_other, regress_tap_member, regress_tap_monitor,
    regress_tap_outsider, regress_tap_nobody;
