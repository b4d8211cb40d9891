-- radmeter.note_reaped(sessions, at): notes for the routers of some sessions that the jobs have closed stale sessions of
-- them: such a router did not end its sessions, and is silent. Called by radmeter.close_stale.
-- Writes radmeter.router_watch.
CREATE OR REPLACE FUNCTION radmeter.note_reaped(p_radacctids bigint[], p_at timestamptz) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE radmeter.router_watch AS watch SET reaped_at = p_at
    FROM (SELECT DISTINCT session.router_id FROM public.radacct AS session
          WHERE session.radacctid = ANY (p_radacctids) AND session.closed_by = 'reaper') AS reaped
    WHERE watch.router_id = reaped.router_id;
$$;
