-- radmeter.audit_digest(salt, id, at, who, operator, action, detail): the SHA-256 of a line of audit_log.
-- It is the same after dump and restore, and whatever TimeZone and DateStyle are: the time is in seconds since 1970, and
-- jsonb has one text for each value.
CREATE OR REPLACE FUNCTION radmeter.audit_digest(
    p_salt bytea, p_id bigint, p_at timestamptz, p_who text, p_operator text, p_action text, p_detail jsonb)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(p_salt || convert_to(jsonb_build_array(
    p_id, extract(epoch FROM p_at)::text, p_who, p_operator, p_action, p_detail)::text, 'UTF8'));
