-- radmeter.limits(): the limits of this installation, in the order of their names.
-- Returns for each limit its name, the value in force (NULL: off), the default, the unit and the meaning.
-- radmeter.set_limit changes a value. Reads radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.limits()
RETURNS TABLE (name text, value bigint, default_value bigint, unit text, meaning text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT known.name,
           CASE WHEN setting.name IS NULL THEN known.default_value
                WHEN setting.value <> 'off' THEN setting.value::bigint END,
           known.default_value, known.unit, known.meaning
    FROM (VALUES
        ('discoveries_per_client_hour', 10000::bigint, 'routers',
         'routers that packets of one RADIUS client can discover within an hour'),
        ('anomalies_per_router_hour', 100, 'rows',
         'anomalies of one router that are kept of an hour; the others are counted'),
        ('anomalies_keep_days', 400, 'days', 'anomalies that are older are removed'),
        ('anomalies_keep_bytes', 268435456, 'bytes', 'the oldest anomalies beyond this size are removed'),
        ('new_users_per_client_hour', 10000, 'users',
         'doctor warns if one RADIUS client brings more new user names within an hour; all are counted'),
        ('rejected_per_client_hour', 1000, 'packets',
         'rejected packets of one RADIUS client that are kept of an hour; the others are listed as left out'),
        ('rejected_bytes_per_client_hour', 4194304, 'bytes',
         'bytes of rejected packets of one RADIUS client that are kept of an hour'),
        ('rejected_keep_days', NULL, 'days', 'rejected packets that are older are removed, also those that nobody retried'),
        ('rejected_keep_bytes', 1073741824, 'bytes', 'the oldest rejected packets beyond this size are removed'),
        ('arrival_oldest_days', 400, 'days',
         'an older arrival in a journal is not believed: the server''s clock was wrong'),
        ('plausible_mbit_per_second', 100, 'Mbit/s',
         'a user uses no more in a direction: what looks faster is no wrap of a 32-bit counter; '
         'off: every fall of one below 2^32 is a wrap'),
        ('segment_keep_days', 800, 'days',
         'what is known of segments counted earlier is removed (100 days at least): a copy of one would be counted again'),
        ('webhook_keep_days', 30, 'days',
         'deliveries of webhooks that ended earlier are removed, also dead ones that nobody retried'),
        ('alerts_keep_days', 400, 'days', 'alerts that were resolved earlier are removed'),
        ('quota_history_keep_days', 400, 'days', 'requests to routers and quota notices that are older are removed'),
        ('personal_keep_days', NULL, 'days',
         'how long closed sessions keep calling station id, framed addresses, connect info and class')
    ) AS known (name, default_value, unit, meaning)
    LEFT JOIN radmeter.setting ON setting.name = known.name
    ORDER BY known.name;
$$;
