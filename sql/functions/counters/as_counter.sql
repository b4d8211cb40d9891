-- radmeter.as_counter(octets): a sum of octets as the counters store it, in a bigint.
-- A counter stays at the largest bigint when it is full. Packets of one router can do that: 2,048 sessions with 2^52 octets
-- each. Without this, each later packet of that user would be an error. radmeter verify judges with the same bound.
CREATE OR REPLACE FUNCTION radmeter.as_counter(p_octets numeric) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(greatest(p_octets, -9223372036854775807), 9223372036854775807)::bigint;
