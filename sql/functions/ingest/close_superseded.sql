-- radmeter.close_superseded(segment, round): closes open sessions that a Start shows to be over.
-- A stamped Start that is later than all packets of the open session of its id begins a new session: the router has
-- lost its state without a Stop or Accounting-On, and uses its session ids again. The old session is closed at its last
-- update. A session without octets is not closed, and the Start counts as its own: nothing is lost by it, and some
-- routers stamp a Start anew each time they send it.
-- If the event of a Start lies in a closed session of its id, the Start is a retransmission of that session's and is
-- deleted from the batch. Writes radacct, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.close_superseded(p_segment integer, p_round integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    DELETE FROM pg_temp.incoming AS record
    USING public.radacct AS session
    WHERE record.segment = p_segment AND record.round = p_round AND record.status = 'Start'
      AND session.radacctid = (SELECT radacctid FROM radmeter.open_session(
          record.uid, record.session_id, record.calling_station_id, record.shown_mac, record.start_time))
      AND session.acctstoptime IS NULL AND record.event_time >= session.acctstarttime
      AND EXISTS (SELECT FROM radmeter.sessions_of(record.uid, record.session_id, record.calling_station_id,
                                                   record.shown_mac, record.event_time) AS closed
                  WHERE closed.acctstoptime >= record.event_time AND closed.acctstarttime <= record.event_time);

    v_ids := ARRAY(
        SELECT session.radacctid
        FROM pg_temp.incoming AS record
        CROSS JOIN LATERAL radmeter.open_session(
            uid, session_id, calling_station_id, shown_mac, start_time) AS found
        JOIN public.radacct AS session ON session.radacctid = found.radacctid AND session.acctstoptime IS NULL
        WHERE record.segment = p_segment AND record.round = p_round AND record.status = 'Start' AND record.stamped
          AND record.event_time > session.acctupdatetime
          AND (session.acctinputoctets > 0 OR session.acctoutputoctets > 0));
    IF cardinality(v_ids) = 0 THEN
        RETURN;
    END IF;
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', radmeter.last_possible_time(acctupdatetime, now()), 'UTC') AS month
              FROM public.radacct WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL) AS stops;
    UPDATE public.radacct SET
        acctstoptime = radmeter.last_possible_time(acctupdatetime, now()),
        acctterminatecause = 'NAS-Reboot',
        closed_by = 'superseded'
    WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL;
END;
$$;
