-- radmeter.update_closed(seqs): applies records of the batch to the closed sessions that they still belong to.
-- A record belongs to a closed session of its id if the record's session began at or before that session's stop. If
-- there are several, it goes to the one in which its event lies; else to the one that began last at or before the
-- record's session; else to the earliest. It belongs to none that began after it arrived (radmeter.is_of_earlier).
--   After a real Stop, a late interim or a second Stop counts only what exceeds the total, and does not reopen the
--   session. If its event is that of the last update, it is compared with the router's last value instead.
--   A late Start only moves the start, and only to an earlier time.
--   If the reaper or an Accounting-On/Off closed the session, a newer interim or Stop shows that it was still alive.
--   The session is opened again, and the record is left for radmeter.update_open, unless another session of that id is
--   open.
-- Returns the seqs of records that are left: those of reopened sessions, and those that belong to no session.
-- Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.update_closed(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_seqs bigint[];      -- the records that belong to a closed session,
    v_ids bigint[];       -- the radacctid of each session,
    v_stops timestamptz[];-- its stop, which tells the partition,
    v_reopen boolean[];   -- and whether to open it again
    v_from timestamptz;
BEGIN
    -- No record can belong to a session that stopped before v_from, so earlier partitions are not read.
    v_from := (SELECT greatest(min(least(belongs_from, event_time - interval '7 days')),
                               min(event_time) - interval '400 days')
               FROM pg_temp.incoming WHERE seq = ANY (p_seqs));

    SELECT array_agg(record.seq), array_agg(session.radacctid), array_agg(session.acctstoptime),
           array_agg(record.status <> 'Start' AND coalesce(session.closed_by, '') IN ('reaper', 'reboot')
               AND radmeter.is_newer(session.acctupdatetime, session.acctsessiontime,
                                     record.event_time, record.session_time, record.stamped)
               AND record.open_id IS NULL)
    INTO v_seqs, v_ids, v_stops, v_reopen
    FROM pg_temp.incoming AS record
    CROSS JOIN LATERAL (
        SELECT closed.*
        FROM radmeter.sessions_of(
            record.uid, record.session_id, record.calling_station_id, record.shown_mac, v_from) AS closed
        CROSS JOIN LATERAL (SELECT
            closed.acctstarttime <= record.event_time
                AND closed.acctstoptime >= record.event_time - radmeter.arrival_allowance(record.stamped)
                AS event_lies_in,
            closed.acctstarttime <= record.start_time AS began_before) AS fit
        WHERE closed.acctstoptime >= v_from
          AND (closed.acctstoptime >= record.belongs_from
               -- Without Acct-Session-Time the start is unknown, and no Stop said that the session ended.
               OR closed.closed_by = ANY (ARRAY['reaper', 'reboot']) AND record.session_time IS NULL AND record.status <> 'Start'
                  AND closed.acctstoptime >= record.event_time - interval '7 days')
          AND radmeter.is_of_earlier(record.event_time, record.start_time,
                  coalesce(record.first_received_at, record.received_at), closed.acctstarttime, closed.began_at)
              IS NOT TRUE
        ORDER BY event_lies_in DESC, began_before DESC,
                 CASE WHEN event_lies_in OR began_before THEN closed.acctstarttime END DESC NULLS LAST,
                 closed.acctstarttime, closed.same_calling DESC, closed.same_mac DESC,
                 CASE WHEN event_lies_in OR began_before THEN closed.radacctid END DESC, closed.radacctid
        LIMIT 1) AS session
    WHERE record.seq = ANY (p_seqs);

    IF v_seqs IS NULL THEN
        RETURN p_seqs;
    END IF;

    IF true = ANY (v_reopen) THEN
        UPDATE public.radacct AS session SET
            acctstoptime = NULL, acctterminatecause = NULL, closed_by = NULL, late_start_at = NULL
        FROM unnest(v_ids, v_stops, v_reopen) AS found (radacctid, acctstoptime, reopen)
        WHERE found.reopen AND session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime
          -- What the unique index of open sessions would refuse.
          AND NOT EXISTS (
              SELECT FROM public.radacct AS open
              WHERE open.acctuniqueid = session.acctuniqueid AND open.acctstoptime IS NULL
                AND coalesce(nullif(open.callingstationid, ''), open.calledstationid)
                    IS NOT DISTINCT FROM coalesce(nullif(session.callingstationid, ''), session.calledstationid)
                AND CASE WHEN open.class <> '' AND coalesce(open.callingstationid, '') = '' THEN open.router_id END
                    IS NOT DISTINCT FROM
                    CASE WHEN session.class <> '' AND coalesce(session.callingstationid, '') = '' THEN session.router_id END);
        PERFORM radmeter.find_open(ARRAY(SELECT found.seq FROM unnest(v_seqs, v_reopen) AS found (seq, reopen)
                                         WHERE found.reopen));
    END IF;

    UPDATE public.radacct AS session SET (
        acctstarttime, username, acctinputoctets, acctoutputoctets, input_offset, output_offset,
        counted_at, usage_date, period_start, arrived_at, router_id
    ) = (
        SELECT
            CASE WHEN is_start THEN least(session.acctstarttime, record.event_time) ELSE session.acctstarttime END,
            coalesce(nullif(session.username, ''), record.username),
            octets_in, octets_out,
            radmeter.counted_offset(known_in, known_offset_in, reported_in, false, current,
                                    false, NULL, NULL, NULL),
            radmeter.counted_offset(known_out, known_offset_out, reported_out, false, current,
                                    false, NULL, NULL, NULL),
            CASE WHEN counts THEN record.event_time ELSE session.counted_at END,
            CASE WHEN counts THEN radmeter.usage_date(coalesce(session.router_id, record.router_id), record.event_time)
                 ELSE session.usage_date END,
            CASE WHEN counts
                 THEN radmeter.user_period_start(coalesce(nullif(session.username, ''), record.username),
                                                 record.event_time)
                 ELSE session.period_start END,
            greatest(session.arrived_at, record.received_at),
            coalesce(session.router_id, record.router_id)
        -- OFFSET 0: see radmeter.update_open.
        FROM (SELECT record.status = 'Start' AS is_start,
                     radmeter.unusable_octets(session.acctinputoctets, session.acctoutputoctets,
                         session.adopted AND session.counted_at IS NULL) AS unusable,
                     record.event_time = session.acctupdatetime
                         AND radmeter.is_current(session.acctupdatetime, session.acctsessiontime,
                                 record.event_time, record.session_time, record.stamped) AS current
              OFFSET 0) AS event,
            LATERAL (SELECT CASE WHEN NOT is_start THEN record.input_octets END AS reported_in,
                            CASE WHEN NOT is_start THEN record.output_octets END AS reported_out,
                            CASE WHEN NOT unusable THEN session.acctinputoctets END AS known_in,
                            CASE WHEN NOT unusable THEN session.acctoutputoctets END AS known_out,
                            CASE WHEN unusable THEN 0 ELSE session.input_offset END AS known_offset_in,
                            CASE WHEN unusable THEN 0 ELSE session.output_offset END AS known_offset_out
                     OFFSET 0) AS reported,
            LATERAL (SELECT
                radmeter.counted_octets(known_in, known_offset_in, reported_in, false, current,
                                        false, NULL, NULL, NULL) AS octets_in,
                radmeter.counted_octets(known_out, known_offset_out, reported_out, false, current,
                                        false, NULL, NULL, NULL) AS octets_out
                     OFFSET 0) AS counted,
            LATERAL (SELECT octets_in IS DISTINCT FROM session.acctinputoctets
                         OR octets_out IS DISTINCT FROM session.acctoutputoctets AS counts) AS moved
    )
    FROM unnest(v_seqs, v_ids, v_stops, v_reopen) AS found (seq, radacctid, acctstoptime, reopen)
    JOIN pg_temp.incoming AS record USING (seq)
    WHERE NOT found.reopen
      AND session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime
      AND (record.status = 'Start' AND record.event_time < session.acctstarttime
           OR coalesce(session.username, '') = '' AND record.username IS NOT NULL
           OR record.status <> 'Start'
              AND (record.input_octets
                       + CASE WHEN record.event_time = session.acctupdatetime THEN session.input_offset ELSE 0 END
                       > coalesce(session.acctinputoctets, -1)
                   OR record.output_octets
                       + CASE WHEN record.event_time = session.acctupdatetime THEN session.output_offset ELSE 0 END
                       > coalesce(session.acctoutputoctets, -1)));

    RETURN ARRAY(SELECT seq FROM unnest(p_seqs) AS seq
                 WHERE seq NOT IN (SELECT found.seq FROM unnest(v_seqs, v_reopen) AS found (seq, reopen)
                                   WHERE NOT found.reopen));
END;
$$;
