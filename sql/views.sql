-- The views.  Whoever may use the schema may read them
-- (GRANT USAGE ON SCHEMA tapdata TO role); each user sees the rows of the
-- connections and pipelines of roles whose privileges he or she has, and
-- members of pg_monitor see status, tables and events of all.  No secret is in
-- any of them.

CREATE VIEW tapdata.connectors AS
    SELECT name, uri_schemes, source, sink, description, version
      FROM tapdata.installed_connectors();
COMMENT ON VIEW tapdata.connectors IS 'connectors that are installed';
COMMENT ON COLUMN tapdata.connectors.name IS 'name';
COMMENT ON COLUMN tapdata.connectors.uri_schemes IS 'schemes of the URIs it takes';
COMMENT ON COLUMN tapdata.connectors.source IS 'can be pulled from';
COMMENT ON COLUMN tapdata.connectors.sink IS 'can be published to';
COMMENT ON COLUMN tapdata.connectors.description IS 'what it speaks to';
COMMENT ON COLUMN tapdata.connectors.version IS 'its version';

CREATE VIEW tapdata.connections WITH (security_barrier) AS
    SELECT c.name, c.connector, tapdata.masked_uri(c.uri) AS uri,
           tapdata.masked_options(c.connector, c.options) AS options,
           c.owner, c.created_at
      FROM tapdata.connection c
     WHERE pg_catalog.pg_has_role(c.owner, 'USAGE');
COMMENT ON VIEW tapdata.connections IS 'external systems; secrets are masked';
COMMENT ON COLUMN tapdata.connections.name IS 'name given to tapdata.connect()';
COMMENT ON COLUMN tapdata.connections.connector IS 'connector';
COMMENT ON COLUMN tapdata.connections.uri IS 'URI without its password';
COMMENT ON COLUMN tapdata.connections.options IS 'options, secret ones masked';
COMMENT ON COLUMN tapdata.connections.owner IS 'role that may use and change it';
COMMENT ON COLUMN tapdata.connections.created_at IS 'when it was made';

CREATE VIEW tapdata.pipelines WITH (security_barrier) AS
    SELECT p.name, p.direction, c.name AS connection, p.tables, p.into_schema,
           tapdata.masked_options(c.connector, p.options) AS options,
           coalesce(s.enabled, false) AS enabled, p.owner, p.created_at
      FROM tapdata.pipeline p
      JOIN tapdata.connection c ON c.id = p.connection
      LEFT JOIN tapdata.pipeline_state s ON s.pipeline = p.id
           AND s.database = (SELECT d.oid FROM pg_catalog.pg_database d
                              WHERE d.datname = pg_catalog.current_database())
     WHERE pg_catalog.pg_has_role(p.owner, 'USAGE');
COMMENT ON VIEW tapdata.pipelines IS 'how pipelines are set up';
COMMENT ON COLUMN tapdata.pipelines.name IS 'name given to tapdata.pull() or tapdata.publish()';
COMMENT ON COLUMN tapdata.pipelines.direction IS 'pull (into the hub) or publish (out of it)';
COMMENT ON COLUMN tapdata.pipelines.connection IS 'the other end';
COMMENT ON COLUMN tapdata.pipelines.tables IS 'table patterns; a leading ! excludes';
COMMENT ON COLUMN tapdata.pipelines.into_schema IS 'schema of the hub tables of a pull pipeline';
COMMENT ON COLUMN tapdata.pipelines.options IS 'options, secret ones masked';
COMMENT ON COLUMN tapdata.pipelines.enabled IS 'shall run';
COMMENT ON COLUMN tapdata.pipelines.owner IS 'role that its workers run as';
COMMENT ON COLUMN tapdata.pipelines.created_at IS 'when it was made';

CREATE VIEW tapdata.status AS
    SELECT name, direction, connection, state, tables, rows_copied, rows_estimated,
           inserts, updates, deletes, transactions, bytes, lag_seconds, lag_bytes,
           "position", source_position, last_commit_at, dead_letters, restarts,
           last_error, since
      FROM tapdata.pipeline_status();
COMMENT ON VIEW tapdata.status IS 'what each pipeline does right now';
COMMENT ON COLUMN tapdata.status.name IS 'pipeline';
COMMENT ON COLUMN tapdata.status.direction IS 'pull or publish';
COMMENT ON COLUMN tapdata.status.connection IS 'the other end';
COMMENT ON COLUMN tapdata.status.state IS 'starting, snapshot, catchup, streaming, stopped, failed or retrying';
COMMENT ON COLUMN tapdata.status.tables IS 'number of tables';
COMMENT ON COLUMN tapdata.status.rows_copied IS 'rows copied by snapshots that are under way, or ended since the server started';
COMMENT ON COLUMN tapdata.status.rows_estimated IS 'rows that these are expected to have';
COMMENT ON COLUMN tapdata.status.inserts IS 'rows inserted, or inserts sent, by the stream since the server started';
COMMENT ON COLUMN tapdata.status.updates IS 'rows updated, or updates sent, by the stream since the server started';
COMMENT ON COLUMN tapdata.status.deletes IS 'rows deleted, or deletes sent, by the stream since the server started';
COMMENT ON COLUMN tapdata.status.transactions IS 'transactions applied, or sent, since the server started';
COMMENT ON COLUMN tapdata.status.bytes IS 'bytes of the source''s log read, or of rows sent, since the server started';
COMMENT ON COLUMN tapdata.status.lag_seconds IS 'age of the newest transaction that was applied, or is durable at the target, while behind, else 0; NULL: unknown';
COMMENT ON COLUMN tapdata.status.lag_bytes IS 'bytes of the source''s log, or of WAL, that are still to be read; NULL: unknown';
COMMENT ON COLUMN tapdata.status."position" IS 'everything up to here is in the hub, or (an LSN of the hub) durable at the target';
COMMENT ON COLUMN tapdata.status.source_position IS 'where the source, or the hub, stood when last heard';
COMMENT ON COLUMN tapdata.status.last_commit_at IS 'when the newest transaction that was applied, or is durable at the target, was committed';
COMMENT ON COLUMN tapdata.status.dead_letters IS 'number of changes that could not be stored, or were refused by the target';
COMMENT ON COLUMN tapdata.status.restarts IS 'restarts after errors since the server started';
COMMENT ON COLUMN tapdata.status.last_error IS 'the error that stopped it, or that it retries after; or what it pauses for';
COMMENT ON COLUMN tapdata.status.since IS 'when it came to this state';

