-- radmeter.stale_after(session_interval, router_interval, minutes): how long a session may be silent.
-- Three missed interims: of the interval the router announced for the session (Acct-Interim-Interval, RFC 2869 section
-- 5.16), else of the one observed at the router; and not less than `minutes`, by default the setting stale_minutes.
CREATE OR REPLACE FUNCTION radmeter.stale_after(
    p_session_interval integer, p_router_interval integer, p_minutes integer) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(p_minutes * interval '1 minute',
                3 * coalesce(p_session_interval, p_router_interval, 0) * interval '1 second');

-- radmeter.stale_sessions([at [, minutes]]): open sessions that were silent for too long at an instant.
-- Judged by arrival, not by the router's clock. Returns radacctid, user, router and last update, in the order of their
-- ids. Reads radacct, routers, radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.stale_sessions(p_at timestamptz DEFAULT now(), p_minutes integer DEFAULT NULL)
RETURNS TABLE (radacctid bigint, acctuniqueid text, username text, router_id bigint, last_update timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
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
