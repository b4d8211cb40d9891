-- radmeter.note_quota_change(): statement trigger on subscribers, subscriber_plans, top_ups, plans and plan_tiers. Marks
-- the accounts of the users concerned as due: radmeter.apply_due_quotas looks at them soon. Their state needs no account.
-- Writes radmeter.quota_account.
CREATE OR REPLACE FUNCTION radmeter.note_quota_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_names text[];
BEGIN
    IF TG_TABLE_NAME = 'plans' THEN
        SELECT array_agg(username ORDER BY username) INTO v_names FROM public.subscribers
        WHERE plan_id IN (SELECT id FROM changed_rows)
           OR username IN (SELECT username FROM public.subscriber_plans WHERE plan_id IN (SELECT id FROM changed_rows));
    ELSIF TG_TABLE_NAME = 'plan_tiers' THEN
        SELECT array_agg(username ORDER BY username) INTO v_names FROM public.subscribers
        WHERE plan_id IN (SELECT plan_id FROM changed_rows);
    ELSE
        SELECT array_agg(DISTINCT username ORDER BY username) INTO v_names FROM changed_rows;
    END IF;
    IF v_names IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM FROM radmeter.quota_account WHERE username = ANY (v_names) ORDER BY username FOR UPDATE;
    INSERT INTO radmeter.quota_account AS account (username, period_start, due_at)
    SELECT username, radmeter.user_period_start(username, now()), now() FROM unnest(v_names) AS changed (username)
    ORDER BY username
    ON CONFLICT (username) DO UPDATE SET due_at = now();
    RETURN NULL;
END;
$$;
