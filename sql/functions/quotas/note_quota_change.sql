-- radmeter.note_quota_change(): statement trigger on subscribers, subscriber_plans, top_ups, plans and plan_tiers. Notes
-- the users concerned in radmeter.quota_change: radmeter.apply_due_quotas looks at them soon. It only adds rows there, so
-- that a command that changes a plan waits for no packet, and no packet for the command. The state of the users is
-- another from the change on: it needs no account.
-- changed_rows are the new rows, or those deleted. An UPDATE has former_rows, too: a name or a plan may be another one.
-- A plan that only has another name or price, or is retired, concerns no user's quota.
-- Writes radmeter.quota_change.
CREATE OR REPLACE FUNCTION radmeter.note_quota_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_uncounted text[] := ARRAY['name', 'price', 'retired_at'];
    v_plans bigint[];
BEGIN
    IF TG_TABLE_NAME = 'plans' THEN
        v_plans := ARRAY(
            SELECT changed.id FROM changed_rows AS changed LEFT JOIN former_rows AS former ON former.id = changed.id
            WHERE to_jsonb(changed) - v_uncounted IS DISTINCT FROM to_jsonb(former) - v_uncounted);
        IF v_plans <> '{}' THEN
            INSERT INTO radmeter.quota_change (username)
            SELECT username FROM public.subscribers WHERE plan_id = ANY (v_plans)
            UNION
            SELECT username FROM public.subscriber_plans WHERE plan_id = ANY (v_plans);
        END IF;
    ELSIF TG_TABLE_NAME = 'plan_tiers' AND TG_OP = 'UPDATE' THEN
        INSERT INTO radmeter.quota_change (username)
        SELECT username FROM public.subscribers
        WHERE plan_id IN (SELECT plan_id FROM changed_rows UNION SELECT plan_id FROM former_rows);
    ELSIF TG_TABLE_NAME = 'plan_tiers' THEN
        INSERT INTO radmeter.quota_change (username)
        SELECT username FROM public.subscribers WHERE plan_id IN (SELECT plan_id FROM changed_rows);
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO radmeter.quota_change (username)
        SELECT username FROM changed_rows UNION SELECT username FROM former_rows;
    ELSE
        INSERT INTO radmeter.quota_change (username) SELECT DISTINCT username FROM changed_rows;
    END IF;
    RETURN NULL;
END;
$$;
