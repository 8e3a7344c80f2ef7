-- URIs: what is accepted, what is refused, what is shown.
CREATE EXTENSION tapdata;

SELECT uri, tapdata.masked_uri(uri)
  FROM unnest(ARRAY[
    'mysql://tap:secret@db1:3306/shop',
    'mysql://tap:s%40cret@db1,db2:3307/shop?ssl_mode=require',
    'mysql://tap@db1/shop',
    'mysql://db1',
    'mysql://tap:sec/ret@db1/shop',
    'mysql://tap:sec@ret@db1/shop',
    'mysql://tap:sec?ret@db1/shop',
    'mysql://db1/shop?password=secret&sasl.token=x&heartbeat=5',
    'mysql://db1/shop?p%61ssword=secret',
    'no uri at all'
  ]) WITH ORDINALITY AS t(uri, place) ORDER BY place;

-- accepted
SELECT tapdata.connect('u1', 'mysql://tap:secret@127.0.0.1:1/shop');
SELECT tapdata.connect('u2', 'MariaDB://tap:s%40cr%2Fet@db1,db2:3307,[::1]:3308/shop?heartbeat=5');
SELECT tapdata.connect('u3', 'mysql://tap@127.0.0.1');
SELECT name, connector, uri, options FROM tapdata.connections ORDER BY name;

-- refused, and no secret is in any message
SELECT tapdata.connect('bad', '');
SELECT tapdata.connect('bad', 'tap:secret@db1/shop');
SELECT tapdata.connect('bad', '://secret@db1');
SELECT tapdata.connect('bad', '1x://secret@db1');
SELECT tapdata.connect('bad', 'mysql://tap:secret@db1:port/shop');
SELECT tapdata.connect('bad', 'mysql://tap:secret@db1:99999/shop');
SELECT tapdata.connect('bad', 'mysql://tap:secret@db1,,db2/shop');
SELECT tapdata.connect('bad', 'mysql://tap:secret@db1:0/shop');
SELECT tapdata.connect('bad', 'mysql://tap:se%zzcret@db1/shop');
SELECT tapdata.connect('bad', 'mysql://tap:secret%0a@db1/shop');
SELECT tapdata.connect('bad', 'mysql://tap:secret@db1/shop#part');
SELECT tapdata.connect('bad', 'mysql://tap:sec/ret@db1/shop');
\set VERBOSITY terse
SELECT tapdata.connect('bad', 'nosuchscheme://tap:secret@db1/shop');

SELECT count(*) FROM tapdata.connections;
DROP EXTENSION tapdata;
