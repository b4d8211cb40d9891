-- radmeter.close_superseded(seqs): closes the open sessions that records of the batch supersede (radmeter.supersedes), at
-- their last update. radmeter.find_open has found them. A session whose Stop waits for its month keeps its cause. After a
-- late Start, the record's session begins at that Start.
-- Returns the seqs of these records. They begin new sessions. Writes radacct, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.close_superseded(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record, also by the OFFSET 0 below: the temporary table has no statistics, and the plan is made
-- at a connection's first batch, when radacct may be small.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_seqs bigint[];
    v_ids bigint[];
BEGIN
    SELECT array_agg(record.seq), array_agg(session.radacctid)
    INTO v_seqs, v_ids
    FROM pg_temp.incoming AS record
    CROSS JOIN LATERAL (SELECT radacctid, acctstarttime, acctupdatetime, arrived_at, late_start_at FROM public.radacct
                        WHERE radacctid = record.open_id AND acctstoptime IS NULL OFFSET 0) AS session
    WHERE record.seq = ANY (p_seqs) AND record.status <> 'Start'
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
    UPDATE pg_temp.incoming AS record SET start_time = coalesce((
        SELECT session.late_start_at FROM public.radacct AS session
        WHERE session.radacctid = record.open_id AND session.acctstoptime IS NULL
          AND radmeter.shows_late_start(record.event_time, record.start_time, record.session_time, record.stamped,
                                        session.acctstarttime, session.late_start_at)), start_time)
    WHERE record.seq = ANY (v_seqs);
    UPDATE public.radacct SET
        acctstoptime = radmeter.last_possible_time(acctupdatetime, now()),
        acctterminatecause = CASE WHEN closed_by = 'stop' THEN acctterminatecause ELSE 'NAS-Reboot' END,
        closed_by = CASE WHEN closed_by = 'stop' THEN 'stop' ELSE 'superseded' END
    WHERE radacctid = ANY (v_ids) AND acctstoptime IS NULL;
    RETURN v_seqs;
END;
$$;
