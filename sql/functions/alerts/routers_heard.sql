-- radmeter.routers_heard(routers): what the open sessions of some routers say of when each was last heard.
--   open_sessions  how many there are
--   arrived_at     arrival of the latest packet of one of them; NULL: there are none
--   interim        seconds between interims: the longest that a packet announces (Acct-Interim-Interval), else the one
--                  observed for the router, else the median of the sessions'; NULL: unknown
-- Reads the open sessions by the index of their router. Called by the jobs each second, with the routers that are due.
CREATE OR REPLACE FUNCTION radmeter.routers_heard(p_routers bigint[])
RETURNS TABLE (router_id bigint, open_sessions bigint, arrived_at timestamptz, interim integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT router.id, heard.sessions, heard.arrived_at,
           coalesce(heard.announced, router.interim_interval, heard.observed)
    FROM unnest(p_routers) AS asked (id) JOIN public.routers AS router ON router.id = asked.id
    CROSS JOIN LATERAL (
        -- OFFSET 0: by the index, for each router, whatever the planner thinks of their number.
        SELECT count(*) AS sessions, max(session.arrived_at) AS arrived_at, max(session.interim_interval) AS announced,
               (percentile_disc(0.5) WITHIN GROUP (ORDER BY session.acctinterval)
                   FILTER (WHERE session.acctinterval BETWEEN 1 AND 86400))::integer AS observed
        FROM (SELECT each.arrived_at, each.interim_interval, each.acctinterval FROM public.radacct AS each
              WHERE each.router_id = asked.id AND each.acctstoptime IS NULL OFFSET 0) AS session) AS heard;
$$;
