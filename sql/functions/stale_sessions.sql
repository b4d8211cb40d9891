-- radmeter.stale_sessions([at]): open sessions that were not heard of for too long at an instant.
-- Too long: three interim intervals of the session where the router sends Acct-Interim-Interval (RFC 2869 section 5.16),
-- and not less than the setting stale_minutes. Judged by arrival, not by the router's clock.
-- Returns radacctid, its last update and its user and router. Reads radacct, radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.stale_sessions(p_at timestamptz DEFAULT now())
RETURNS TABLE (radacctid bigint, acctuniqueid text, username text, router_id bigint, last_update timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT session.radacctid, session.acctuniqueid, session.username, session.router_id,
           coalesce(session.acctupdatetime, session.acctstarttime)
    FROM public.radacct AS session
    WHERE session.acctstoptime IS NULL
      AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime)
          < p_at - greatest(radmeter.setting_value('stale_minutes')::numeric * interval '1 minute',
                            3 * coalesce(session.interim_interval, 0) * interval '1 second')
    ORDER BY session.radacctid;
$$;
