-- radmeter.note_refused(reason): counts a login that was refused, for figures. Called by radmeter.judge_login.
-- A reason has eight rows, and one is taken that nobody has locked: logins never wait for each other. If all are locked,
-- this login is not counted. It is not flushed to disk, either: after a crash the last ones may be missing.
-- Writes radmeter.refused_logins.
CREATE OR REPLACE FUNCTION radmeter.note_refused(p_reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        RETURN;
    END IF;
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE radmeter.refused_logins SET logins = logins + 1
    WHERE (reason, slot) = (
        SELECT free.reason, free.slot FROM radmeter.refused_logins AS free
        WHERE free.reason = p_reason ORDER BY free.slot LIMIT 1 FOR UPDATE SKIP LOCKED);
END;
$$;
