-- radmeter.find_open(seqs): looks for the open sessions of records of the batch (radmeter.open_session), and writes down
-- which they are (incoming.open_id and open_uid). Returns how many records have one.
-- Called by radmeter.apply_round, for records that are not of an open session by the first and usual lookup. Writes
-- pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.find_open(p_seqs bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- Index lookups for each record. The temporary table has no statistics, so the planner might choose otherwise.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_places tid[];
    v_ids bigint[];
    v_uids text[];
BEGIN
    SELECT array_agg(record.ctid), array_agg(found.radacctid), array_agg(found.acctuniqueid)
    INTO v_places, v_ids, v_uids
    FROM pg_temp.incoming AS record
    CROSS JOIN LATERAL radmeter.open_session(
        record.uid, record.session_id, record.calling_station_id, record.shown_mac, record.start_time) AS found
    WHERE record.seq = ANY (p_seqs);
    IF v_places IS NOT NULL THEN
        UPDATE pg_temp.incoming AS record SET open_id = found.id, open_uid = found.uid
        FROM unnest(v_places, v_ids, v_uids) AS found (place, id, uid)
        WHERE record.ctid = found.place;
    END IF;
    RETURN coalesce(cardinality(v_places), 0);
END;
$$;
