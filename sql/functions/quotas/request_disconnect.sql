-- radmeter.request_disconnect(username, radacctid, reason): asks for the open sessions of a user, or one session, to be
-- disconnected. Give the name, the session or both: NULL stands for any, and not both may be NULL.
--   reason  what radmeter.disconnect_queue and audit_log keep
-- A session that is to be disconnected already gets no second request.
-- Returns how many requests it made. Writes radmeter.disconnect_queue, audit_log. Notifies the channel radmeter_quota.
-- SQLSTATE RM001, with the reason: there is no such open session.
CREATE OR REPLACE FUNCTION radmeter.request_disconnect(p_username text, p_radacctid bigint, p_reason text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_sessions bigint[];
    v_made bigint[];
BEGIN
    v_sessions := ARRAY(SELECT radacctid FROM public.radacct
                        WHERE acctstoptime IS NULL AND username IS NOT NULL
                          AND coalesce(username = p_username, radacctid = p_radacctid, false)
                          AND coalesce(radacctid = p_radacctid, true)
                        ORDER BY radacctid);
    IF v_sessions = '{}' THEN
        IF p_radacctid IS NULL THEN
            RAISE EXCEPTION 'user "%" has no open session', p_username USING ERRCODE = 'RM001';
        END IF;
        RAISE EXCEPTION 'there is no open session #% with a user name', p_radacctid USING ERRCODE = 'RM001';
    END IF;
    WITH made AS (
        INSERT INTO radmeter.disconnect_queue AS request (radacctid, username, act, reason, requested_by)
        SELECT radacctid, username, 'disconnect', p_reason,
               coalesce(nullif(current_setting('radmeter.operator', true), ''), session_user)
        FROM public.radacct WHERE radacctid = ANY (v_sessions) AND acctstoptime IS NULL
        ORDER BY radacctid
        ON CONFLICT (radacctid, act) WHERE ended_at IS NULL DO NOTHING
        RETURNING radacctid
    )
    SELECT coalesce(array_agg(radacctid ORDER BY radacctid), '{}') INTO v_made FROM made;
    PERFORM radmeter.audit('disconnect', jsonb_build_object(
        'username', p_username, 'sessions', to_jsonb(v_sessions), 'requested', to_jsonb(v_made), 'reason', p_reason));
    PERFORM pg_notify('radmeter_quota', '');
    RETURN cardinality(v_made);
END;
$$;
