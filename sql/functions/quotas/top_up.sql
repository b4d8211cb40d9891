-- radmeter.top_up(username, bytes, last_day, valid_seconds, note): gives a user octets beyond the quota, in both
-- directions, from now on. If a period has just ended, what was used beyond it is not paid from them.
--   last_day       the last day on which they can be used, in the time zone of the user's plan
--   valid_seconds  how long they can be used from now on; both NULL: they do not expire
-- Takes the lock of radmeter.ingest. Two top-ups at once both count.
-- Returns top_ups.id and when they expire. Writes top_ups, audit_log, and what radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason: there is no such user, or they would expire at once.
CREATE OR REPLACE FUNCTION radmeter.top_up(
    p_username text, p_bytes bigint, p_last_day date, p_valid_seconds bigint, p_note text)
RETURNS TABLE (id bigint, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_zone text;
BEGIN
    PERFORM radmeter.lock_subscriber(p_username);
    SELECT coalesce(plan.timezone, radmeter.setting_value('timezone')) INTO v_zone
    FROM public.subscribers JOIN public.plans AS plan ON plan.id = plan_id WHERE username = p_username;
    IF p_valid_seconds > 3155760000 THEN
        RAISE EXCEPTION 'a top-up is valid for at most 100 years (36525d): leave it out if it does not expire'
            USING ERRCODE = 'RM001';
    END IF;
    expires_at := least(radmeter.day_begins(p_last_day + 1, v_zone),
                        clock_timestamp() + p_valid_seconds * interval '1 second');
    IF p_bytes IS NULL OR p_bytes <= 0 THEN
        RAISE EXCEPTION 'a top-up has 1 octet or more' USING ERRCODE = 'RM001';
    ELSIF expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'the top-up would have expired already: give a later day' USING ERRCODE = 'RM001';
    END IF;
    INSERT INTO public.top_ups (username, bytes, expires_at, added_by, note)
    VALUES (p_username, p_bytes, top_up.expires_at,
            coalesce(nullif(current_setting('radmeter.operator', true), ''), session_user), p_note)
    RETURNING top_ups.id INTO id;
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    PERFORM radmeter.audit('users top-up', jsonb_build_object('username', p_username, 'top_up', id, 'bytes', p_bytes,
        'expires_at', expires_at, 'note', p_note));
    RETURN NEXT;
END;
$$;
