-- radmeter.note_session_starts(usernames): notes in radmeter.quota_change those users whose plan limits the seconds online.
-- With one session more, these are over sooner: radmeter.apply_due_quotas finds out when.
-- Called by radmeter.count_inserted. Writes radmeter.quota_change.
CREATE OR REPLACE FUNCTION radmeter.note_session_starts(p_usernames text[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET enable_nestloop = on SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    INSERT INTO radmeter.quota_change (username)
    SELECT subscriber.username
    FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    WHERE subscriber.username = ANY (p_usernames) AND plan.quota_seconds IS NOT NULL;
$$;
