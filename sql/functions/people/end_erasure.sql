-- radmeter.end_erasure(username): ends an erasure: forgets whose pseudonym it is, and notes in audit_log who did it, the
-- pseudonym and how many rows were changed in each table, not the name.
-- Returns the rows by table; NULL if another call has ended it. Writes radmeter.erasure, audit_log.
CREATE OR REPLACE FUNCTION radmeter.end_erasure(p_username text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ended radmeter.erasure%ROWTYPE;
BEGIN
    DELETE FROM radmeter.erasure WHERE username = p_username RETURNING * INTO v_ended;
    IF v_ended.username IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM radmeter.audit('people erase', jsonb_build_object(
        'pseudonym', v_ended.pseudonym, 'began_at', v_ended.began_at, 'rows', v_ended.counts));
    RETURN v_ended.counts;
END;
$$;
