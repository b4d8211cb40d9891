-- radmeter.authorize(username, nas_identifier, called_station, calling_station, nas_address, source_address): whether a user
-- may log in, and with which limits. FreeRADIUS's module sql asks it, see radius/policy.d/radmeter_quota.
--   username .. calling_station  the attributes of the packet in hexadecimal, since clients choose them; '': there is none
--   nas_address                  NAS-IPv6-Address, else NAS-IP-Address; ''
--   source_address               where the packet came from
-- Returns the rows of radmeter.judge_login, as authorize_reply_query wants them. If that is an error, the only row has
-- Tmp-String-9 = error, and the server's log has the reason: FreeRADIUS takes an error of the query itself for a database
-- that is away, for all users. So a deadlock, a lock that another transaction holds for more than 2 seconds, or a value
-- that cannot be read concern one login. Nor does a login keep rows locked: a transaction that is left open for 5 seconds
-- is ended, with its connection. A statement_timeout still ends the query: then the database is slow for all.
CREATE OR REPLACE FUNCTION radmeter.authorize(
    p_username text, p_nas_identifier text, p_called_station text, p_calling_station text,
    p_nas_address text, p_source_address text)
RETURNS TABLE (id integer, username text, attribute text, value text, op text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan SET lock_timeout = '2s'
AS $$
DECLARE
    v_context text;
BEGIN
    -- For the rest of the transaction. Each statement of FreeRADIUS is one of its own; another client that leaves it open
    -- would keep rows locked for which ingest waits, and with it everybody.
    PERFORM set_config('idle_in_transaction_session_timeout', '5s', true);
    -- All rows are collected before the first is returned: an error leaves none of them.
    RETURN QUERY SELECT answer.* FROM radmeter.judge_login(
        p_username, p_nas_identifier, p_called_station, p_calling_station, p_nas_address, p_source_address) AS answer;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS v_context = PG_EXCEPTION_CONTEXT;
    RAISE LOG 'radmeter.authorize: %', SQLERRM USING ERRCODE = SQLSTATE, DETAIL = v_context;
    RETURN QUERY SELECT 1, p_username, 'Tmp-String-9'::text, 'error'::text, ':='::text;
END;
$$;
