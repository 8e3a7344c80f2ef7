-- Connections: connect, alter, disconnect, and their options.
CREATE EXTENSION tapdata;

SELECT tapdata.connect('erp', 'mysql://tap:secret@127.0.0.1:1/shop',
    '{"connect_timeout": 2, "ssl_mode": "disable"}');
SELECT name, connector, uri, options, owner = current_user::regrole AS mine
  FROM tapdata.connections;

-- names
SELECT tapdata.connect('erp', 'mysql://127.0.0.1');
SELECT tapdata.connect('', 'mysql://127.0.0.1');
SELECT tapdata.connect(NULL, 'mysql://127.0.0.1');
SELECT tapdata.connect('x', NULL);
SELECT tapdata.connect('x', 'mysql://127.0.0.1', NULL);

-- options
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '[]');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '1');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"connect_timeout": "soon"}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"connect_timeout": 0}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"connect_timeout": 1.5}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"connect_timeout": null}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"connect_timeout": [1]}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"ssl_mode": "maybe"}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1?ssl_mode=require', '{"ssl_mode": "disable"}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1?ssl_mode=%zz');
SELECT tapdata.connect('x', 'mysql://u:p@127.0.0.1', '{"password": "q"}');
\set VERBOSITY terse
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"conect_timeout": 2}');
SELECT tapdata.connect('x', 'mysql://127.0.0.1?zzz=2');
-- a connector may want more than a URI
\set VERBOSITY default
SELECT tapdata.connect('x', 'mysql://127.0.0.1');
\set VERBOSITY terse
-- an option of pipelines
SELECT tapdata.connect('x', 'mysql://127.0.0.1', '{"workers": 2}');
\set VERBOSITY default
SELECT count(*) FROM tapdata.connections;

-- changing
SELECT tapdata.alter_connection('erp');
SELECT tapdata.alter_connection('nosuch', 'mysql://127.0.0.1');
SELECT tapdata.alter_connection('erp', 'mysql://tap:other@127.0.0.1:2/shop');
SELECT uri, options FROM tapdata.connections;
SELECT tapdata.alter_connection('erp', options => '{"ssl_mode": null, "heartbeat": 5, "connect_timeout": 3}');
SELECT uri, options FROM tapdata.connections;
SELECT tapdata.alter_connection('erp', options => '{"heartbeat": "often"}');
SELECT tapdata.alter_connection('erp', options => '{"password": "hidden"}');
SELECT tapdata.alter_connection('erp', 'mysql://tap@127.0.0.1:1/shop', '{"password": "hidden"}');
SELECT uri, options FROM tapdata.connections;

-- what is rolled back never happened
BEGIN;
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1');
SELECT count(*) FROM tapdata.connections;
ROLLBACK;
SELECT count(*) FROM tapdata.connections;

-- a read-only transaction cannot change anything
BEGIN READ ONLY;
SELECT tapdata.connect('x', 'mysql://tap@127.0.0.1');
ROLLBACK;

-- nothing listens there
SELECT check_name, ok, detail IS NOT NULL AS has_detail, hint IS NOT NULL AS has_hint
  FROM tapdata.test_connection('erp');
SELECT * FROM tapdata.test_connection('nosuch');
\set VERBOSITY sqlstate
SELECT * FROM tapdata.discover('erp');
SELECT * FROM tapdata.discover('nosuch');
\set VERBOSITY default

SELECT tapdata.disconnect('nosuch');
SELECT tapdata.disconnect('erp');
SELECT count(*) FROM tapdata.connections;
DROP EXTENSION tapdata;
