-- radmeter.note_quota_change(): statement trigger on subscribers, subscriber_plans, top_ups, plans and plan_tiers. Notes
-- the users concerned in radmeter.quota_change: radmeter.apply_due_quotas looks at them soon. It only adds rows there, so
-- that a command that changes a plan waits for no packet, and no packet for the command. The state of the users is
-- another from the change on: it needs no account.
-- changed_rows are the new rows, or those deleted. An UPDATE has former_rows, too: a name or a plan may be another one.
-- Writes radmeter.quota_change.
CREATE OR REPLACE FUNCTION radmeter.note_quota_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_TABLE_NAME = 'plans' THEN
        INSERT INTO radmeter.quota_change (username)
        SELECT username FROM public.subscribers WHERE plan_id IN (SELECT id FROM changed_rows)
        UNION
        SELECT username FROM public.subscriber_plans WHERE plan_id IN (SELECT id FROM changed_rows);
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
