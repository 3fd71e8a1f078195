-- The change feed. A commit of any writer to a published table is a message. Statement triggers write its rows to
-- feed_changes under a row of feed_commits that the transaction makes; a deferred trigger of that row, the last thing before
-- the commit, takes the next offsets from feed_head. The row lock on feed_head is held until the commit is done, so offsets
-- are dense, follow the order of commits, and nobody can see offset n+1 before n.

CREATE TABLE feed_head (
    id                 smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    epoch              uuid NOT NULL DEFAULT gen_random_uuid(),   -- a restored database begins another one
    head               bigint NOT NULL DEFAULT 0,   -- the last offset
    kept_from          bigint NOT NULL DEFAULT 1,   -- the first offset that can still be read
    market_list_offset bigint NOT NULL DEFAULT 0    -- of the last commit that added or removed a market or changed one's state
);
INSERT INTO feed_head DEFAULT VALUES;

-- A transaction has one row here, unless its offsets were taken before its end (SET CONSTRAINTS ... IMMEDIATE): what it
-- changes after that gets another. The number of a transaction is no key: a restored database counts them anew.
CREATE TABLE feed_commits (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    row_count           integer NOT NULL,
    changes_market_list boolean NOT NULL DEFAULT false,   -- adds or removes a market or changes one's state
    base_offset         bigint,                           -- the offset before its first; NULL until the transaction ends
    committed_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX feed_commits_base ON feed_commits (base_offset);
CREATE INDEX feed_commits_age ON feed_commits (committed_at);

CREATE TABLE feed_changes (
    commit_id bigint NOT NULL,
    ordinal   integer NOT NULL,     -- in the commit, from 1
    topic     text NOT NULL CHECK (topic IN ('markets', 'trades', 'onchain_votes', 'votes', 'discussions')),
    op        text NOT NULL CHECK (op IN ('created', 'updated', 'deleted')),
    market_id text,
    old_row   jsonb,
    new_row   jsonb,
    PRIMARY KEY (commit_id, ordinal)
);

CREATE VIEW change_feed WITH (security_invoker = true) AS
SELECT c.base_offset + f.ordinal AS "offset", c.committed_at, f.topic, f.op, f.market_id, f.old_row, f.new_row
FROM feed_commits c JOIN feed_changes f ON f.commit_id = c.id WHERE c.base_offset IS NOT NULL;

-- Room for `added` rows in the transaction's commit, behind last_ordinal. The transaction's own setting says which commit
-- that is: it is gone with the transaction, or with the savepoint in which the commit's row was made. A commit that has its
-- offsets takes no more rows.
CREATE FUNCTION feed_reserve(added integer, OUT commit_id bigint, OUT last_ordinal integer) LANGUAGE plpgsql AS $$
DECLARE
    begun constant bigint := nullif(current_setting('zmart.feed_commit', true), '');
BEGIN
    IF begun IS NOT NULL THEN
        -- Not "IS NULL": no plan shall look through the index of base_offset, where every commit leaves a dead NULL.
        UPDATE feed_commits SET row_count = row_count + added WHERE id = begun AND coalesce(base_offset, -1) < 0
        RETURNING id, row_count - added INTO commit_id, last_ordinal;
    END IF;
    IF commit_id IS NULL THEN
        INSERT INTO feed_commits (row_count) VALUES (added) RETURNING id, 0 INTO commit_id, last_ordinal;
        PERFORM set_config('zmart.feed_commit', commit_id::text, true);
    END IF;
END $$;

CREATE FUNCTION feed_publish() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    added integer;
    place record;
    is_market_list_change boolean := false;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT count(*) INTO added FROM new_rows;
        IF added > 0 THEN
            place := feed_reserve(added);
            -- A vote's message has the count as it is now; it is taken here, so that every replay says the same.
            IF TG_TABLE_NAME IN ('votes', 'onchain_votes') THEN
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
            INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row)
            SELECT place.commit_id, place.last_ordinal + row_number() OVER (), TG_TABLE_NAME, 'deleted', r.market_id, to_jsonb(r)
            FROM old_rows r;
        END IF;
    ELSE
        -- An update that changes nothing is no message. The key columns come from the trigger's definition.
        EXECUTE format('SELECT count(*) FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n', TG_ARGV[0])
            INTO added;
        IF added > 0 THEN
            place := feed_reserve(added);
            EXECUTE format(
                'INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row, new_row) '
                'SELECT $1, $2 + row_number() OVER (), $3, ''updated'', n.market_id, to_jsonb(o), to_jsonb(n) '
                'FROM old_rows o JOIN new_rows n USING (%s) WHERE o IS DISTINCT FROM n', TG_ARGV[0])
                USING place.commit_id, place.last_ordinal, TG_TABLE_NAME;
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

CREATE FUNCTION feed_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    taken record;
    last_offset bigint;
BEGIN
    SELECT row_count, changes_market_list INTO taken FROM feed_commits WHERE id = NEW.id;
    UPDATE feed_head SET head = head + taken.row_count,
        market_list_offset = CASE WHEN taken.changes_market_list THEN head + taken.row_count ELSE market_list_offset END
        RETURNING head INTO last_offset;
    UPDATE feed_commits SET base_offset = last_offset - taken.row_count, committed_at = clock_timestamp() WHERE id = NEW.id;
    PERFORM pg_notify('zmart_feed', last_offset::text);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER feed_commit AFTER INSERT ON feed_commits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION feed_commit();

DO $$
DECLARE
    published record;
BEGIN
    FOR published IN SELECT * FROM (VALUES
        ('markets', 'market_id'), ('trades', 'signature, ordinal'), ('onchain_votes', 'market_id, kind, wallet'),
        ('votes', 'id'), ('discussions', 'id')) AS t (name, key)
    LOOP
        EXECUTE format('CREATE TRIGGER feed_created AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION feed_publish()', published.name);
        EXECUTE format('CREATE TRIGGER feed_updated AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION feed_publish(%L)', published.name, published.key);
        EXECUTE format('CREATE TRIGGER feed_deleted AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION feed_publish()', published.name);
    END LOOP;
END $$;

-- A text that becomes known after its market changes what readers see of the market: that is a message about it.
CREATE FUNCTION publish_document() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    document market_documents := coalesce(NEW, OLD);
    about jsonb;
BEGIN
    SELECT to_jsonb(m) INTO about FROM markets m
        WHERE m.market_id = document.market_id AND m.question_cid = document.cid;
    IF FOUND THEN
        INSERT INTO feed_changes (commit_id, ordinal, topic, op, market_id, old_row, new_row)
        SELECT f.commit_id, f.last_ordinal + 1, 'markets', 'updated', document.market_id, about, about FROM feed_reserve(1) AS f;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER feed_document AFTER INSERT OR UPDATE OR DELETE ON market_documents
    FOR EACH ROW EXECUTE FUNCTION publish_document();

-- TRUNCATE fires none of the triggers above: readers would go on showing what is gone, and counts would be wrong.
CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of % would reach no reader of the change feed', TG_TABLE_NAME
        USING HINT = 'Use DELETE: it announces every row.', ERRCODE = 'feature_not_supported';
END $$;

DO $$
DECLARE
    announced text;
BEGIN
    FOREACH announced IN ARRAY ARRAY['markets', 'trades', 'onchain_votes', 'votes', 'discussions', 'market_documents',
        'dispute_reviews', 'vote_rules', 'vote_judgements'] LOOP
        EXECUTE format('CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON %I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate()', announced);
    END LOOP;
END $$;
