-- radmeter.counted_offset(total, offset, reported, newer, gigawords) and radmeter.counted_octets(..): the new offset
-- and total of one direction of one session after a packet.
--   total      octets counted so far (NULL: never reported)
--   offset     total less the router's last value: the octets that wraps and restarts added
--   reported   Gigawords << 32 | Octets of the packet (NULL: the packet has none, so the value is unknown, not zero)
--   newer      the packet is later than all packets of its session before it
--   gigawords  the packet has an Acct-*-Gigawords attribute (RFC 2869 section 5.1, 5.2)
-- A newer packet may report less than the last one. If it has no Gigawords, and the last value is in the top quarter
-- below 2^32, the 32-bit counter has wrapped. Otherwise the router has restarted its counter, and the whole new value
-- is new usage. A packet that is not newer counts only what exceeds the total, since a router's clock that went back
-- would look the same. If it counts, the next packet is compared with its value.
CREATE OR REPLACE FUNCTION radmeter.counted_offset(
    p_total bigint, p_offset bigint, p_reported bigint, p_newer boolean, p_gigawords boolean) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_reported IS NULL OR p_total IS NULL THEN p_offset
    WHEN p_newer AND p_reported < p_total - p_offset THEN
        CASE WHEN NOT p_gigawords AND p_total - p_offset BETWEEN 3221225472 AND 4294967295
             THEN p_offset + 4294967296
             ELSE p_total END
    WHEN NOT p_newer AND p_reported > p_total THEN 0
    ELSE p_offset
END;

CREATE OR REPLACE FUNCTION radmeter.counted_octets(
    p_total bigint, p_offset bigint, p_reported bigint, p_newer boolean, p_gigawords boolean) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_reported IS NULL THEN p_total
    WHEN p_total IS NULL THEN p_reported
    WHEN p_newer THEN
        radmeter.counted_offset(p_total, p_offset, p_reported, p_newer, p_gigawords) + p_reported
    ELSE greatest(p_total, p_reported)
END;
