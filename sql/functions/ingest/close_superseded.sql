-- radmeter.close_superseded(segment, round): a Start that the router stamped later than all that was heard of the open
-- session of the same id begins a new session: the router lost its state without a word (no Stop, no Accounting-On) and
-- gives its session ids out again. Closes the old one at its last update. A session without octets is left to be taken
-- for the same one: nothing is lost by it, and routers exist that stamp a Start anew each time they send it.
-- A Start whose event lies in a closed session of its id is that one's, come again: it is left out.
-- Writes radacct, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.close_superseded(p_segment integer, p_round integer) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    DELETE FROM pg_temp.incoming AS record
    USING public.radacct AS session
    WHERE record.segment = p_segment AND record.round = p_round AND record.status = 'Start'
      AND session.acctuniqueid = record.uid AND session.acctstoptime IS NULL
      AND record.event_time >= session.acctstarttime
      AND EXISTS (SELECT FROM public.radacct AS closed
                  WHERE closed.acctuniqueid = record.uid
                    AND closed.acctstoptime >= record.event_time AND closed.acctstarttime <= record.event_time);

    v_ids := ARRAY(
        SELECT session.radacctid
        FROM pg_temp.incoming AS record
        JOIN public.radacct AS session ON session.acctuniqueid = record.uid AND session.acctstoptime IS NULL
        WHERE record.segment = p_segment AND record.round = p_round AND record.status = 'Start' AND record.stamped
          AND record.event_time > session.acctupdatetime
          AND (session.acctinputoctets > 0 OR session.acctoutputoctets > 0));
    IF cardinality(v_ids) = 0 THEN
        RETURN;
    END IF;
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', acctupdatetime, 'UTC') AS month
              FROM public.radacct WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL) AS stops;
    UPDATE public.radacct SET
        acctstoptime = acctupdatetime,
        acctterminatecause = 'NAS-Reboot',
        closed_by = 'superseded'
    WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL;
END;
$$;
