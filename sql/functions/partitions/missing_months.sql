-- radmeter.missing_months(ahead): the months, from this one to `ahead` months after it, that no partition of radacct covers.
-- Returns when each begins, the earliest first, and its name ('2026-03'). Months are UTC. Reads the catalog.
CREATE OR REPLACE FUNCTION radmeter.missing_months(p_ahead integer) RETURNS TABLE (month timestamptz, name text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
    SELECT at, to_char(at, 'YYYY-MM')
    FROM generate_series(date_trunc('month', now()), date_trunc('month', now()) + p_ahead * interval '1 month',
                         interval '1 month') AS at
    WHERE NOT EXISTS (SELECT FROM radmeter.radacct_partitions() WHERE from_at <= at AND at < to_at)
    ORDER BY at;
$$;
