-- radmeter.update_closed(seqs): applies records of the batch to the closed sessions that they still belong to.
-- A record belongs to a session of its id that stopped at or after the record's session began; of several, to the one that
-- began last at or before it, else to the earliest.
--   After a real Stop: a late interim or a second Stop counts what exceeds, and reopens nothing.
--   A late Start moves the start earlier if it is, and nothing else.
--   After the reaper, or Accounting-On/Off: a later interim or Stop shows that the session lived. It is opened again and
--   its record left for radmeter.update_open, unless another session of that id is open by now.
-- Returns the seqs that are left: those of reopened sessions and those that belong to none. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.update_closed(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    v_seqs bigint[];      -- the records that belong to a closed session,
    v_ids bigint[];       -- the radacctid of each,
    v_stops timestamptz[];-- and its stop, which names the partition,
    v_reopen boolean[];   -- and whether it is to be opened again
    v_from timestamptz;
BEGIN
    -- Partitions before any of the records can belong to are never looked at.
    v_from := (SELECT greatest(min(least(belongs_from, event_time - interval '7 days')),
                               min(event_time) - interval '400 days')
               FROM pg_temp.incoming WHERE seq = ANY (p_seqs));

    SELECT array_agg(record.seq), array_agg(session.radacctid), array_agg(session.acctstoptime),
           array_agg(record.status <> 'Start' AND coalesce(session.closed_by, '') IN ('reaper', 'reboot')
               AND radmeter.is_newer(session.acctupdatetime, session.acctsessiontime,
                                     record.event_time, record.session_time, record.stamped)
               AND NOT EXISTS (SELECT FROM public.radacct AS open
                               WHERE open.acctuniqueid = record.uid AND open.acctstoptime IS NULL))
    INTO v_seqs, v_ids, v_stops, v_reopen
    FROM pg_temp.incoming AS record
    CROSS JOIN LATERAL (
        SELECT * FROM public.radacct AS closed
        WHERE closed.acctuniqueid = record.uid AND closed.acctstoptime >= v_from
          AND (closed.acctstoptime >= record.belongs_from
               -- Without a session time nothing shows when the session began; the reaper only guessed that it ended.
               OR closed.closed_by = 'reaper' AND record.session_time IS NULL AND record.status <> 'Start'
                  AND closed.acctstoptime >= record.event_time - interval '7 days')
        ORDER BY closed.acctstarttime <= record.start_time DESC,
                 CASE WHEN closed.acctstarttime <= record.start_time THEN closed.acctstarttime END DESC,
                 closed.acctstarttime
        LIMIT 1) AS session
    WHERE record.seq = ANY (p_seqs);

    IF v_seqs IS NULL THEN
        RETURN p_seqs;
    END IF;

    IF true = ANY (v_reopen) THEN
        UPDATE public.radacct AS session SET acctstoptime = NULL, acctterminatecause = NULL, closed_by = NULL
        FROM unnest(v_ids, v_stops, v_reopen) AS found (radacctid, acctstoptime, reopen)
        WHERE found.reopen AND session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime;
    END IF;

    UPDATE public.radacct AS session SET acctstarttime = record.event_time
    FROM unnest(v_seqs, v_ids, v_stops) AS found (seq, radacctid, acctstoptime)
    JOIN pg_temp.incoming AS record USING (seq)
    WHERE record.status = 'Start' AND record.event_time < session.acctstarttime
      AND session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime;

    UPDATE public.radacct AS session SET
        acctinputoctets = radmeter.counted_octets(session.acctinputoctets, session.input_offset,
            record.input_octets, false, record.gigawords),
        acctoutputoctets = radmeter.counted_octets(session.acctoutputoctets, session.output_offset,
            record.output_octets, false, record.gigawords),
        input_offset = radmeter.counted_offset(session.acctinputoctets, session.input_offset,
            record.input_octets, false, record.gigawords),
        output_offset = radmeter.counted_offset(session.acctoutputoctets, session.output_offset,
            record.output_octets, false, record.gigawords),
        counted_at = record.event_time,
        usage_date = radmeter.usage_date(session.router_id, record.event_time),
        period_start = radmeter.user_period_start(session.username, record.event_time),
        arrived_at = greatest(session.arrived_at, record.received_at)
    FROM unnest(v_seqs, v_ids, v_stops, v_reopen) AS found (seq, radacctid, acctstoptime, reopen)
    JOIN pg_temp.incoming AS record USING (seq)
    WHERE NOT found.reopen AND record.status <> 'Start'
      AND session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime
      AND (record.input_octets > coalesce(session.acctinputoctets, 0)
           OR record.output_octets > coalesce(session.acctoutputoctets, 0));

    RETURN ARRAY(SELECT seq FROM unnest(p_seqs) AS seq
                 WHERE seq NOT IN (SELECT found.seq FROM unnest(v_seqs, v_reopen) AS found (seq, reopen)
                                   WHERE NOT found.reopen));
END;
$$;
