-- radmeter.sessions_complete_from(): the instant from which no session is gone: the end of the latest month whose
-- partition was dropped (or detached), whether or not it was made again since.
-- Returns -infinity if none ever was. Reads radmeter.session_month and the catalog.
CREATE OR REPLACE FUNCTION radmeter.sessions_complete_from() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(max((month + interval '1 month') AT TIME ZONE 'UTC'), '-infinity')
    FROM radmeter.session_month
    WHERE month AT TIME ZONE 'UTC' <= now()
      AND (made > 1 OR NOT EXISTS (
          SELECT FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
          WHERE inhparent = to_regclass('public.radacct')
            AND child.relname = 'radacct_' || to_char(month, 'YYYY_MM')));
$$;
