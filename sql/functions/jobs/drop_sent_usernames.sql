-- radmeter.drop_sent_usernames(rows): looks at the names of up to so many sessions that nobody has looked at for seven days
-- (radmeter.sent_username), and removes those of sessions that are not open. Until then a closed session may be reopened.
-- Returns how many it looked at. Called by the jobs. Writes radmeter.sent_username.
CREATE OR REPLACE FUNCTION radmeter.drop_sent_usernames(p_rows integer) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
    WITH old AS MATERIALIZED (
        SELECT known.radacctid,
               EXISTS (SELECT FROM public.radacct AS session
                       WHERE session.radacctid = known.radacctid AND session.acctstoptime IS NULL) AS is_open
        FROM radmeter.sent_username AS known WHERE known.noted_at < now() - interval '7 days'
        ORDER BY known.noted_at LIMIT p_rows FOR UPDATE OF known SKIP LOCKED
    ), kept AS (
        UPDATE radmeter.sent_username AS known SET noted_at = now()
        FROM old WHERE old.is_open AND known.radacctid = old.radacctid
    ), removed AS (
        DELETE FROM radmeter.sent_username AS known USING old WHERE NOT old.is_open AND known.radacctid = old.radacctid
    )
    SELECT count(*) FROM old;
$$;
