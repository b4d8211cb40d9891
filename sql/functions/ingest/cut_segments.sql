-- radmeter.cut_segments(): cuts the records of routers that sent an Accounting-On or -Off into segments. A record's segment
-- is the number of those packets of its router that come before it in the batch. Such a packet begins a segment. All
-- other records are in segment 0.
-- Records of one component may touch several such routers: named by the records, or of a session that these may be of.
-- Those routers share their segments, and so do the routers that share with one of them.
-- Segments with equal numbers are applied together: radmeter.close_rebooted closes the sessions of one router only, and
-- no other router's record can open, close or move these.
-- Called by radmeter.number_rounds only. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.cut_segments() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE router AS MATERIALIZED (
        SELECT DISTINCT router_id FROM pg_temp.incoming WHERE round IS NULL
    ), touched AS MATERIALIZED (
        SELECT component, router_id FROM pg_temp.incoming JOIN router USING (router_id) WHERE round IS NOT NULL
        UNION
        SELECT component, id FROM pg_temp.incoming CROSS JOIN LATERAL unnest(touches) AS id JOIN router ON router.router_id = id
        UNION
        -- radmeter.drop_idle_reboots does not look at a single one.
        SELECT component, router_id FROM radmeter.batch_sessions() JOIN router USING (router_id)
        WHERE (SELECT count(*) FROM pg_temp.incoming WHERE round IS NULL) = 1
    ), pair AS MATERIALIZED (
        SELECT DISTINCT one.router_id, other.router_id AS other_id
        FROM touched AS one JOIN touched AS other USING (component)
        WHERE one.router_id <> other.router_id
    ), reached AS (
        SELECT router_id, router_id AS other_id FROM router
        UNION
        SELECT reached.router_id, pair.other_id FROM reached JOIN pair ON pair.router_id = reached.other_id
    ), cluster AS MATERIALIZED (
        SELECT router_id, min(other_id) AS cluster FROM reached GROUP BY router_id
    ), member AS (
        SELECT seq, true AS begins, cluster FROM pg_temp.incoming JOIN cluster USING (router_id) WHERE round IS NULL
        UNION ALL
        SELECT seq, false, cluster
        FROM pg_temp.incoming
        JOIN (SELECT DISTINCT component, cluster FROM touched JOIN cluster USING (router_id)) AS of_cluster
            USING (component)
        WHERE round IS NOT NULL
    ), numbered AS MATERIALIZED (
        SELECT seq, count(*) FILTER (WHERE begins) OVER (PARTITION BY cluster ORDER BY seq) AS segment FROM member
    )
    UPDATE pg_temp.incoming AS record SET segment = numbered.segment
    FROM numbered
    WHERE record.seq = numbered.seq AND numbered.segment > 0;
$$;
