-- radmeter.sessions_complete_from(): the time from which on all sessions are still there. This is the end of the latest
-- month whose partition was dropped or detached, even if it was made again since; or the end of the latest partition
-- that was archived and not restored, if that is later.
-- Returns -infinity if no session was ever removed. Reads radmeter.session_month, radmeter.archived_partition and the
-- catalog.
CREATE OR REPLACE FUNCTION radmeter.sessions_complete_from() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
    WITH present AS MATERIALIZED (
        SELECT range_agg(tstzrange(from_at, to_at)) AS spans FROM radmeter.radacct_partitions() WHERE from_at IS NOT NULL
    )
    SELECT coalesce(max(gone_to), '-infinity') FROM (
        SELECT month::timestamptz + interval '1 month' AS gone_to
        FROM radmeter.session_month CROSS JOIN present
        WHERE month::timestamptz <= now()
          AND (made > 1 OR spans IS NULL OR NOT spans @> tstzrange(month::timestamptz,
                                                                   month::timestamptz + interval '1 month'))
        UNION ALL
        SELECT to_at FROM radmeter.archived_partition WHERE state IN ('detached', 'archived', 'loaded')
    ) AS gone;
$$;
