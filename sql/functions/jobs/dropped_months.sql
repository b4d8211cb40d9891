-- radmeter.dropped_months(): the months whose partition is gone, and of whose sessions other tables may still have rows.
-- Returns the month and how often it was made. Reads radmeter.session_month, radmeter.swept_month and the catalog.
CREATE OR REPLACE FUNCTION radmeter.dropped_months() RETURNS TABLE (month date, made integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
    WITH present AS MATERIALIZED (
        SELECT range_agg(tstzrange(from_at, to_at)) AS spans FROM radmeter.radacct_partitions() WHERE from_at IS NOT NULL
    )
    SELECT known.month, known.made
    FROM radmeter.session_month AS known CROSS JOIN present
    WHERE known.month::timestamptz <= now()
      AND (spans IS NULL OR NOT spans @> tstzrange(known.month::timestamptz,
                                                   known.month::timestamptz + interval '1 month'))
      AND NOT EXISTS (SELECT FROM radmeter.swept_month AS swept
                      WHERE swept.month = known.month AND swept.made = known.made)
    ORDER BY known.month;
$$;
