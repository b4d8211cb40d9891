-- radmeter.backfill_correct(radacctid, octets_in, octets_out, [at]): counts an adopted session that a backfill has set
-- aside, with the octets, and the time, that an operator gives for its history.
--   octets_in, octets_out  what the session had when it was adopted
--   at                     the time for which it counts; NULL: its own
-- The session's row gets the same octets and time, past the trigger: radmeter.backfill_user and radmeter.backfill_router
-- have the sums, and radmeter.backfill_move adds them to the counters.
-- What packets and other writers added since stays: the octets, and how far they are from the router's last value, change
-- by the same, so that the next packet is compared with the last one.
-- Raises RM001 if no session with this id is set aside, a packet has replaced its octets, which counts it in whole, or no
-- router can have reported the given values either.
-- Writes radacct, radmeter.adoption_baseline, backfill, backfill_rejected, backfill_user, backfill_router, adopted_move,
-- audit_log.
CREATE OR REPLACE FUNCTION radmeter.backfill_correct(
    p_radacctid bigint, p_octets_in bigint, p_octets_out bigint, p_at timestamptz DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_before record;
    v_at timestamptz;
    v_fault text;
    v_kept boolean;
    v_went_on boolean;  -- packets have gone on counting from the octets that are corrected
BEGIN
    -- No packet changes the session meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT session.tableoid::regclass AS part, rejected.replaced_at,
           baseline.bytes_in, baseline.bytes_out, baseline.at INTO v_before
    FROM radmeter.backfill_rejected AS rejected
    JOIN public.radacct AS session ON session.radacctid = rejected.radacctid
    JOIN radmeter.adoption_baselines() AS baseline ON baseline.radacctid = rejected.radacctid
    WHERE rejected.radacctid = p_radacctid FOR UPDATE OF rejected, session;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no session with radacctid % is set aside', p_radacctid USING ERRCODE = 'RM001';
    END IF;
    IF v_before.replaced_at IS NOT NULL THEN
        RAISE EXCEPTION 'session % needs no correction: its packets have counted it in whole since %',
            p_radacctid, v_before.replaced_at USING ERRCODE = 'RM001';
    END IF;
    v_at := coalesce(p_at, v_before.at);
    v_fault := radmeter.history_fault(p_octets_in, p_octets_out, v_at);
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION 'session % cannot have that: %', p_radacctid, v_fault || CASE
            WHEN radmeter.history_fault(p_octets_in, p_octets_out, NULL) IS NULL
            THEN '. Give the time that it counts for, too (--at)' ELSE '' END USING ERRCODE = 'RM001';
    END IF;

    UPDATE radmeter.adoption_baseline SET bytes_in = p_octets_in, bytes_out = p_octets_out, at = v_at
    WHERE radacctid = p_radacctid;
    v_kept := FOUND;
    v_went_on := v_kept AND radmeter.history_fault(v_before.bytes_in, v_before.bytes_out, NULL) IS NULL;
    -- The partition itself is named, so the trigger on radacct does not fire.
    EXECUTE format(
        'UPDATE ONLY %s SET
             acctinputoctets = (coalesce(acctinputoctets, 0)::numeric - $2 + $3)::bigint,
             acctoutputoctets = (coalesce(acctoutputoctets, 0)::numeric - $4 + $5)::bigint,
             input_offset = CASE WHEN $8 THEN input_offset - $2 + $3 ELSE input_offset END,
             output_offset = CASE WHEN $8 THEN output_offset - $4 + $5 ELSE output_offset END,
             acctupdatetime = CASE WHEN $6 OR $7 IS NULL THEN acctupdatetime ELSE $7 END
         WHERE radacctid = $1', v_before.part)
    USING p_radacctid, v_before.bytes_in, p_octets_in, v_before.bytes_out, p_octets_out, v_kept, p_at, v_went_on;
    DELETE FROM radmeter.backfill_rejected WHERE radacctid = p_radacctid;
    -- The sums below are for the user and the router that the session has now.
    DELETE FROM radmeter.adopted_move WHERE radacctid = p_radacctid;
    INSERT INTO radmeter.backfill_user (bucket, usernames, period_starts, bytes_in, bytes_out)
    SELECT hashtext(username) & 127, ARRAY[username], ARRAY[period_start], ARRAY[bytes_in], ARRAY[bytes_out]
    FROM radmeter.adoption_baselines() WHERE radacctid = p_radacctid AND username <> '';
    INSERT INTO radmeter.backfill_router (bucket, router_ids, usage_dates, bytes_in, bytes_out)
    SELECT hashint8(router_id) & 127, ARRAY[router_id], ARRAY[usage_date], ARRAY[bytes_in], ARRAY[bytes_out]
    FROM radmeter.adoption_baselines() WHERE radacctid = p_radacctid;
    UPDATE radmeter.backfill SET counted_rows = counted_rows + 1;
    PERFORM radmeter.audit('backfill correct', jsonb_build_object('radacctid', p_radacctid,
        'before', jsonb_build_array(v_before.bytes_in, v_before.bytes_out, v_before.at),
        'after', jsonb_build_array(p_octets_in, p_octets_out, v_at)));
END;
$$;
