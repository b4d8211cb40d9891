-- radmeter.acknowledge_incident(id, reason): notes that a person knows of an incident, and why nothing more is done about
-- it. SQLSTATE RM001: there is no such incident, somebody has acknowledged it, or there is no reason.
-- Writes radmeter.journal_incident, audit_log.
CREATE OR REPLACE FUNCTION radmeter.acknowledge_incident(p_id bigint, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_reason text := btrim(p_reason, E' \t\r\n');
    v_incident radmeter.journal_incident;
BEGIN
    SELECT * INTO v_incident FROM radmeter.journal_incident WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no incident #%', p_id USING ERRCODE = 'RM001';
    ELSIF v_incident.acknowledged_at IS NOT NULL THEN
        RAISE EXCEPTION 'incident #% was acknowledged by "%": %', p_id, v_incident.acknowledged_by, v_incident.reason
            USING ERRCODE = 'RM001';
    ELSIF coalesce(v_reason, '') = '' OR length(v_reason) > 1000 THEN
        RAISE EXCEPTION 'incident #%: a reason has 1 to 1000 characters', p_id USING ERRCODE = 'RM001';
    END IF;
    UPDATE radmeter.journal_incident SET
        acknowledged_at = clock_timestamp(), acknowledged_by = session_user, reason = v_reason
    WHERE id = p_id;
    PERFORM radmeter.audit('journal acknowledge', jsonb_strip_nulls(jsonb_build_object(
        'incident', p_id, 'kind', v_incident.kind, 'node', v_incident.node, 'segment', v_incident.segment,
        'first_seq', v_incident.first_seq, 'last_seq', v_incident.last_seq, 'records', v_incident.records,
        'from_at', v_incident.from_at, 'to_at', v_incident.to_at, 'reason', v_reason)));
END;
$$;
