-- radmeter.unfit_stops(seqs): the seqs of Stops whose id has an open session that began before their event. They show
-- another start than that session (radmeter.fits_session), but are no repeats, so they end it.
-- Called by radmeter.apply_round only. Reads pg_temp.incoming, radacct.
CREATE OR REPLACE FUNCTION radmeter.unfit_stops(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record, also by the OFFSET 0 below: the temporary table has no statistics, and the plan is made
-- at a connection's first batch, when radacct may be small.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT record.seq
        FROM pg_temp.incoming AS record
        CROSS JOIN LATERAL (SELECT acctstarttime FROM public.radacct
                            WHERE radacctid = record.open_id AND acctstoptime IS NULL OFFSET 0) AS session
        WHERE record.seq = ANY (p_seqs) AND (record.status = 'Stop' OR record.waits)
          AND coalesce(session.acctstarttime <= record.event_time, true));
END;
$$;
