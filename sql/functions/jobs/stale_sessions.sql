-- radmeter.stale_sessions([at [, minutes]]): open sessions that at a given time had no packet for too long.
-- at NULL: radmeter.reaper_time.
-- The arrival counts, not the router's clock. Returns radacctid, user, router and last update, ordered by radacctid.
-- Reads radacct, routers, radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.stale_sessions(p_at timestamptz DEFAULT NULL, p_minutes integer DEFAULT NULL)
RETURNS TABLE (radacctid bigint, acctuniqueid text, username text, router_id bigint, last_update timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    -- Materialized: judged once, not for each session.
    WITH least AS MATERIALIZED (
        SELECT coalesce(p_minutes, radmeter.setting_value('stale_minutes')::integer) AS minutes,
               coalesce(p_at, radmeter.reaper_time()) AS at
    )
    SELECT session.radacctid, session.acctuniqueid, session.username, session.router_id,
           coalesce(session.acctupdatetime, session.acctstarttime)
    FROM public.radacct AS session
    LEFT JOIN public.routers AS router ON router.id = session.router_id
    CROSS JOIN least
    WHERE session.acctstoptime IS NULL
      -- Few sessions are older than the shortest time, and only those are judged.
      AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
          < least.at - least.minutes * interval '1 minute'
      AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
          < least.at - radmeter.stale_after(session.interim_interval, router.interim_interval, least.minutes)
    ORDER BY session.radacctid;
$$;
