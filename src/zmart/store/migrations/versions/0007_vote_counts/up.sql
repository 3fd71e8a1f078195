-- The message of a vote that changes or is taken back has the count, too, as that of a new one always had.
CREATE OR REPLACE FUNCTION feed_publish() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    added integer;
    place record;
    is_market_list_change boolean := false;
    counts_votes constant boolean := TG_TABLE_NAME IN ('votes', 'onchain_votes');
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT count(*) INTO added FROM new_rows;
        IF added > 0 THEN
            place := feed_reserve(added);
            -- A vote's message has the count as it is now; it is taken here, so that every replay says the same.
            IF counts_votes THEN
                WITH tallies_now AS MATERIALIZED (   -- counted once for each vote, not for each row
                    SELECT d.market_id, d.kind, vote_tally(d.market_id, d.kind) AS tally
                    FROM (SELECT DISTINCT market_id, kind FROM new_rows) AS d)
                INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, new_row)
                SELECT place.commit_id, place.last_ordinal + row_number() OVER (), TG_TABLE_NAME, 'created', r.market_id,
                       to_jsonb(r) || jsonb_build_object('tally', t.tally)
                FROM new_rows r JOIN tallies_now t USING (market_id, kind);
            ELSE
                INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, new_row)
                SELECT place.commit_id, place.last_ordinal + row_number() OVER (), TG_TABLE_NAME, 'created', r.market_id, to_jsonb(r)
                FROM new_rows r;
            END IF;
        END IF;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT count(*) INTO added FROM old_rows;
        IF added > 0 THEN
            place := feed_reserve(added);
            IF counts_votes THEN
                WITH tallies_now AS MATERIALIZED (
                    SELECT d.market_id, d.kind, vote_tally(d.market_id, d.kind) AS tally
                    FROM (SELECT DISTINCT market_id, kind FROM old_rows) AS d)
                INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row)
                SELECT place.commit_id, place.last_ordinal + row_number() OVER (), TG_TABLE_NAME, 'deleted', r.market_id,
                       to_jsonb(r) || jsonb_build_object('tally', t.tally)
                FROM old_rows r JOIN tallies_now t USING (market_id, kind);
            ELSE
                INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row)
                SELECT place.commit_id, place.last_ordinal + row_number() OVER (), TG_TABLE_NAME, 'deleted', r.market_id, to_jsonb(r)
                FROM old_rows r;
            END IF;
        END IF;
    ELSE
        -- An update that changes nothing is no message. The key columns come from the trigger's definition.
        EXECUTE format('SELECT count(*) FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n', TG_ARGV[0])
            INTO added;
        IF added > 0 THEN
            place := feed_reserve(added);
            IF counts_votes THEN
                EXECUTE format(
                    'WITH changed AS MATERIALIZED ('
                    '    SELECT n.market_id, n.kind, to_jsonb(o) AS old_row, to_jsonb(n) AS new_row '
                    '    FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n), '
                    'tallies_now AS MATERIALIZED ('
                    '    SELECT d.market_id, d.kind, vote_tally(d.market_id, d.kind) AS tally '
                    '    FROM (SELECT DISTINCT market_id, kind FROM changed) AS d) '
                    'INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row, new_row) '
                    'SELECT $1, $2 + row_number() OVER (), $3, ''updated'', c.market_id, c.old_row, '
                    '       c.new_row || jsonb_build_object(''tally'', t.tally) '
                    'FROM changed c JOIN tallies_now t USING (market_id, kind)', TG_ARGV[0])
                    USING place.commit_id, place.last_ordinal, TG_TABLE_NAME;
            ELSE
                EXECUTE format(
                    'INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row, new_row) '
                    'SELECT $1, $2 + row_number() OVER (), $3, ''updated'', n.market_id, to_jsonb(o), to_jsonb(n) '
                    'FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n', TG_ARGV[0])
                    USING place.commit_id, place.last_ordinal, TG_TABLE_NAME;
            END IF;
        END IF;
    END IF;
    IF added > 0 AND TG_TABLE_NAME = 'markets' THEN
        IF TG_OP = 'UPDATE' THEN
            SELECT EXISTS (SELECT FROM old_rows o JOIN new_rows n USING (market_id) WHERE o.state <> n.state)
                INTO is_market_list_change;
        ELSE
            is_market_list_change := true;
        END IF;
        IF is_market_list_change THEN
            UPDATE feed_commits SET changes_market_list = true WHERE id = place.commit_id AND NOT changes_market_list;
        END IF;
    END IF;
    RETURN NULL;
END $$;
