-- Connections.

CREATE FUNCTION tapdata.connect(name name, uri text, options jsonb DEFAULT '{}')
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_connect';
COMMENT ON FUNCTION tapdata.connect(name, text, jsonb)
IS 'name an external system; the URI''s scheme chooses the connector';

CREATE FUNCTION tapdata.alter_connection(name name, uri text DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_alter_connection';
COMMENT ON FUNCTION tapdata.alter_connection(name, text, jsonb)
IS 'change a connection''s URI, or single options: a null takes an option away';

CREATE FUNCTION tapdata.disconnect(name name)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_disconnect';
COMMENT ON FUNCTION tapdata.disconnect(name)
IS 'remove a connection that no pipeline uses';

CREATE FUNCTION tapdata.test_connection(name name,
    OUT check_name text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_test_connection';
COMMENT ON FUNCTION tapdata.test_connection(name)
IS 'check all that a pipeline will need, and say how to mend what is missing: of what pipelines use the connection as, or, if none does, of all that it can be (MySQL and MariaDB: as a source)';

CREATE FUNCTION tapdata.test_connection(name name, purpose text,
    OUT check_name text, OUT ok boolean, OUT detail text, OUT hint text,
    OUT required boolean, OUT needed_for text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_test_connection';
COMMENT ON FUNCTION tapdata.test_connection(name, text)
IS 'the checks of a connection as "source" or as "target" (NULL: the same as without). needed_for says of each check which side needs it, required whether a pipeline can do without';

CREATE FUNCTION tapdata.discover(connection name, pattern text DEFAULT '*',
    OUT source_table text, OUT estimated_rows bigint, OUT key_columns text[], OUT columns jsonb)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_command_discover';
COMMENT ON FUNCTION tapdata.discover(name, text)
IS 'the tables of a source, as the hub would see them';

-- Behind the views.

CREATE FUNCTION tapdata.installed_connectors(
    OUT name name, OUT uri_schemes text[], OUT source boolean, OUT sink boolean,
    OUT description text, OUT version text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'tap_status_connectors';
COMMENT ON FUNCTION tapdata.installed_connectors()
IS 'rows of tapdata.connectors';

CREATE FUNCTION tapdata.connector_options(connector name DEFAULT NULL,
    OUT name text, OUT type text, OUT scope text[], OUT default_value text,
    OUT "values" text, OUT secret boolean, OUT help text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 30
AS 'MODULE_PATHNAME', 'tap_status_connector_options';
COMMENT ON FUNCTION tapdata.connector_options(name)
IS 'options that a connector takes; with NULL those that every pipeline takes';

CREATE FUNCTION tapdata.masked_uri(uri text)
RETURNS text LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'tap_status_masked_uri';
COMMENT ON FUNCTION tapdata.masked_uri(text)
IS 'a URI without its secrets';

CREATE FUNCTION tapdata.masked_options(connector name, options jsonb)
RETURNS jsonb LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tap_status_masked_options';
COMMENT ON FUNCTION tapdata.masked_options(name, jsonb)
IS 'options without their secrets';
