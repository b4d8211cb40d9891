-- radmeter.plain_address(ip): an address as it is compared. An IPv4-mapped IPv6 address (::ffff:192.0.2.7) becomes the
-- IPv4 address. Any prefix length is left out.
CREATE OR REPLACE FUNCTION radmeter.plain_address(p_ip inet) RETURNS inet
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN family(p_ip) = 4 THEN set_masklen(p_ip, 32)
    WHEN p_ip <<= inet '::ffff:0.0.0.0/96'
        THEN inet '0.0.0.0' + (set_masklen(p_ip, 128) - inet '::ffff:0.0.0.0')
    ELSE set_masklen(p_ip, 128)
END;
