-- radmeter.reaper_time(): the time at which sessions are judged to be stale: the arrival that the last of the lagging nodes
-- has reached, else now. Later interims of that node's sessions may be in its journal.
-- Called by radmeter.stale_sessions and radmeter.close_stale.
CREATE OR REPLACE FUNCTION radmeter.reaper_time() RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT min(received_at) FROM radmeter.lagging_nodes()), now());
END;
$$;
