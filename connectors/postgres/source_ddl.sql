-- connectors/postgres/source_ddl.sql
--	  To be run at a PostgreSQL source (14 or newer), by a superuser, in the database
--	  whose tables are pulled: event triggers that tell of created, altered and
--	  dropped tables, for pipelines with the option "ddl_messages".
--
-- What they write goes into the log with the transaction that it is of, and nowhere else.
-- DROP SCHEMA tapdata_source CASCADE takes all of it back.

CREATE SCHEMA tapdata_source;

CREATE FUNCTION tapdata_source.field(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT replace(replace(replace(name, E'\\', E'\\\\'), E'\t', E'\\t'), E'\n', E'\\n') $$;

-- A table as a message: see tap_pgoutput_decode_ddl() in pgoutput.h.
CREATE FUNCTION tapdata_source.describe(relid oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT concat_ws(E'\t', 'altered', c.oid, c.relreplident, c.relkind,
					 CASE WHEN c.relispartition THEN 't' ELSE 'f' END,
					 tapdata_source.field(n.nspname), tapdata_source.field(c.relname))
		   || coalesce((SELECT string_agg(E'\n' || concat_ws(E'\t',
											tapdata_source.field(a.attname), a.attnum, a.atttypid, a.atttypmod,
											CASE WHEN c.relreplident = 'f' OR x.key THEN 't' ELSE 'f' END,
											CASE WHEN a.attgenerated <> '' THEN 't' ELSE 'f' END),
											'' ORDER BY a.attnum)
						FROM pg_attribute a
						CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_index i
														   WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)
														   AND (c.relreplident = 'd' AND i.indisprimary AND i.indimmediate
																OR c.relreplident = 'i' AND i.indisreplident))) x (key)
						WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = relid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
$$;

-- SECURITY DEFINER: so that the function for messages can be taken from all others.
CREATE FUNCTION tapdata_source.tell_altered() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM pg_logical_emit_message(true, 'tapdata', convert_to(message, 'UTF8'))
	FROM (WITH RECURSIVE tables (oid) AS (
			SELECT c.oid FROM pg_event_trigger_ddl_commands() d
			JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
				OR d.classid = 'pg_namespace'::regclass AND c.relnamespace = d.objid
			WHERE c.relkind IN ('r', 'p')
			UNION
			-- what is told of a table holds for its partitions, too
			SELECT i.inhrelid FROM tables t JOIN pg_inherits i ON i.inhparent = t.oid)
		  SELECT tapdata_source.describe(oid) FROM tables ORDER BY oid) m (message)
	WHERE message IS NOT NULL;
END
$$;

CREATE FUNCTION tapdata_source.tell_dropped() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM pg_logical_emit_message(true, 'tapdata', convert_to(concat_ws(E'\t',
				'dropped', o.objid, 'd', 'r', 'f',
				tapdata_source.field(o.schema_name), tapdata_source.field(o.object_name)), 'UTF8'))
	FROM pg_event_trigger_dropped_objects() o
	WHERE o.object_type = 'table' AND NOT o.is_temporary;
END
$$;

CREATE EVENT TRIGGER tapdata_altered ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE', 'ALTER SCHEMA')
	EXECUTE FUNCTION tapdata_source.tell_altered();

CREATE EVENT TRIGGER tapdata_dropped ON sql_drop
	EXECUTE FUNCTION tapdata_source.tell_dropped();
