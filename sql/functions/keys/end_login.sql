-- radmeter.end_login(login, until): ends a login to the pages. Its cookie, which holds until then, holds no more.
-- Called by `radmeter serve`. Writes radmeter.ended_logins. Those that would have ended by now are removed.
CREATE OR REPLACE FUNCTION radmeter.end_login(p_login text, p_until timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM radmeter.ended_logins WHERE until_at < now() - interval '1 day';
    INSERT INTO radmeter.ended_logins (login, until_at) VALUES (p_login, p_until) ON CONFLICT DO NOTHING;
$$;
