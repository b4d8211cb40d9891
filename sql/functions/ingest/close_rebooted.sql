-- radmeter.close_rebooted(segment): closes the open sessions of the routers whose Accounting-On or -Off begins a segment
-- of the batch, one packet of each: stop = last update, cause NAS-Reboot (RFC 2866 section 5.1, 5.10).
-- The router is matched as for any packet, so sessions of other routers behind the same address stay open. Only
-- sessions that began and had their last update before the event are closed, so a late Accounting-On closes no live
-- session. A session that another writer moves meanwhile stays open, too. A session whose Stop waits
-- for its month keeps its cause. Writes radacct, radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.close_rebooted(p_segment integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids bigint[];
    v_heard timestamptz[];
    v_stops timestamptz[];
BEGIN
    IF p_segment = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(session.radacctid), array_agg(coalesce(session.acctupdatetime, session.acctstarttime)),
           array_agg(radmeter.last_possible_time(
               coalesce(session.acctupdatetime, session.acctstarttime), event.event_time))
    INTO v_ids, v_heard, v_stops
    FROM pg_temp.incoming AS event
    JOIN public.radacct AS session ON session.router_id = event.router_id AND session.acctstoptime IS NULL
    WHERE event.segment = p_segment AND event.round IS NULL
      AND session.acctstarttime <= event.event_time
      AND coalesce(session.acctupdatetime, session.acctstarttime) <= event.event_time;
    IF v_ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', stop, 'UTC') AS month FROM unnest(v_stops) AS stop) AS stops;

    UPDATE public.radacct AS session SET
        acctstoptime = found.stop,
        acctterminatecause = CASE WHEN closed_by = 'stop' THEN acctterminatecause ELSE 'NAS-Reboot' END,
        closed_by = CASE WHEN closed_by = 'stop' THEN 'stop' ELSE 'reboot' END
    FROM unnest(v_ids, v_heard, v_stops) AS found (radacctid, heard, stop)
    WHERE session.radacctid = found.radacctid AND session.acctstoptime IS NULL
      AND coalesce(session.acctupdatetime, session.acctstarttime) = found.heard;
    PERFORM radmeter.note_device_keys(v_ids);
END;
$$;
