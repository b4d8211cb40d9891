-- radmeter.latest_arrival(segment): the latest arrival that was believed of a segment, or else of those before it; NULL: of
-- none of them.
-- A segment may be empty, so the nearest one with an arrival counts. If a journal was copied, another machine may have gone
-- on with the segment before: it then has numbers of this one, or two segments name it. Its arrivals say nothing about this
-- one's, and those before it count. A segment of the old format does not name the one before it: what an older release
-- noted of its journal counts.
-- Called by radmeter.ingest only, for the first batch of a segment. Reads radmeter.journal_segment, ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.latest_arrival(p_segment uuid) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE earlier AS (
        SELECT id, first_seq, previous, node, format, last_received_at, 0 AS distance
        FROM radmeter.journal_segment WHERE id = p_segment
        UNION ALL
        SELECT segment.id, segment.first_seq, segment.previous, segment.node, segment.format,
               CASE WHEN segment.last_seq < earlier.first_seq
                         AND NOT EXISTS (SELECT FROM radmeter.journal_segment AS sibling
                                         WHERE sibling.previous = segment.id AND sibling.id <> earlier.id)
                    THEN segment.last_received_at END,
               distance + 1
        FROM earlier JOIN radmeter.journal_segment AS segment ON segment.id = earlier.previous
        -- The names of segments come from files: they may be in a circle.
        WHERE earlier.last_received_at IS NULL AND distance < 1000
    )
    SELECT coalesce(last_received_at,
                    CASE WHEN format = 1 AND previous IS NULL
                         THEN (SELECT checkpoint.last_received_at FROM public.ingest_checkpoint AS checkpoint
                               WHERE source = earlier.node) END)
    FROM earlier ORDER BY distance DESC LIMIT 1;
$$;
