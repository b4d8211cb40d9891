-- radmeter.removed_segments(segments): of some segments, those whose rows the jobs have removed. They were all counted.
--   segments  JSON array of {"id", "node", "ended_us"}: when the shipper was done with it, in microseconds since 1970
-- A segment was removed if it has no row, and if its shipper was done with it before the last one of its node that was
-- removed. A database that was restored lacks the rows of later segments: these are missing.
-- The jobs remove a row 100 days after the segment at the earliest (radmeter.old_segments). So the database is at least so
-- much later than what it has removed, and 50 days make up for wrong clocks of the shipper, either way.
-- Called by the shipper. Reads radmeter.journal_segment, ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.removed_segments(p_segments json) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT given.id
    FROM json_to_recordset(p_segments) AS given (id uuid, node text, ended_us bigint)
    JOIN public.ingest_checkpoint AS checkpoint ON checkpoint.source = given.node
    WHERE given.ended_us < extract(epoch FROM checkpoint.segments_removed_to + interval '50 days') * 1000000
      AND NOT EXISTS (SELECT FROM radmeter.journal_segment AS segment WHERE segment.id = given.id);
$$;
