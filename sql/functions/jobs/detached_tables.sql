-- radmeter.detached_tables(): the tables that are no partition of radacct and have all its columns, such as a month that
-- somebody detached to attach it again, or one that is being restored or split off.
-- Returns their names with the schema. Reads the catalog.
CREATE OR REPLACE FUNCTION radmeter.detached_tables() RETURNS TABLE (name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'r' AND NOT relispartition AND relpersistence <> 't'
      AND NOT EXISTS (SELECT attname FROM pg_attribute
                      WHERE attrelid = 'public.radacct'::regclass AND attnum > 0 AND NOT attisdropped
                      EXCEPT
                      SELECT attname FROM pg_attribute
                      WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)
    ORDER BY 1;
$$;
