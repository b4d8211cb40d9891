-- radmeter.discoveries_left(client): how many routers the packets of a RADIUS client can still discover this hour.
-- The hour begins with the client's first discovery. Returns NULL if there is no limit.
-- Reads radmeter.discovery_count, and the limit discoveries_per_client_hour.
CREATE OR REPLACE FUNCTION radmeter.discoveries_left(p_client text) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT greatest(0, most - coalesce((
        SELECT discovered FROM radmeter.discovery_count
        WHERE client = p_client AND began_at > now() - interval '1 hour'), 0))
    FROM radmeter.limit_value('discoveries_per_client_hour') AS most
    WHERE most IS NOT NULL;
$$;
