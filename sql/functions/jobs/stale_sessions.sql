-- radmeter.stale_sessions([at [, minutes]]): open sessions that at a given time had no packet for too long.
-- The arrival counts, not the router's clock. Returns radacctid, user, router and last update, ordered by radacctid.
-- Reads radacct, routers, radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.stale_sessions(p_at timestamptz DEFAULT now(), p_minutes integer DEFAULT NULL)
RETURNS TABLE (radacctid bigint, acctuniqueid text, username text, router_id bigint, last_update timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT session.radacctid, session.acctuniqueid, session.username, session.router_id,
           coalesce(session.acctupdatetime, session.acctstarttime)
    FROM public.radacct AS session
    LEFT JOIN public.routers AS router ON router.id = session.router_id
    CROSS JOIN (SELECT coalesce(p_minutes, radmeter.setting_value('stale_minutes')::integer) AS minutes) AS least
    WHERE session.acctstoptime IS NULL
      AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
          < p_at - radmeter.stale_after(session.interim_interval, router.interim_interval, least.minutes)
    ORDER BY session.radacctid;
$$;
