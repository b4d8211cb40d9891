-- radmeter.earlier_sessions(seqs): the seqs of records that are of an earlier session than the open one of their id
-- (radmeter.is_of_earlier). They begin sessions that were over when the open one began: incoming.over_at is that time. Makes
-- its month.
-- Called by radmeter.apply_round only. Reads radacct. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.earlier_sessions(p_seqs bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record, also by the OFFSET 0 below: the temporary table has no statistics, and the plan is made
-- at a connection's first batch, when radacct may be small.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_seqs bigint[];
    v_times timestamptz[];
BEGIN
    -- Another program may have written any start.
    SELECT array_agg(record.seq), array_agg(radmeter.last_possible_time(session.acctstarttime, record.event_time))
    INTO v_seqs, v_times
    FROM pg_temp.incoming AS record
    CROSS JOIN LATERAL (SELECT acctstarttime, began_at FROM public.radacct
                        WHERE radacctid = record.open_id AND acctstoptime IS NULL OFFSET 0) AS session
    WHERE record.seq = ANY (p_seqs)
      AND radmeter.is_of_earlier(record.event_time, record.start_time,
              coalesce(record.first_received_at, record.received_at), session.acctstarttime, session.began_at);
    IF v_seqs IS NULL THEN
        RETURN '{}';
    END IF;
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', over_at, 'UTC') AS month FROM unnest(v_times) AS over_at) AS stops;
    UPDATE pg_temp.incoming AS record SET over_at = found.over_at
    FROM unnest(v_seqs, v_times) AS found (seq, over_at)
    WHERE record.seq = found.seq;
    RETURN v_seqs;
END;
$$;
