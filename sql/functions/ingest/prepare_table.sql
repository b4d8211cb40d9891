-- radmeter.prepare_table(name, is_filled): makes sure that a temporary table for a batch is there, and radmeter's own.
--   name       incoming or staged
--   is_filled  the caller has filled it: it is checked, and neither made nor emptied. Else it is empty afterwards
-- The caller of radmeter.ingest may have made a table of that name in its session before, with a trigger, a rule or row
-- security that would run as the owner. So the table is used only if the owner of this function made it, with
-- radmeter.create_<name> as it is now: the table's comment names the version of that function. A table of an older version
-- is made again, and so is an old table (radmeter.drop_old_incoming).
-- SQLSTATE 55000 if somebody else made it: a new connection has none. Or if it is filled and of another version: there was
-- an upgrade meanwhile, and the caller sends the batch again.
-- Called by radmeter.prepare_incoming, radmeter.stage and radmeter.unpack_records only. Writes pg_temp.incoming,
-- pg_temp.staged.
CREATE OR REPLACE FUNCTION radmeter.prepare_table(p_name text, p_is_filled boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table regclass := to_regclass('pg_temp.' || p_name);
    v_version text := (SELECT format('radmeter.create_%s %s', p_name, md5(prosrc)) FROM pg_proc
                       WHERE oid = format('radmeter.create_%s()', p_name)::regprocedure);
    v_filled boolean;
BEGIN
    IF v_table IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM pg_class
                       WHERE oid = v_table AND pg_get_userbyid(relowner) = current_user
                         AND relkind = 'r' AND relpersistence = 't'
                         AND NOT (relhastriggers OR relhasrules OR relhassubclass OR relrowsecurity)) THEN
            RAISE EXCEPTION 'the temporary table % of this session is not radmeter''s own: connect again', p_name
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'DISCARD TEMP drops it, too.';
        END IF;
        IF obj_description(v_table, 'pg_class') = v_version THEN
            IF NOT p_is_filled THEN
                -- It is not empty if there was a batch in this transaction before.
                EXECUTE format('SELECT EXISTS (SELECT FROM pg_temp.%I)', p_name) INTO v_filled;
                IF v_filled THEN
                    EXECUTE format('DELETE FROM pg_temp.%I', p_name);
                END IF;
            END IF;
            RETURN;
        END IF;
    END IF;
    IF p_is_filled THEN
        RAISE EXCEPTION 'the records of the batch are in no table of this release: connect again'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'radmeter.stage() makes the table.';
    END IF;
    IF v_table IS NOT NULL THEN
        EXECUTE format('DROP TABLE pg_temp.%I', p_name);
    END IF;
    IF p_name = 'incoming' THEN
        PERFORM radmeter.create_incoming();
    ELSE
        PERFORM radmeter.create_staged();
    END IF;
    EXECUTE format('COMMENT ON TABLE pg_temp.%I IS %L', p_name, v_version);
END;
$$;
