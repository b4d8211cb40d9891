-- radmeter.login_ended(login): whether somebody has ended a login to the pages.
-- Called by `radmeter serve` for each login in use, every few seconds. Reads radmeter.ended_logins.
CREATE OR REPLACE FUNCTION radmeter.login_ended(p_login text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM radmeter.ended_logins WHERE login = p_login);
$$;
