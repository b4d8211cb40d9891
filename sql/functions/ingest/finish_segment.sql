-- radmeter.finish_segment(segment, end): notes that a segment ends at a number and is all counted. Incidents that said that
-- it was missing are settled, unless they know of packets beyond what is counted. end NULL: nothing says where it ends, as
-- of a copy that may be older. All that is there of it is counted. Incidents that do not know how much was missing are not
-- settled. SQLSTATE RM002: the journal belongs to another role. RM004: it is not registered, or not counted up to its end.
-- Writes radmeter.journal_segment, radmeter.journal_incident.
CREATE OR REPLACE FUNCTION radmeter.finish_segment(p_segment uuid, p_end bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_segment radmeter.journal_segment;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    v_segment := radmeter.registered_segment(p_segment);
    IF (v_segment.last_seq >= coalesce(p_end, 0)) IS NOT TRUE THEN
        RAISE EXCEPTION 'segment % of "%" is counted up to number %, and does not end before %',
            p_segment, v_segment.node, v_segment.last_seq, p_end USING ERRCODE = 'RM004';
    END IF;
    UPDATE radmeter.journal_segment SET finished_at = clock_timestamp() WHERE id = p_segment AND finished_at IS NULL;
    UPDATE radmeter.journal_incident SET settled_at = clock_timestamp()
    WHERE kind = 'missing' AND segment = p_segment AND settled_at IS NULL
      AND (last_seq <= v_segment.last_seq OR last_seq IS NULL AND p_end IS NOT NULL);
END;
$$;
