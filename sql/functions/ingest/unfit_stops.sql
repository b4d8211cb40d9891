-- radmeter.unfit_stops(seqs): the seqs of Stops whose id has an open session that began before their event. They show
-- another start than that session (radmeter.fits_session), but are no repeats, so they end it.
-- Called by radmeter.apply_round only. Reads pg_temp.incoming, radacct.
CREATE OR REPLACE FUNCTION radmeter.unfit_stops(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT record.seq
        FROM pg_temp.incoming AS record
        JOIN public.radacct AS session ON session.radacctid = record.open_id AND session.acctstoptime IS NULL
        WHERE record.seq = ANY (p_seqs) AND record.status = 'Stop'
          AND coalesce(session.acctstarttime <= record.event_time, true));
END;
$$;
