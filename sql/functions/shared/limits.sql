-- radmeter.limits(): the limits of this installation, in the order of their names.
-- Returns for each limit its name, the value in force (NULL: off), the default, the unit and the meaning.
-- radmeter.set_limit changes a value. Reads radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.limits()
RETURNS TABLE (name text, value bigint, default_value bigint, unit text, meaning text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT known.name,
           CASE WHEN setting.name IS NULL THEN known.default_value
                WHEN setting.value <> 'off' THEN setting.value::bigint END,
           known.default_value, known.unit, known.meaning
    FROM (VALUES
        ('discoveries_per_client_hour', 1000::bigint, 'routers',
         'routers that packets of one RADIUS client can discover within an hour'),
        ('personal_keep_days', NULL, 'days',
         'how long closed sessions keep calling station id, framed addresses, connect info and class')
    ) AS known (name, default_value, unit, meaning)
    LEFT JOIN radmeter.setting ON setting.name = known.name
    ORDER BY known.name;
$$;
