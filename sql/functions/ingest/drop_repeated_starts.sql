-- radmeter.drop_repeated_starts(seqs): takes Starts out of the batch that are retransmissions of a closed session's Start:
-- their event lies in a closed session of their id, and a later session of the id is open (radmeter.find_open has found
-- it).
-- Called by radmeter.apply_round only. Reads radacct, radmeter.session_alias. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.drop_repeated_starts(p_seqs bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record, also by the OFFSET 0 below: the temporary table has no statistics, and the plan is made
-- at a connection's first batch, when radacct may be small.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    DELETE FROM pg_temp.incoming AS record
    WHERE record.seq = ANY (p_seqs) AND record.status = 'Start'
      AND EXISTS (SELECT FROM public.radacct AS session
                  WHERE session.radacctid = record.open_id AND session.acctstoptime IS NULL
                    AND record.event_time >= session.acctstarttime OFFSET 0)
      AND EXISTS (SELECT FROM radmeter.sessions_of(
                      record.uid, record.session_id, record.calling_station_id, record.shown_mac,
                      record.event_time - radmeter.arrival_allowance(record.stamped)) AS closed
                  WHERE closed.acctstoptime >= record.event_time - radmeter.arrival_allowance(record.stamped)
                    AND closed.acctstarttime <= record.event_time OFFSET 0);
END;
$$;
