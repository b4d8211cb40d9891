-- radmeter.drop_idle_reboots(): takes each Accounting-On and -Off that closes nothing out of the batch, so that it costs
-- no scan of its router's open sessions and cuts no segment. A router that sends 2000 of them costs one scan a batch.
-- A session's time is its last update, which only packets move, and only to a later time. Such a packet opens the
-- session, opens it again, gives it a router or moves the time, and the time is then the packet's event or what it was.
-- Take a session that an Accounting-On closes, and the last packet before that changed any of this, or the begin of the
-- batch. Since then the session was open, of that router, and its time was the same. So an earlier Accounting-On since
-- then, at or after that time, would have closed it: the one that closes it is the first. Only those that are the first
-- for some session or some packet are kept. The others change nothing, so the result without them is the same.
-- What counts for a packet: each router that a packet of its component names in the batch, or that a session has which
-- such a packet may be of (radmeter.batch_sessions).
-- A session that began after its last update, or at an unknown time, is another program's: then all are kept.
-- One Accounting-On alone is kept: radmeter.close_rebooted scans once, too.
-- The routers of such sessions are noted for radmeter.cut_segments (incoming.touches), which would look them up again.
-- Called by radmeter.apply_batch only. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.drop_idle_reboots() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (SELECT count(*) < 2 FROM pg_temp.incoming WHERE round IS NULL) THEN
        RETURN;
    END IF;
    WITH reboot AS MATERIALIZED (
        SELECT seq, router_id, event_time,
               max(event_time) OVER (PARTITION BY router_id ORDER BY seq
                                     ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest_before
        FROM pg_temp.incoming WHERE round IS NULL
    ), router AS MATERIALIZED (
        -- Those that are later than all before them: only they can be the first after a time since the batch's begin.
        SELECT router_id, max(event_time) AS latest,
               array_agg(event_time ORDER BY event_time) AS times, array_agg(seq ORDER BY event_time) AS seqs
        FROM reboot WHERE latest_before IS NULL OR event_time > latest_before GROUP BY router_id
    ), passed AS (
        -- OFFSET 0, here and below: index lookups, whatever the planner thinks of a temporary table without statistics.
        SELECT DISTINCT router_id, seqs, session.earlier
        FROM router CROSS JOIN LATERAL (
            SELECT CASE WHEN acctstarttime <= acctupdatetime AND radmeter.is_possible_time(acctupdatetime)
                        THEN width_bucket(acctupdatetime - interval '1 microsecond', router.times) END AS earlier
            FROM public.radacct
            WHERE radacct.router_id = router.router_id AND acctstoptime IS NULL
              AND (acctstarttime <= acctupdatetime AND acctupdatetime > router.latest) IS NOT TRUE
            OFFSET 0) AS session
    ), record AS MATERIALIZED (
        SELECT seq, component, router_id, event_time FROM pg_temp.incoming
        WHERE round IS NOT NULL AND seq < (SELECT max(seq) FROM reboot)
    ), stored AS MATERIALIZED (
        SELECT component, router_id, is_open, last_update AS at, is_own
        FROM radmeter.batch_sessions()
    ), noted AS (
        UPDATE pg_temp.incoming AS record SET touches = at_router.ids
        FROM (SELECT component, array_agg(DISTINCT router_id) AS ids FROM stored JOIN router USING (router_id)
              GROUP BY component) AS at_router
        WHERE record.component = at_router.component AND record.round IS NOT NULL
    ), named AS MATERIALIZED (
        SELECT component, router_id, latest
        FROM (SELECT component, router_id FROM record UNION SELECT component, router_id FROM stored) AS id
        JOIN router USING (router_id)
    ), moved AS (
        SELECT seq, named.router_id, event_time AS at, latest FROM record JOIN named USING (component)
        UNION ALL
        SELECT seq, named.router_id, CASE WHEN is_own THEN greatest(event_time, at) END, latest
        FROM record JOIN named USING (component) JOIN stored USING (component) WHERE is_open
    ), needed AS MATERIALIZED (
        SELECT seqs[earlier + 1] AS seq FROM passed WHERE earlier IS NOT NULL
        UNION
        SELECT first.seq FROM moved CROSS JOIN LATERAL (
            SELECT reboot.seq FROM reboot
            WHERE reboot.router_id = moved.router_id AND reboot.seq > moved.seq AND reboot.event_time >= moved.at
            ORDER BY reboot.seq LIMIT 1) AS first
        WHERE moved.at <= latest
        UNION
        SELECT reboot.seq FROM reboot WHERE router_id IN (
            SELECT router_id FROM passed WHERE earlier IS NULL UNION SELECT router_id FROM moved WHERE at IS NULL)
    )
    DELETE FROM pg_temp.incoming WHERE round IS NULL AND seq NOT IN (SELECT seq FROM needed);
END;
$$;
