-- radmeter.open_sessions(username): how many open sessions a user has.
CREATE OR REPLACE FUNCTION radmeter.open_sessions(p_username text) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FROM public.radacct WHERE username = p_username AND acctstoptime IS NULL;
$$;
