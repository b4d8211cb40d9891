-- radmeter.may_name_router(client_ip, clients): whether a packet of a RADIUS client may name a router.
--   clients  routers.clients; NULL: any client may
-- An IPv4-mapped IPv6 address is taken for the IPv4 address. A packet that does not have its client may name only a
-- router that any client may name.
CREATE OR REPLACE FUNCTION radmeter.may_name_router(p_client_ip inet, p_clients cidr[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_clients IS NULL OR coalesce(radmeter.plain_address(p_client_ip) <<= ANY (p_clients), false);
