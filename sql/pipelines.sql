-- Pipelines.

CREATE FUNCTION tapdata.pull(name name, connection name, tables text[],
    into_schema name DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_pull';
COMMENT ON FUNCTION tapdata.pull(name, name, text[], name, jsonb)
IS 'copy tables of a connection into hub tables, and follow their changes from then on';

CREATE FUNCTION tapdata.publish(name name, connection name, tables text[],
    options jsonb DEFAULT '{}')
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_publish';
COMMENT ON FUNCTION tapdata.publish(name, name, text[], jsonb)
IS 'send hub tables to a connection, and their changes from then on';

CREATE FUNCTION tapdata.add_tables(pipeline name, tables text[])
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_add_tables';
COMMENT ON FUNCTION tapdata.add_tables(name, text[])
IS 'add table patterns to a pipeline';

CREATE FUNCTION tapdata.remove_tables(pipeline name, tables text[])
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_remove_tables';
COMMENT ON FUNCTION tapdata.remove_tables(name, text[])
IS 'take tables out of a pipeline; the hub tables, and those at a target, stay as they are';

CREATE FUNCTION tapdata.alter_pipeline(name name, options jsonb)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_alter_pipeline';
COMMENT ON FUNCTION tapdata.alter_pipeline(name, jsonb)
IS 'change single options of a pipeline: a null takes an option away';

CREATE FUNCTION tapdata.start(pipeline name)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_start';
COMMENT ON FUNCTION tapdata.start(name)
IS 'start a stopped or failed pipeline where it left off';

CREATE FUNCTION tapdata.stop(pipeline name)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_stop';
COMMENT ON FUNCTION tapdata.stop(name)
IS 'stop a pipeline; it keeps its position';

CREATE FUNCTION tapdata.resync(pipeline name, "table" text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_resync';
COMMENT ON FUNCTION tapdata.resync(name, text)
IS 'pull: empty a hub table, or all of a pipeline, and copy again; publish: send them again';

CREATE FUNCTION tapdata.drop_pipeline(name name, drop_tables boolean DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_drop_pipeline';
COMMENT ON FUNCTION tapdata.drop_pipeline(name, boolean)
IS 'remove a pipeline, and with drop_tables also the hub tables that tapdata made for it to pull into';

CREATE FUNCTION tapdata.wait(pipeline name, timeout interval DEFAULT '1 min')
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_wait';
COMMENT ON FUNCTION tapdata.wait(name, interval)
IS 'return when everything that the source had committed at the call is visible in the hub, or what the hub had committed is durable at the target';

CREATE FUNCTION tapdata.sync_sequences(pipeline name)
RETURNS TABLE (hub_table regclass, column_name name, sequence regclass, last_value bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_sync_sequences';
COMMENT ON FUNCTION tapdata.sync_sequences(name)
IS 'let sequences of hub tables, made if need be, go on where those of the source stand; for a cut-over';

CREATE FUNCTION tapdata.retry_dead_letters(pipeline name)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_retry_dead_letters';
COMMENT ON FUNCTION tapdata.retry_dead_letters(name)
IS 'store dead letters of a pull pipeline again, oldest first, over what the rows hold now; returns how many succeeded';

CREATE FUNCTION tapdata.discard_dead_letters(pipeline name)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_discard_dead_letters';
COMMENT ON FUNCTION tapdata.discard_dead_letters(name)
IS 'delete dead letters; returns how many there were';

-- Behind the views.

CREATE FUNCTION tapdata.pipeline_status(
    OUT name name, OUT direction text, OUT connection name, OUT state text,
    OUT tables bigint, OUT rows_copied bigint, OUT rows_estimated bigint,
    OUT inserts bigint, OUT updates bigint, OUT deletes bigint,
    OUT transactions bigint, OUT bytes bigint,
    OUT lag_seconds float8, OUT lag_bytes bigint,
    OUT "position" text, OUT source_position text,
    OUT last_commit_at timestamptz, OUT dead_letters bigint, OUT restarts bigint,
    OUT last_error text, OUT since timestamptz)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'tap_status_pipelines';
COMMENT ON FUNCTION tapdata.pipeline_status()
IS 'rows of tapdata.status';

CREATE FUNCTION tapdata.table_status(
    OUT pipeline name, OUT source_table text, OUT hub_table regclass, OUT state text,
    OUT chunks bigint, OUT chunks_done bigint,
    OUT rows_copied bigint, OUT rows_estimated bigint,
    OUT inserts bigint, OUT updates bigint, OUT deletes bigint, OUT truncates bigint,
    OUT last_error text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'tap_status_tables';
COMMENT ON FUNCTION tapdata.table_status()
IS 'rows of tapdata.tables';
