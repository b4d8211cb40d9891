-- radmeter.webhook_secrets(id): what messages to an endpoint are signed with now, encrypted, the present secret first.
CREATE OR REPLACE FUNCTION radmeter.webhook_secrets(p_id bigint) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[secret, CASE WHEN former_until > now() THEN former_secret END], NULL)
    FROM radmeter.webhook WHERE id = p_id AND retired_at IS NULL;
$$;
