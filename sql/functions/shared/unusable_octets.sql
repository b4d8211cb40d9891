-- radmeter.unusable_octets(octets_in, octets_out, before_radmeter): whether the octets of a session cannot go on being
-- counted from, so that a packet replaces them: in a session from before radmeter, those that no router can have reported
-- (radmeter.history_fault); else those near the end of a bigint, which only another program can have written.
-- Never NULL.
CREATE OR REPLACE FUNCTION radmeter.unusable_octets(p_octets_in bigint, p_octets_out bigint, p_before_radmeter boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_before_radmeter THEN radmeter.history_fault(p_octets_in, p_octets_out, NULL) IS NOT NULL
            ELSE coalesce(greatest(p_octets_in, p_octets_out) > 4611686018427387904
                          OR least(p_octets_in, p_octets_out) < -4611686018427387904, false) END;
