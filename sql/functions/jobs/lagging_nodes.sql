-- radmeter.lagging_nodes(): the nodes whose shippers work through a backlog, and the arrival that each has reached.
-- A node lags if its latest batch was stored within the last 10 minutes, and if that batch's latest packet had arrived more
-- than a minute before. A shipper that sends nothing does not lag: it cannot be told from a site without packets.
-- Called by radmeter.reaper_time and radmeter doctor. Reads radmeter.journal_segment.
CREATE OR REPLACE FUNCTION radmeter.lagging_nodes() RETURNS TABLE (node text, received_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT latest.node, latest.last_received_at
    FROM (SELECT DISTINCT ON (segment.node) segment.node, segment.last_received_at, segment.updated_at
          FROM radmeter.journal_segment AS segment
          WHERE segment.last_received_at IS NOT NULL AND segment.updated_at > now() - interval '10 minutes'
          ORDER BY segment.node, segment.updated_at DESC) AS latest
    WHERE latest.last_received_at < latest.updated_at - interval '1 minute'
    ORDER BY latest.last_received_at, latest.node;
END;
$$;
