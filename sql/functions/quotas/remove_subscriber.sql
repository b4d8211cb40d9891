-- radmeter.remove_subscriber(username): takes all plans, top-ups and the password in radcheck from a user. What the user
-- used, and what top-ups have paid of it, stays: it counts again if the user is added again. Sessions that are open go on;
-- CoA-Requests to them that wait are given up, Disconnect-Requests are sent. A top-up with a price stays, but
-- expires now: it is billed later, and again if its document becomes void.
-- Takes the lock of radmeter.ingest.
-- Returns how many top-ups had something left, how many sessions are open, and why a password in radcheck was left there;
-- NULL: none was. Writes subscribers, subscriber_plans, top_ups, radcheck, radmeter.disconnect_queue, audit_log, and what
-- radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason: there is no such user.
CREATE OR REPLACE FUNCTION radmeter.remove_subscriber(p_username text)
RETURNS TABLE (unused_top_ups bigint, open_sessions bigint, radcheck_fault text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before jsonb;
    v_passwords bigint := 0;
BEGIN
    PERFORM radmeter.lock_subscriber(p_username);
    SELECT radmeter.subscriber_values(p_username) || jsonb_build_object(
               'first_used_at', first_used_at,
               'top_ups', (SELECT coalesce(jsonb_agg(to_jsonb(top_up) - 'username' ORDER BY top_up.id), '[]')
                           FROM public.top_ups AS top_up WHERE top_up.username = p_username))
    INTO v_before FROM public.subscribers WHERE username = p_username;
    SELECT count(*) INTO unused_top_ups FROM public.top_ups AS top_up
    WHERE top_up.username = p_username AND top_up.used_bytes < top_up.bytes
      AND (top_up.expires_at IS NULL OR top_up.expires_at > clock_timestamp());
    DELETE FROM public.top_ups AS top_up WHERE top_up.username = p_username AND coalesce(top_up.price, 0) = 0;
    UPDATE public.top_ups SET expires_at = least(expires_at, clock_timestamp()) WHERE username = p_username;
    DELETE FROM public.subscribers WHERE username = p_username;
    UPDATE radmeter.disconnect_queue AS request SET
        state = 'dropped', ended_at = now(), error = 'the user was removed', claimed_by = NULL, claimed_until = NULL
    WHERE request.username = p_username AND request.ended_at IS NULL AND request.act = 'coa';
    SELECT fault.reason INTO radcheck_fault FROM radmeter.radcheck_fault() AS fault LIMIT 1;
    IF radcheck_fault IS NULL THEN
        DELETE FROM public.radcheck WHERE username = p_username;
        GET DIAGNOSTICS v_passwords = ROW_COUNT;
    END IF;
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    SELECT count(*) INTO open_sessions FROM public.radacct AS session
    WHERE session.username = p_username AND session.acctstoptime IS NULL;
    PERFORM radmeter.audit('users remove', v_before || jsonb_build_object('passwords', v_passwords));
    RETURN NEXT;
END;
$$;
