-- radmeter.add_key(id, name, role, tenant, secret_sha256, rate_count, rate_seconds, expires_at): adds a key of the HTTP
-- API.
--   role    reader, noc, billing or tenant
--   tenant  name or number of the tenant, exactly for the role tenant
-- Only who may become the owner of radmeter's tables adds keys that do more than read: a role could else give itself
-- rights by a key.
-- Writes radmeter.api_keys, audit_log. Not the secret and not its hash.
-- SQLSTATE RM001, with the reason: the name is taken, or a value cannot be.
CREATE OR REPLACE FUNCTION radmeter.add_key(
    p_id text, p_name text, p_role text, p_tenant text, p_secret_sha256 bytea, p_rate_count integer,
    p_rate_seconds integer, p_expires_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id bigint;
BEGIN
    IF p_role <> 'reader' AND NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
        RAISE EXCEPTION 'only a member of % may add a key with the role %', current_user, p_role
            USING ERRCODE = 'RM001', HINT = 'Members of radmeter_noc add keys with the role reader.';
    END IF;
    IF p_name = '' OR length(p_name) > 100 OR p_name ~ '[[:cntrl:]]' OR p_name <> btrim(p_name) THEN
        RAISE EXCEPTION '''%'' is not a name: 1 to 100 characters, no blanks at its ends, no control characters', p_name
            USING ERRCODE = 'RM001';
    END IF;
    IF (p_role = 'tenant') <> (p_tenant IS NOT NULL) THEN
        RAISE EXCEPTION 'a key of the role tenant needs a tenant, and no other key has one' USING ERRCODE = 'RM001';
    END IF;
    IF p_expires_at <= now() THEN
        RAISE EXCEPTION 'the key would have expired already, at %', p_expires_at USING ERRCODE = 'RM001';
    END IF;
    IF p_tenant IS NOT NULL THEN
        v_tenant_id := radmeter.tenant_id(p_tenant);
    END IF;
    INSERT INTO radmeter.api_keys
        (id, family, name, role, tenant_id, secret_sha256, rate_count, rate_seconds, expires_at)
    VALUES (p_id, p_id, p_name, p_role, v_tenant_id, p_secret_sha256, p_rate_count, p_rate_seconds, p_expires_at)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a key ''%'' already: `radmeter keys rotate` makes another, `radmeter keys revoke` ends it',
            p_name USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.audit('keys add', jsonb_build_object('id', p_id, 'name', p_name, 'role', p_role, 'tenant_id', v_tenant_id,
        'rate_count', p_rate_count, 'rate_seconds', p_rate_seconds, 'expires_at', p_expires_at));
END;
$$;
