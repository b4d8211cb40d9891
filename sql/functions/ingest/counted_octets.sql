-- radmeter.counted_offset(total, offset, reported, newer, current, gigawords, session_time, last_session_time, router_id)
-- and radmeter.counted_octets(..): the new offset and total of one direction of one session after a packet.
--   total      octets counted so far (NULL: never reported)
--   offset     total less the router's last value: the octets that wraps and restarts added
--   reported   Gigawords << 32 | Octets of the packet (NULL: the packet has none, so the value is unknown, not zero)
--   newer      the packet is later than all packets of its session before it
--   current    the packet is newer, or as late as the latest of them
--   gigawords  the packet has an Acct-*-Gigawords attribute (RFC 2869 section 5.1, 5.2)
--   session_time, last_session_time, router_id  of the packet, of the packet before it, and the packet's router
-- A newer packet may report less than the last one. If it has no Gigawords, the 32-bit counter may have wrapped: it did
-- if the last value is in the top quarter below 2^32, or if the session time grew and the octets are plausible for that
-- time (radmeter.plausible_octets). Otherwise the router has restarted its counter, and the whole new value is new usage.
-- A packet that is not newer is never taken for a wrap or a restart, since a router's clock that went back would look the
-- same. If it is as late as the latest one and reports no less, it counts what it reports more than that. If it is older,
-- it counts only what exceeds the total, and then the next packet is compared with its value.
-- A total ends at 2^62. Beyond it would be taken for another program's (radmeter.unusable_octets), and replaced.
CREATE OR REPLACE FUNCTION radmeter.counted_offset(
    p_total bigint, p_offset bigint, p_reported bigint, p_newer boolean, p_current boolean, p_gigawords boolean,
    p_session_time bigint, p_last_session_time bigint, p_router_id bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN p_reported IS NULL OR p_total IS NULL OR p_current AND p_reported >= p_total - p_offset THEN p_offset
    WHEN p_newer THEN
        CASE WHEN NOT p_gigawords AND p_total - p_offset <= 4294967295
                  AND (p_total - p_offset >= 3221225472
                       OR p_session_time > p_last_session_time AND p_last_session_time >= 0
                          AND p_reported - (p_total - p_offset) + 4294967296
                              <= radmeter.plausible_octets(p_router_id, p_session_time - p_last_session_time))
             THEN p_offset + 4294967296
             ELSE p_total END
    WHEN p_reported > p_total THEN 0
    ELSE p_offset
END;

CREATE OR REPLACE FUNCTION radmeter.counted_octets(
    p_total bigint, p_offset bigint, p_reported bigint, p_newer boolean, p_current boolean, p_gigawords boolean,
    p_session_time bigint, p_last_session_time bigint, p_router_id bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN p_reported IS NULL THEN p_total
    WHEN p_total IS NULL THEN p_reported
    WHEN p_current AND p_reported >= p_total - p_offset THEN least(p_offset + p_reported, 4611686018427387904)
    WHEN p_newer THEN
        least(radmeter.counted_offset(p_total, p_offset, p_reported, p_newer, p_current, p_gigawords,
                  p_session_time, p_last_session_time, p_router_id) + p_reported, 4611686018427387904)
    ELSE greatest(p_total, p_reported)
END;
