-- radmeter.rotate_key(name, id, secret_sha256, overlap): puts another key in the place of the one of this name. It has the
-- same role, tenant and rate, and knows the answers to its writes. The old one holds for so long yet, so that clients can change over one by one.
-- Returns when the old one ends. Writes radmeter.api_keys, audit_log.
-- SQLSTATE RM001, with the reason: there is no such key, or the caller may not add one of its role.
CREATE OR REPLACE FUNCTION radmeter.rotate_key(p_name text, p_id text, p_secret_sha256 bytea, p_overlap interval)
RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_old radmeter.api_keys%ROWTYPE;
    v_until timestamptz;
BEGIN
    SELECT * INTO v_old FROM radmeter.api_keys
    WHERE name = p_name AND rotated_at IS NULL AND revoked_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no key ''%'' in use: `radmeter keys list` lists them', p_name USING ERRCODE = 'RM001';
    END IF;
    IF v_old.role <> 'reader' AND NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
        RAISE EXCEPTION 'only a member of % may rotate a key with the role %', current_user, v_old.role
            USING ERRCODE = 'RM001';
    END IF;
    IF p_overlap < interval '0' OR p_overlap > interval '90 days' THEN
        RAISE EXCEPTION 'the old key can hold for 90 days at most' USING ERRCODE = 'RM001';
    END IF;
    IF v_old.expires_at <= now() THEN
        RAISE EXCEPTION 'the key ''%'' has expired: revoke it, and add another', p_name USING ERRCODE = 'RM001';
    END IF;
    v_until := least(now() + p_overlap, v_old.expires_at);
    UPDATE radmeter.api_keys SET rotated_at = now(), expires_at = v_until WHERE id = v_old.id;
    INSERT INTO radmeter.api_keys
        (id, family, name, role, tenant_id, secret_sha256, rate_count, rate_seconds, expires_at)
    VALUES (p_id, v_old.family, p_name, v_old.role, v_old.tenant_id, p_secret_sha256, v_old.rate_count, v_old.rate_seconds,
        v_old.expires_at);
    PERFORM radmeter.audit('keys rotate', jsonb_build_object('name', p_name, 'old_id', v_old.id, 'id', p_id, 'until', v_until));
    RETURN v_until;
END;
$$;
