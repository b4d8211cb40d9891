-- radmeter.used_seconds(username, from, to): how long a user was online from one instant to another, all sessions
-- together. A session lasts from its start to its stop, or as long as it is open, to its latest packet.
-- Reads radacct by its index on the user name.
CREATE OR REPLACE FUNCTION radmeter.used_seconds(p_username text, p_from timestamptz, p_to timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(extract(epoch FROM least(ended_at, p_to) - greatest(acctstarttime, p_from)))::bigint, 0)
    FROM (SELECT acctstarttime, coalesce(acctstoptime, acctupdatetime) AS ended_at
          FROM public.radacct
          WHERE username = p_username AND (acctstoptime >= p_from OR acctstoptime IS NULL)
            AND acctstarttime < p_to) AS session
    WHERE ended_at > greatest(acctstarttime, p_from);
$$;
