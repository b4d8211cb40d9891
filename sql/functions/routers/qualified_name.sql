-- radmeter.qualified_name(username, router_id, at): the name under which a session counts that begins at an instant, or a
-- login is judged. A name without a realm gets that of the router's tenant (radmeter.tenant_realm), if the user's quota
-- period at that instant began on qualify_from or later. So a period that has begun goes on under its name. The period is
-- that of the new name's plan, or of the former name's if the new name has no plan.
-- A name has a realm if it contains @ or a backslash. A pseudonym and an empty name stay.
-- A one-time period does not end: its user keeps the name.
CREATE OR REPLACE FUNCTION radmeter.qualified_name(p_username text, p_router_id bigint, p_at timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((
        SELECT step.name
        FROM (
            SELECT tenant.qualify_from, p_username || coalesce('@' || tenant.realm, '') AS name,
                   p_username || coalesce('@' || lag(tenant.realm) OVER (ORDER BY tenant.qualify_from), '') AS former
            FROM public.routers AS router
            JOIN radmeter.tenant_realm AS tenant ON tenant.tenant_id = router.tenant_id
            WHERE router.id = p_router_id AND p_username <> '' AND p_username !~ '[@\\]'
              AND NOT radmeter.is_pseudonym(p_username)) AS step
        WHERE step.qualify_from <= radmeter.user_period_start(
            CASE WHEN EXISTS (SELECT FROM public.subscribers WHERE username = step.name) THEN step.name
                 ELSE step.former END, p_at)
        ORDER BY step.qualify_from DESC LIMIT 1), p_username);
$$;
