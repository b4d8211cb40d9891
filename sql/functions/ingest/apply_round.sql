-- radmeter.apply_round(segment, round): applies one record of each session.
-- A repeated Start or Stop changes nothing. A record that supersedes the open session of its id begins a new session.
-- Another record goes to the first of these that exists: the open session of its id; a closed session of its id that it
-- still belongs to; an open session of its id that began after the record's event, unless that is a later session
-- (radmeter.is_of_earlier); a new session.
-- Called by radmeter.apply_batch only. Writes radacct, and what count_new_users writes.
CREATE OR REPLACE FUNCTION radmeter.apply_round(p_segment integer, p_round integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_left bigint[];  -- seq of the records that no step has applied yet
    v_new bigint[];   -- seq of those of them that supersede a session,
    v_early bigint[]; -- of those that are of an earlier session than the open one of their id,
    v_unfit bigint[]; -- and of Stops that show another start than the open session of their id
BEGIN
    v_left := radmeter.update_open(p_segment, p_round);
    IF cardinality(v_left) = 0 THEN
        RETURN;
    END IF;
    IF radmeter.find_open(v_left) > 0 THEN
        PERFORM radmeter.drop_repeated_starts(v_left);
        v_left := radmeter.update_open(p_segment, p_round, v_left);
    END IF;
    v_new := '{}';
    v_early := '{}';
    IF EXISTS (SELECT FROM pg_temp.incoming WHERE seq = ANY (v_left) AND status <> 'Start') THEN
        v_left := radmeter.drop_repeated_stops(v_left);
        v_new := radmeter.close_superseded(v_left);
        v_left := ARRAY(SELECT unnest(v_left) EXCEPT SELECT unnest(v_new));
        v_unfit := radmeter.unfit_stops(v_left);
        IF cardinality(v_unfit) > 0 THEN
            v_left := ARRAY(SELECT unnest(v_left) EXCEPT SELECT unnest(v_unfit))
                || radmeter.update_open(p_segment, p_round, v_unfit, true);
        END IF;
    END IF;
    IF cardinality(v_left) > 0 THEN
        v_left := radmeter.update_closed(v_left);
    END IF;
    IF cardinality(v_left) > 0 THEN
        v_early := radmeter.earlier_sessions(v_left);
        v_left := ARRAY(SELECT unnest(v_left) EXCEPT SELECT unnest(v_early));
    END IF;
    IF cardinality(v_left) > 0 THEN
        PERFORM radmeter.ensure_start_months(v_left);
        v_left := radmeter.update_open(p_segment, p_round, v_left, true);
    END IF;
    v_left := v_left || v_new || v_early;
    IF cardinality(v_left) > 0 THEN
        PERFORM radmeter.count_new_users(v_left);
        PERFORM radmeter.insert_sessions(v_left);
        IF EXISTS (SELECT FROM radmeter.tenant_realm) THEN
            PERFORM radmeter.note_sent_usernames(v_left);
        END IF;
    END IF;
END;
$$;
