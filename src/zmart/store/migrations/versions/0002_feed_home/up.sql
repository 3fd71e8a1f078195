-- Offsets that clients have seen may be missing in a restored database, or belong to other changes there: it must begin
-- another epoch. So that nobody has to think of it, the feed's head says in which server, on which timeline of it, and in
-- which table the epoch began. A restore makes the table anew or brings it to another server; recovery from a backup and a
-- fail-over begin another timeline. A copy within one server (CREATE DATABASE ... TEMPLATE) keeps all three.

CREATE FUNCTION feed_home() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    server text := '';
BEGIN
    BEGIN
        SELECT system_identifier::text INTO server FROM pg_control_system();
    EXCEPTION WHEN insufficient_privilege THEN   -- hosted: the table alone must tell
    END;
    RETURN format('%s/%s/%s', server, left(pg_walfile_name(pg_current_wal_lsn()), 8), 'feed_head'::regclass::oid);
END $$;

ALTER TABLE feed_head ADD COLUMN home text;
UPDATE feed_head SET home = feed_home();
ALTER TABLE feed_head ALTER COLUMN home SET NOT NULL;
