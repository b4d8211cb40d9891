-- radmeter.session_parts(radacctid, usage_date, period_start, octets_in, octets_out): a session's octets by day and period.
-- The arguments are columns of the session's row. Its finished slices are read from radmeter.session_slice. The rest of
-- its octets is the part under way. What the triggers never counted is left out: the octets that an adopted session had
-- when it was adopted, from radmeter.adoption_baseline (see radmeter.adoption_baselines). Returns no row for zero octets.
CREATE OR REPLACE FUNCTION radmeter.session_parts(
    p_radacctid bigint, p_usage_date date, p_period_start date, p_octets_in bigint, p_octets_out bigint)
RETURNS TABLE (radacctid bigint, usage_date date, period_start date, bytes_in bigint, bytes_out bigint,
               finished boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT slice.radacctid, slice.usage_date, slice.period_start, slice.bytes_in, slice.bytes_out, true
    FROM radmeter.session_slice AS slice WHERE slice.radacctid = p_radacctid
    UNION ALL
    SELECT p_radacctid, p_usage_date, p_period_start, left_in, left_out, false
    FROM (SELECT radmeter.as_counter(p_octets_in - coalesce(sum(known.bytes_in), 0)) AS left_in,
                 radmeter.as_counter(p_octets_out - coalesce(sum(known.bytes_out), 0)) AS left_out
          FROM (SELECT slice.bytes_in, slice.bytes_out
                FROM radmeter.session_slice AS slice WHERE slice.radacctid = p_radacctid
                UNION ALL
                SELECT first.bytes_in, first.bytes_out
                FROM radmeter.adoption_baseline AS first WHERE first.radacctid = p_radacctid) AS known) AS under_way
    WHERE left_in <> 0 OR left_out <> 0;
END;
