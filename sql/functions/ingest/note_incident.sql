-- radmeter.note_incident(node, incident): notes what a shipper found about its journal that a person should know.
--   incident  a JSON object: "kind", "segment", "first_seq", "last_seq", "records", "from_at" and "to_at" (or "from_us" and
--             "to_us", microseconds since 1970), "detail", and "reason": with a reason it is acknowledged at once
-- The same kind, segment and first number is one incident. Noted again, it is not settled any more. If it has grown
-- since, nobody has acknowledged that. Without a segment, it is one incident of its node.
-- Returns journal_incident.id. SQLSTATE RM002: the journal, or the one of the segment, belongs to another role.
-- Reads radmeter.journal_segment, writes radmeter.journal_incident.
CREATE OR REPLACE FUNCTION radmeter.note_incident(p_node text, p_incident json) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id bigint;
    v_segment uuid := p_incident ->> 'segment';
BEGIN
    PERFORM radmeter.check_journal(p_node);
    -- Else the shipper of another journal could note, acknowledge or keep from growing what is said of this segment.
    PERFORM radmeter.check_source_role(known.node)
    FROM (SELECT node FROM radmeter.journal_segment WHERE id = v_segment
          UNION SELECT node FROM radmeter.journal_incident WHERE segment = v_segment) AS known;
    INSERT INTO radmeter.journal_incident AS noted
        (kind, node, segment, first_seq, last_seq, records, from_at, to_at, detail, role,
         acknowledged_at, acknowledged_by, reason)
    SELECT given.kind, p_node, given.segment, given.first_seq, given.last_seq, given.records,
           coalesce(given.from_at, timestamptz 'epoch' + given.from_us * interval '1 microsecond'),
           coalesce(given.to_at, timestamptz 'epoch' + given.to_us * interval '1 microsecond'),
           left(coalesce(given.detail, ''), 10000), session_user,
           CASE WHEN given.reason IS NOT NULL THEN clock_timestamp() END,
           CASE WHEN given.reason IS NOT NULL THEN session_user END, left(given.reason, 1000)
    FROM json_to_record(p_incident) AS given (
        kind text, segment uuid, first_seq bigint, last_seq bigint, records bigint, from_at timestamptz, to_at timestamptz,
        from_us bigint, to_us bigint, detail text, reason text)
    ON CONFLICT (kind, segment, first_seq, (CASE WHEN segment IS NULL THEN node END)) DO UPDATE SET
        (last_seq, records, from_at, to_at, detail, settled_at, acknowledged_at, acknowledged_by, reason) = (
            SELECT greatest(noted.last_seq, excluded.last_seq), greatest(noted.records, excluded.records),
                   least(noted.from_at, excluded.from_at), greatest(noted.to_at, excluded.to_at),
                   CASE WHEN grown THEN excluded.detail ELSE noted.detail END, NULL::timestamptz,
                   CASE WHEN answered THEN excluded.acknowledged_at WHEN NOT grown THEN noted.acknowledged_at END,
                   CASE WHEN answered THEN excluded.acknowledged_by WHEN NOT grown THEN noted.acknowledged_by END,
                   CASE WHEN answered THEN excluded.reason WHEN NOT grown THEN noted.reason END
            FROM (SELECT coalesce(excluded.last_seq > coalesce(noted.last_seq, 0), false)
                      OR coalesce(excluded.records > coalesce(noted.records, 0), false)
                      OR coalesce(excluded.to_at > coalesce(noted.to_at, '-infinity'), false) AS grown,
                  excluded.reason IS NOT NULL AND noted.reason IS NULL AS answered) AS change)
    RETURNING id INTO v_id;
    RETURN v_id;
END;
$$;
