-- radmeter.lock_subscriber(username): keeps ingest and other operators from changing a user's quota until the
-- transaction ends, and books to top-ups what was used so far, so that a period that has just ended is closed.
-- A login and other writers take no lock of ingest. So the user's row comes last, after the counters and the account, as
-- for them: docs/architecture.md, Quotas, Order of locks.
-- Takes the lock of radmeter.ingest. Called by the functions of `radmeter users`.
-- SQLSTATE RM001, with the reason: there is no such user.
CREATE OR REPLACE FUNCTION radmeter.lock_subscriber(p_username text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    PERFORM FROM public.subscribers WHERE username = p_username FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user "%" with a plan: "radmeter users list" lists them, "radmeter users add" gives '
            'a plan', p_username USING ERRCODE = 'RM001';
    END IF;
END;
$$;
