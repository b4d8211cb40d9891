-- radmeter.close_superseded(seqs): closes the open sessions that records of the batch supersede (radmeter.supersedes), at
-- their last update. radmeter.find_open has found them. After a late Start, the record's session begins at that Start.
-- Returns the seqs of these records. They begin new sessions. Writes radacct, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.close_superseded(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_seqs bigint[];
    v_ids bigint[];
BEGIN
    SELECT array_agg(record.seq), array_agg(session.radacctid)
    INTO v_seqs, v_ids
    FROM pg_temp.incoming AS record
    JOIN public.radacct AS session ON session.radacctid = record.open_id AND session.acctstoptime IS NULL
    WHERE record.seq = ANY (p_seqs)
      AND radmeter.supersedes(record.status, record.event_time, record.start_time, record.session_time, record.stamped,
              coalesce(record.first_received_at, record.received_at), record.input_octets, record.output_octets,
              record.router_id,
              session.acctstarttime, session.acctupdatetime, session.arrived_at, session.late_start_at);
    IF v_ids IS NULL THEN
        RETURN '{}';
    END IF;
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', radmeter.last_possible_time(acctupdatetime, now()), 'UTC') AS month
              FROM public.radacct WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL) AS stops;
    UPDATE pg_temp.incoming AS record SET start_time = session.late_start_at
    FROM unnest(v_seqs, v_ids) AS found (seq, radacctid)
    JOIN public.radacct AS session ON session.radacctid = found.radacctid AND session.acctstoptime IS NULL
    WHERE record.seq = found.seq
      AND radmeter.shows_late_start(record.event_time, record.start_time, record.session_time, record.stamped,
                                    session.acctstarttime, session.late_start_at);
    UPDATE public.radacct SET
        acctstoptime = radmeter.last_possible_time(acctupdatetime, now()),
        acctterminatecause = 'NAS-Reboot',
        closed_by = 'superseded'
    WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL;
    RETURN v_seqs;
END;
$$;
