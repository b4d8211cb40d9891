-- radmeter.left_out_ranges(source): the rejected packets of a source that were left out and not salvaged, one row for each
-- client and hour. Between first_seq and last_seq there are other packets, too.
-- The shipper keeps the journal's segments in which such packets may lie. Reads radmeter.kept_per_hour.
CREATE OR REPLACE FUNCTION radmeter.left_out_ranges(p_source text)
RETURNS TABLE (client text, hour timestamptz, packets bigint, first_seq bigint, last_seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT client, hour, left_out - salvaged, first_seq, last_seq FROM radmeter.kept_per_hour
    WHERE kind = 'rejected packet' AND source = p_source AND left_out > salvaged AND first_seq <= last_seq
    ORDER BY first_seq;
$$;
