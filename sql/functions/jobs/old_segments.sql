-- radmeter.old_segments(): the segments of journals whose rows may go, the oldest first: they were all counted longer ago than
-- the limit segment_keep_days.
-- The latest segment of a node stays, and one that a shipper had in a folder since. So does one before a segment that is not
-- all counted, or not for so long: its shipper asks for the one before.
-- Called by the jobs. Reads radmeter.journal_segment.
CREATE OR REPLACE FUNCTION radmeter.old_segments() RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT segment.id
    FROM radmeter.journal_segment AS segment
    JOIN (SELECT node, max(last_seq) AS last_seq FROM radmeter.journal_segment GROUP BY node) AS latest USING (node)
    CROSS JOIN (SELECT now() - radmeter.limit_value('segment_keep_days') * interval '1 day' AS oldest) AS kept
    WHERE finished_at < kept.oldest AND segment.seen_at < kept.oldest
      AND segment.last_seq < latest.last_seq
      AND NOT EXISTS (SELECT FROM radmeter.journal_segment AS following
                      WHERE following.previous = segment.id AND (following.finished_at < kept.oldest) IS NOT TRUE)
    ORDER BY finished_at;
$$;