CREATE VIEW tapdata.tables AS
    SELECT pipeline, source_table, hub_table, state, chunks, chunks_done,
           rows_copied, rows_estimated, inserts, updates, deletes, truncates, last_error
      FROM tapdata.table_status();
COMMENT ON VIEW tapdata.tables IS 'tables of pipelines, with the progress of their snapshots';
COMMENT ON COLUMN tapdata.tables.pipeline IS 'pipeline';
COMMENT ON COLUMN tapdata.tables.source_table IS 'table at the source; the hub table as it is called where it is published';
COMMENT ON COLUMN tapdata.tables.hub_table IS 'table in the hub';
COMMENT ON COLUMN tapdata.tables.state IS 'new, copying, copied, catchup, streaming or dropped (at the source, or the published hub table)';
COMMENT ON COLUMN tapdata.tables.chunks IS 'chunks of a snapshot that is under way';
COMMENT ON COLUMN tapdata.tables.chunks_done IS 'chunks that are copied';
COMMENT ON COLUMN tapdata.tables.rows_copied IS 'rows that its snapshot has copied; unknown (0) when that ended before the server started';
COMMENT ON COLUMN tapdata.tables.rows_estimated IS 'rows that its snapshot is expected to have';
COMMENT ON COLUMN tapdata.tables.inserts IS 'rows inserted by the stream since the server started';
COMMENT ON COLUMN tapdata.tables.updates IS 'rows updated by the stream since the server started';
COMMENT ON COLUMN tapdata.tables.deletes IS 'rows deleted by the stream since the server started';
COMMENT ON COLUMN tapdata.tables.truncates IS 'truncates by the stream since the server started';
COMMENT ON COLUMN tapdata.tables.last_error IS 'last error of this table';

-- An event outlives its pipeline; then only superusers and monitors see it.
CREATE VIEW tapdata.events WITH (security_barrier) AS
    SELECT e.at, e.pipeline, e.source_table, e.severity, e.kind, e.message
      FROM tapdata.event e
      LEFT JOIN tapdata.pipeline p ON p.name = e.pipeline
     WHERE pg_catalog.pg_has_role(p.owner, 'USAGE')
        OR pg_catalog.pg_has_role('pg_monitor', 'USAGE')
     ORDER BY e.id;
COMMENT ON VIEW tapdata.events IS 'what happened and when, oldest first; trimmed by tapdata.event_retention';
COMMENT ON COLUMN tapdata.events.at IS 'when it happened';
COMMENT ON COLUMN tapdata.events.pipeline IS 'pipeline; NULL: none in particular';
COMMENT ON COLUMN tapdata.events.source_table IS 'source table, if it is about one';
COMMENT ON COLUMN tapdata.events.severity IS 'info, warning or error';
COMMENT ON COLUMN tapdata.events.kind IS 'what happened, as a word';
COMMENT ON COLUMN tapdata.events.message IS 'what happened, as a sentence';

CREATE VIEW tapdata.dead_letters WITH (security_barrier) AS
    SELECT p.name AS pipeline, coalesce(d.source_table, d.change->>'table') AS "table", d.change, d.error, d.sqlstate,
           d."position", d.at
      FROM tapdata.dead_letter d
      JOIN tapdata.pipeline p ON p.id = d.pipeline
     WHERE pg_catalog.pg_has_role(p.owner, 'USAGE')
     ORDER BY d.id;
COMMENT ON VIEW tapdata.dead_letters IS 'changes that could not be stored, or were refused by the target, oldest first';
COMMENT ON COLUMN tapdata.dead_letters.pipeline IS 'pipeline';
COMMENT ON COLUMN tapdata.dead_letters."table" IS 'source table, or hub table that is published';
COMMENT ON COLUMN tapdata.dead_letters.change IS 'the change whole: op, table, old and new row; or what was sent';
COMMENT ON COLUMN tapdata.dead_letters.error IS 'why it could not be stored';
COMMENT ON COLUMN tapdata.dead_letters.sqlstate IS 'the code of that error';
COMMENT ON COLUMN tapdata.dead_letters."position" IS 'where in the source, or in WAL, it was';
COMMENT ON COLUMN tapdata.dead_letters.at IS 'when it came';

GRANT SELECT ON tapdata.connectors, tapdata.connections, tapdata.pipelines,
    tapdata.status, tapdata.tables, tapdata.events, tapdata.dead_letters TO PUBLIC;
