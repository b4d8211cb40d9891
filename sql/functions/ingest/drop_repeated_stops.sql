-- radmeter.drop_repeated_stops(seqs): takes repeated Stops out of the batch. A Stop is a repeat if a closed session of its
-- id was closed by a Stop with the same Event-Timestamp as the router sent it (or both had none), the same session time
-- and the same octets, however long ago. A session whose Stop waits for its month is as good as closed. It counts nothing
-- and opens nothing. A Stop that fits the open session of its id is no repeat: a router without a clock sends equal packets
-- again after a reboot, and the open session proves that there is a new one. A Stop that has no octets in a direction
-- counts nothing there, so it need not be equal. A Stop without stamp and session time shows too little to be a repeat.
-- Returns the seqs that are left. Called by radmeter.apply_round only. Reads radacct. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.drop_repeated_stops(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record, also by the OFFSET 0 below: the temporary table has no statistics, and the plan is made
-- at a connection's first batch, when radacct may be small.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_repeated bigint[];
BEGIN
    WITH repeated AS (
        DELETE FROM pg_temp.incoming AS record
        WHERE seq = ANY (p_seqs) AND (status = 'Stop' OR waits) AND coalesce(stop_stamp, session_time) IS NOT NULL
          AND NOT EXISTS (SELECT FROM public.radacct AS session
                          WHERE session.radacctid = record.open_id AND session.acctstoptime IS NULL
                            AND radmeter.fits_session(record.start_time, record.session_time,
                                    session.acctstarttime, session.late_start_at) OFFSET 0)
          AND EXISTS (SELECT FROM radmeter.sessions_of(record.uid, record.session_id, record.calling_station_id,
                                                       record.shown_mac, '-infinity') AS closed
                      WHERE closed.closed_by = 'stop' AND closed.stop_stamp IS NOT DISTINCT FROM record.stop_stamp
                        AND (record.session_time IS NULL OR record.session_time = closed.acctsessiontime)
                        AND (record.input_octets IS NULL
                             OR record.input_octets + closed.input_offset = closed.acctinputoctets)
                        AND (record.output_octets IS NULL
                             OR record.output_octets + closed.output_offset = closed.acctoutputoctets) OFFSET 0)
        RETURNING seq
    )
    SELECT array_agg(seq) INTO v_repeated FROM repeated;
    IF v_repeated IS NULL THEN
        RETURN p_seqs;
    END IF;
    RETURN ARRAY(SELECT unnest(p_seqs) EXCEPT SELECT unnest(v_repeated));
END;
$$;
