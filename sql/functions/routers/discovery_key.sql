-- radmeter.discovery_key(mac, nas_mac, nas_identifier, ip): the key by which a discovered router is found again.
-- Returns text: mac:, nas: or ip: and the value; NULL if the packet does not name its router.
CREATE OR REPLACE FUNCTION radmeter.discovery_key(
    p_mac macaddr, p_nas_mac macaddr, p_nas_identifier text, p_ip inet) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN coalesce(p_mac, p_nas_mac) IS NOT NULL THEN 'mac:' || coalesce(p_mac, p_nas_mac)::text
    WHEN p_nas_identifier IS NOT NULL THEN 'nas:' || p_nas_identifier
    ELSE 'ip:' || host(p_ip)
END;
