-- radmeter.history_fault(octets_in, octets_out, at): why no router can have reported what an adopted session has: fewer
-- than 0 octets, more than 2^52 (packets with more are not counted either), or a time that does not fit into the 32 bits
-- of Event-Timestamp (RFC 2869 section 5.3), infinity included.
--   at  the time for which the octets count; NULL: the session has none, which is no fault
-- Returns a few words; NULL: a router can have reported it, or there is nothing to count.
CREATE OR REPLACE FUNCTION radmeter.history_fault(p_octets_in bigint, p_octets_out bigint, p_at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN coalesce(p_octets_in, 0) = 0 AND coalesce(p_octets_out, 0) = 0 THEN NULL
    WHEN least(p_octets_in, p_octets_out) < 0 THEN 'negative octets'
    WHEN greatest(p_octets_in, p_octets_out) > 4503599627370496 THEN 'more than 2^52 octets'
    WHEN p_at < timestamptz '1970-01-01 00:00:00+00' OR p_at > timestamptz '2106-02-07 06:28:15+00'
        THEN 'an impossible time'
END;
