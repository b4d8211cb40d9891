-- radmeter.end_lease(name, holder): ends a lease at once, if the holder has it. Writes radmeter.lease.
CREATE OR REPLACE FUNCTION radmeter.end_lease(p_name text, p_holder uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE radmeter.lease SET expires_at = clock_timestamp() WHERE name = p_name AND holder = p_holder;
$$;
