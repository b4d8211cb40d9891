-- radmeter.used_seconds(username, from, to): how long a user was online from one instant to another, all sessions
-- together, and the sessions that are open.
--   seconds           a session lasts from its start to its stop. One that is online lasts until `to`, as far as packets
--                     have arrived. One that is silent for as long as the reaper waits lasts to its latest packet.
--   open_sessions     without a stop
--   running_sessions  of these, those that are online. None while a shipper works through a backlog: their stops may be
--                     in its journal
-- Reads radacct by its index on the user name, routers, radmeter.setting, and what radmeter.reaper_time reads.
CREATE OR REPLACE FUNCTION radmeter.used_seconds(
    p_username text, p_from timestamptz, p_to timestamptz,
    OUT seconds bigint, OUT open_sessions bigint, OUT running_sessions bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT coalesce(sum(extract(epoch FROM least(ended_at, p_to) - greatest(started_at, p_from)))
               FILTER (WHERE ended_at > greatest(started_at, p_from)), 0)::bigint,
           count(*) FILTER (WHERE is_open),
           count(*) FILTER (WHERE is_online AND reached_at >= least(p_to, now()))
    FROM (SELECT started_at, is_open, is_online, reached_at,
                 CASE WHEN is_online THEN greatest(latest_at, reached_at) ELSE latest_at END AS ended_at
          FROM (SELECT session.acctstarttime AS started_at, session.acctstoptime IS NULL AS is_open,
                       coalesce(session.acctstoptime, session.acctupdatetime) AS latest_at, reached.at AS reached_at,
                       session.acctstoptime IS NULL
                           AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime) >= reached.at
                               - radmeter.stale_after(session.interim_interval, router.interim_interval,
                                                      radmeter.setting_value('stale_minutes')::integer) AS is_online
                FROM (SELECT least(p_to, radmeter.reaper_time()) AS at OFFSET 0) AS reached
                CROSS JOIN public.radacct AS session
                LEFT JOIN public.routers AS router ON router.id = session.router_id
                WHERE session.username = p_username AND session.acctstarttime < p_to
                  AND (session.acctstoptime >= p_from OR session.acctstoptime IS NULL)) AS known) AS session
    INTO seconds, open_sessions, running_sessions;
END;
$$;
