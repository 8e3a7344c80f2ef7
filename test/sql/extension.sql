-- The extension as such.
CREATE EXTENSION tapdata;

-- everything is commented on
SELECT pg_describe_object(classid, objid, objsubid)
  FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'tapdata')
   AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass)
   AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('S', 'i'))
   AND obj_description(objid, classid::regclass::name) IS NULL;
SELECT c.relname, a.attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'tapdata'::regnamespace AND c.relkind IN ('r', 'v')
   AND col_description(c.oid, a.attnum) IS NULL;

-- what a dump contains
SELECT c.relname
  FROM pg_extension e, unnest(e.extconfig) AS config(oid) JOIN pg_class c USING (oid)
 WHERE e.extname = 'tapdata' ORDER BY 1;

-- nobody has rights on the tables, everybody may read the views
SELECT relname, relacl IS NULL OR NOT EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee = 0) AS private
  FROM pg_class
 WHERE relnamespace = 'tapdata'::regnamespace AND relkind IN ('r', 'v') ORDER BY relkind, relname;

-- the columns that others rely on
SELECT table_name, string_agg(column_name, ', ' ORDER BY ordinal_position)
  FROM information_schema.columns
 WHERE table_schema = 'tapdata' AND table_name IN
    ('connectors', 'connections', 'pipelines', 'status', 'tables', 'events', 'dead_letters')
 GROUP BY 1 ORDER BY 1;

-- the options that every pipeline takes
SELECT name, type, scope, default_value, "values", secret FROM tapdata.connector_options();
SELECT count(*) FROM tapdata.connector_options('nosuch');

-- the empty hub
SELECT * FROM tapdata.status;
SELECT * FROM tapdata.tables;
SELECT * FROM tapdata.events;

-- nothing stays behind, and it can be created again
DROP EXTENSION tapdata;
SELECT count(*) FROM pg_namespace WHERE nspname = 'tapdata';
SELECT count(*) FROM pg_replication_origin WHERE roname LIKE 'tapdata%';
CREATE EXTENSION tapdata;
DROP EXTENSION tapdata;

-- a schema of that name that is not ours is not taken over
CREATE SCHEMA tapdata;
\set VERBOSITY terse
CREATE EXTENSION tapdata;
DROP SCHEMA tapdata;
