-- radmeter.find_key(id): what `radmeter serve` needs to check a key. Nothing, if the key was revoked or is not known.
-- Called by `radmeter serve` for each new key, and again every few seconds. Reads radmeter.api_keys, tenants.
CREATE OR REPLACE FUNCTION radmeter.find_key(
    p_id text, OUT name text, OUT role text, OUT tenant_id bigint, OUT tenant text, OUT secret_sha256 bytea,
    OUT rate_count integer, OUT rate_seconds integer, OUT expires_at timestamptz) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT key.name, key.role, key.tenant_id, tenant.name, key.secret_sha256, key.rate_count, key.rate_seconds,
           key.expires_at
    FROM radmeter.api_keys AS key LEFT JOIN radmeter.tenants AS tenant ON tenant.id = key.tenant_id
    WHERE key.id = p_id AND key.revoked_at IS NULL AND (key.expires_at IS NULL OR key.expires_at > now());
$$;
