-- radmeter.erasures([username]): erasures of people that have begun and not ended, the oldest first; of one user if given.
-- Neither names nor pseudonyms are returned, only when each began. Reads radmeter.erasure.
CREATE OR REPLACE FUNCTION radmeter.erasures(p_username text DEFAULT NULL) RETURNS TABLE (began_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT began_at FROM radmeter.erasure WHERE p_username IS NULL OR username = p_username ORDER BY began_at;
$$;
