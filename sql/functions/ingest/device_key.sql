-- radmeter.device_key(mac, session_id, calling): what radmeter.session_alias has for the device key of a session that the
-- reaper or an Accounting-On/Off closed. NULL if one of the three is missing. A digest, so that it shows nobody's device.
-- No acctuniqueid begins like it.
CREATE OR REPLACE FUNCTION radmeter.device_key(p_mac macaddr, p_session_id text, p_calling text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'device ' || md5(p_mac::text || ' ' || p_session_id || ' ' || nullif(p_calling, ''));
