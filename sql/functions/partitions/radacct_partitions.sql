-- radmeter.radacct_partitions(): the partitions of radacct with their bounds, from the catalog, under any name. The
-- partition that adoption attached begins at -infinity.
-- Returns from_at (included) and to_at (not included); both NULL for the default partition. Reads the catalog.
-- pg_get_expr prints the bounds in the session's DateStyle and TimeZone, so both are set here.
CREATE OR REPLACE FUNCTION radmeter.radacct_partitions()
RETURNS TABLE (name text, from_at timestamptz, to_at timestamptz, relid oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
    SELECT relname::text,
           CASE bounds[1] WHEN 'MINVALUE' THEN '-infinity' ELSE trim(bounds[1], '''') END::timestamptz,
           CASE bounds[2] WHEN 'MAXVALUE' THEN 'infinity' ELSE trim(bounds[2], '''') END::timestamptz,
           pg_class.oid
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    LEFT JOIN LATERAL regexp_match(pg_get_expr(relpartbound, pg_class.oid), 'FROM \((.*)\) TO \((.*)\)') AS bounds
        ON true
    WHERE inhparent = to_regclass('public.radacct') AND relispartition
    ORDER BY 2 NULLS LAST;
$$;
