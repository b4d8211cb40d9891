-- radmeter.open_segments(node, segments): registers the segments of a journal, and tells how far each is ingested.
--   node      the journal's name
--   segments  JSON array of {"id", "node", "format", "first_seq", "previous"}, as the segments' headers have it
-- A new segment begins before its first number. A new segment of format 1 begins at the checkpoint of its node, if an
-- older release had come further: the digest of what that release counted is not known.
-- Returns the segments that were given (given = true), and those of the node that were not given and are not all counted.
--   previous_finished  whether the segment before it is all counted; NULL: there is none, or the database does not know it
--   siblings           how many other segments of the node name the same segment before them
-- SQLSTATE RM002: a journal belongs to another role, or is none. RM003: a segment was registered with another first number.
-- Drops the session's table for batches if it is old (radmeter.drop_old_incoming): a shipper without packets sends no
-- batch that would.
-- Writes radmeter.journal_segment, ingest_checkpoint (radmeter.claim_journal).
CREATE OR REPLACE FUNCTION radmeter.open_segments(p_node text, p_segments json)
RETURNS TABLE (id uuid, first_seq bigint, last_seq bigint, digest bigint, records bigint, finished boolean, given boolean,
               seen_at timestamptz, previous uuid, previous_finished boolean, siblings integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_given uuid[] := ARRAY(SELECT id FROM json_to_recordset(p_segments) AS given (id uuid));
    v_node text;
    v_other uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    PERFORM radmeter.check_journal(p_node);
    PERFORM radmeter.drop_old_incoming();
    FOR v_node IN
        SELECT DISTINCT coalesce(known.node, given.node, p_node)
        FROM json_to_recordset(p_segments) AS given (id uuid, node text)
        LEFT JOIN radmeter.journal_segment AS known USING (id)
    LOOP
        PERFORM radmeter.claim_journal(v_node);
    END LOOP;

    INSERT INTO radmeter.journal_segment (id, node, role, format, first_seq, previous, last_seq, digest)
    SELECT given.id, coalesce(given.node, p_node), session_user, given.format, given.first_seq, given.previous,
           greatest(given.first_seq - 1, checkpoint.last_seq),
           CASE WHEN checkpoint.last_seq >= given.first_seq THEN NULL ELSE 0 END
    FROM json_to_recordset(p_segments) AS given (id uuid, node text, format smallint, first_seq bigint, previous uuid)
    LEFT JOIN public.ingest_checkpoint AS checkpoint
        ON given.format = 1 AND checkpoint.source = coalesce(given.node, p_node)
    ON CONFLICT (id) DO NOTHING;

    SELECT given.id INTO v_other
    FROM json_to_recordset(p_segments) AS given (id uuid, first_seq bigint)
    JOIN radmeter.journal_segment AS known USING (id)
    WHERE known.first_seq IS DISTINCT FROM given.first_seq LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'segment % of "%" was registered with another first number', v_other, p_node
            USING ERRCODE = 'RM003';
    END IF;

    UPDATE radmeter.journal_segment SET seen_at = clock_timestamp()
    WHERE id = ANY (v_given) AND seen_at < clock_timestamp()
          - CASE WHEN finished_at IS NULL THEN interval '30 seconds' ELSE interval '1 day' END;

    RETURN QUERY
    SELECT segment.id, segment.first_seq, segment.last_seq, segment.digest, segment.records,
           segment.finished_at IS NOT NULL, segment.id = ANY (v_given), segment.seen_at, segment.previous,
           (SELECT earlier.finished_at IS NOT NULL FROM radmeter.journal_segment AS earlier
            WHERE earlier.id = segment.previous),
           (SELECT count(*) FROM radmeter.journal_segment AS sibling
            WHERE sibling.previous = segment.previous AND sibling.node = segment.node AND sibling.id <> segment.id)::integer
    FROM radmeter.journal_segment AS segment
    WHERE segment.id = ANY (v_given || ARRAY(
        SELECT unfinished.id FROM radmeter.journal_segment AS unfinished
        WHERE unfinished.node = p_node AND unfinished.finished_at IS NULL))
    ORDER BY segment.first_seq, segment.id;
END;
$$;
