-- radmeter.old_segments(): the segments of journals whose rows may go, the oldest first: they were all counted, and no
-- shipper has named them, for longer than the limit segment_keep_days, and than 100 days. Shippers keep segments for a
-- while, and name them when they connect: one that is not known here would be counted again. The latest segment of a node
-- stays. So does one before a segment that is not all counted, or not for so long: its shipper asks for the one before.
-- Called by the jobs. Reads radmeter.journal_segment.
CREATE OR REPLACE FUNCTION radmeter.old_segments() RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT segment.id
    FROM radmeter.journal_segment AS segment
    JOIN (SELECT node, max(last_seq) AS last_seq FROM radmeter.journal_segment GROUP BY node) AS latest USING (node)
    -- NULL: the limit is off.
    CROSS JOIN (SELECT CASE WHEN value < 100 THEN 100 ELSE value END AS days
                FROM radmeter.limit_value('segment_keep_days') AS value) AS limits
    WHERE greatest(finished_at, seen_at) < now() - limits.days * interval '1 day' AND finished_at IS NOT NULL
      AND segment.last_seq < latest.last_seq
      AND NOT EXISTS (SELECT FROM radmeter.journal_segment AS following
                      WHERE following.previous = segment.id
                        AND (following.finished_at < now() - limits.days * interval '1 day') IS NOT TRUE)
    ORDER BY finished_at;
$$;
