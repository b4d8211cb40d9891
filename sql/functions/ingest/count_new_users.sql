-- radmeter.count_new_users(seqs): counts the user names in records of the batch that were never counted before, by RADIUS
-- client and hour of arrival. Nothing is limited by it: a user need not be registered, and usage is never dropped. A
-- client that makes up names shows in `radmeter doctor`. A user all of whose sessions ended without an octet counts again
-- with the next one: to know it, all partitions of radacct would be searched.
-- Called by radmeter.apply_round only, before the records' sessions are inserted. Reads pg_temp.incoming,
-- user_quota_usage, radacct. Writes radmeter.kept_per_hour.
CREATE OR REPLACE FUNCTION radmeter.count_new_users(p_seqs bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO radmeter.kept_per_hour AS hourly (kind, source, hour, client, kept, kept_bytes, left_out)
    WITH counted AS MATERIALIZED (
        SELECT date_trunc('hour', received_at, 'UTC') AS hour, coalesce(host(radmeter.plain_address(client_ip)), 'unknown') AS sender,
               count(DISTINCT username) AS users
        FROM pg_temp.incoming AS record
        WHERE seq = ANY (p_seqs) AND username IS NOT NULL
          -- LIMIT: one lookup in the index for each record. Else the planner, which knows nothing about the batch, might
          -- read all of user_quota_usage.
          AND (SELECT true FROM public.user_quota_usage AS known
               WHERE known.username = record.username LIMIT 1) IS NULL
          -- Before the first octet a user has no row there, but perhaps an open session.
          AND (SELECT true FROM public.radacct AS known
               WHERE known.username = record.username AND known.acctstoptime IS NULL LIMIT 1) IS NULL
        GROUP BY 1, 2
    )
    SELECT 'new user', '', hours.hour, named.client, sum(users), 0, 0
    FROM (SELECT hour, array_agg(sender) AS senders FROM counted GROUP BY hour) AS hours
    CROSS JOIN LATERAL radmeter.kept_as('new user', '', hours.hour, senders) AS named
    JOIN counted ON counted.hour = hours.hour AND counted.sender = named.sender
    GROUP BY hours.hour, named.client ORDER BY hours.hour, named.client
    ON CONFLICT (kind, source, hour, client) DO UPDATE SET
        kept = hourly.kept + excluded.kept, updated_at = excluded.updated_at;
$$;
