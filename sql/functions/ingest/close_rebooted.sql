-- radmeter.close_rebooted(segment): Accounting-On or -Off at the head of a segment of the batch closes that router's open
-- sessions: stop = last update, cause NAS-Reboot (RFC 2866 section 5.1, 5.10).
-- Only that router's, matched as any packet's router is, never everyone behind one address; and only what began and was
-- last heard of before the event, so that a late Accounting-On closes nothing that lives. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.close_rebooted(p_segment integer) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_segment = 0 THEN
        RETURN;
    END IF;
    PERFORM radmeter.ensure_partition(month) FROM (
        SELECT DISTINCT date_trunc('month', coalesce(session.acctupdatetime, session.acctstarttime), 'UTC') AS month
        FROM pg_temp.incoming AS event
        JOIN public.radacct AS session ON session.router_id = event.router_id AND session.acctstoptime IS NULL
        WHERE event.segment = p_segment AND event.round IS NULL) AS stops
    WHERE month IS NOT NULL;

    UPDATE public.radacct AS session SET
        acctstoptime = coalesce(session.acctupdatetime, session.acctstarttime),
        acctterminatecause = 'NAS-Reboot',
        closed_by = 'reboot'
    FROM pg_temp.incoming AS event
    WHERE event.segment = p_segment AND event.round IS NULL
      AND session.router_id = event.router_id AND session.acctstoptime IS NULL
      AND session.acctstarttime <= event.event_time
      AND coalesce(session.acctupdatetime, session.acctstarttime) <= event.event_time;
END;
$$;
