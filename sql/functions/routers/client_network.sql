-- radmeter.client_network(ip): the network of a RADIUS client, as radmeter.router_network has it: /24 for IPv4, /48 for
-- IPv6. A site with changing addresses mostly keeps its network.
CREATE OR REPLACE FUNCTION radmeter.client_network(p_ip inet) RETURNS cidr
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN family(p_ip) = 4 THEN network(set_masklen(p_ip, 24))
    WHEN p_ip <<= inet '::ffff:0.0.0.0/96' THEN network(set_masklen(radmeter.plain_address(p_ip), 24))
    ELSE network(set_masklen(p_ip, 48))
END;
