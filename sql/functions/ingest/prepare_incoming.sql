-- radmeter.prepare_incoming(): makes sure that the temporary table for a batch is there, empty, and radmeter's own.
-- The caller of radmeter.ingest may have made a table of that name in its session before, with a trigger or a rule that
-- would run as the owner. So the table is used only if the owner of this function made it, with radmeter.create_incoming
-- as it is now: the table's comment names the version of that function. A table of an older version is made again,
-- and so is an old table (radmeter.drop_old_incoming).
-- SQLSTATE 55000 if somebody else made it: a new connection has none.
-- Called by radmeter.unpack_records only. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.prepare_incoming() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table regclass;
    v_version text := (SELECT 'radmeter.create_incoming ' || md5(prosrc) FROM pg_proc
                       WHERE oid = 'radmeter.create_incoming()'::regprocedure);
BEGIN
    PERFORM radmeter.drop_old_incoming();
    v_table := to_regclass('pg_temp.incoming');
    IF v_table IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM pg_class
                       WHERE oid = v_table AND pg_get_userbyid(relowner) = current_user
                         AND relkind = 'r' AND relpersistence = 't'
                         AND NOT (relhastriggers OR relhasrules OR relhassubclass OR relrowsecurity)) THEN
            RAISE EXCEPTION 'the temporary table incoming of this session is not radmeter''s own: connect again'
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'DISCARD TEMP drops it, too.';
        END IF;
        IF obj_description(v_table, 'pg_class') = v_version THEN
            -- It is not empty if there was a batch in this transaction before.
            IF EXISTS (SELECT FROM pg_temp.incoming) THEN
                DELETE FROM pg_temp.incoming;
            END IF;
            RETURN;
        END IF;
        DROP TABLE pg_temp.incoming;
    END IF;
    PERFORM radmeter.create_incoming();
    EXECUTE format('COMMENT ON TABLE pg_temp.incoming IS %L', v_version);
END;
$$;
