-- radmeter.discovery_client(ip): the name under which the discoveries of a RADIUS client are counted.
-- Returns its address as text, or unknown if the packet does not have it. If a thousand clients discovered routers within
-- a day, a further one is counted under others. So neither the table nor the limit routers grow with forged addresses.
-- Reads radmeter.discovery_count.
CREATE OR REPLACE FUNCTION radmeter.discovery_client(p_ip inet) RETURNS text
LANGUAGE sql STABLE
RETURN CASE
    WHEN p_ip IS NULL THEN 'unknown'
    WHEN EXISTS (SELECT FROM radmeter.discovery_count WHERE client = host(radmeter.plain_address(p_ip)))
        OR (SELECT count(*) FROM radmeter.discovery_count WHERE began_at > now() - interval '1 day') < 1000
        THEN host(radmeter.plain_address(p_ip))
    ELSE 'others'
END;
