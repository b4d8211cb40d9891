-- radmeter.count_erased(username, table, rows): notes how many rows of a table an erasure has changed.
-- Called by the functions of an erasure only. Writes radmeter.erasure.
CREATE OR REPLACE FUNCTION radmeter.count_erased(p_username text, p_table text, p_rows bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE radmeter.erasure SET
        counts = counts || jsonb_build_object(p_table, coalesce((counts ->> p_table)::bigint, 0) + p_rows)
    WHERE username = p_username AND p_rows > 0;
$$;
