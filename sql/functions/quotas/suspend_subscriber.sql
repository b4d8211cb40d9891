-- radmeter.suspend_subscriber(username, resume): lets a user in no more, and has the open sessions disconnected; with
-- resume, lets the user in again. Plan, usage and top-ups stay. Takes the lock of radmeter.ingest.
-- Returns whether anything changed. Writes subscribers, audit_log, and what radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason: there is no such user.
CREATE OR REPLACE FUNCTION radmeter.suspend_subscriber(p_username text, p_resume boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM radmeter.lock_subscriber(p_username);
    UPDATE public.subscribers SET suspended_at = CASE WHEN NOT p_resume THEN now() END
    WHERE username = p_username AND (suspended_at IS NULL) <> p_resume;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    PERFORM radmeter.audit(CASE WHEN p_resume THEN 'users resume' ELSE 'users suspend' END,
        radmeter.subscriber_values(p_username));
    RETURN true;
END;
$$;
