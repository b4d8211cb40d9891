-- radmeter.qualified_names(usernames, router_ids, times): the names under which sessions count that begin at these instants,
-- or logins are judged. A name without a realm gets that of the router's tenant (radmeter.tenant_realm), if the user's quota
-- period at that instant began on qualify_from or later. So a period that has begun goes on under its name. The period is
-- that of the new name's plan, or of the former name's if the new name has no plan.
-- A name has a realm if it contains @ or a backslash. A pseudonym and an empty name stay.
-- A one-time period does not end: its user keeps the name.
-- Returns the place in the arrays, from 1, and the name, of those that have another name than was given.
-- Index lookups for each name: a batch has few names, and there may be many subscribers.
CREATE OR REPLACE FUNCTION radmeter.qualified_names(p_usernames text[], p_router_ids bigint[], p_times timestamptz[])
RETURNS TABLE (number bigint, name text)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
    WITH step AS MATERIALIZED (
        SELECT tenant_id, qualify_from, coalesce('@' || realm, '') AS realm,
               coalesce('@' || lag(realm) OVER (PARTITION BY tenant_id ORDER BY qualify_from), '') AS former_realm,
               radmeter.setting_value('timezone') AS timezone
        FROM radmeter.tenant_realm
    )
    SELECT number, found.name
    FROM (
        SELECT DISTINCT ON (sent.number) sent.number, sent.username, sent.username || step.realm AS name
        FROM unnest(p_usernames, p_router_ids, p_times) WITH ORDINALITY AS sent (username, router_id, at, number)
        JOIN public.routers AS router ON router.id = sent.router_id
        JOIN step ON step.tenant_id = router.tenant_id
        LEFT JOIN public.subscribers AS new ON new.username = sent.username || step.realm
        LEFT JOIN public.subscribers AS former
            ON former.username = sent.username || step.former_realm AND new.username IS NULL
        LEFT JOIN public.plans AS plan ON plan.id = coalesce(new.plan_id, former.plan_id)
        WHERE sent.username <> '' AND strpos(sent.username, '@') = 0 AND strpos(sent.username, '\') = 0
          AND NOT radmeter.is_pseudonym(sent.username)
          AND step.qualify_from <= radmeter.period_start(
              plan.quota_type, plan.anchor_day, coalesce(new.quota_start, former.quota_start),
              (sent.at AT TIME ZONE coalesce(plan.timezone, step.timezone))::date)
        ORDER BY sent.number, step.qualify_from DESC) AS found
    WHERE found.name <> found.username;
$$;
