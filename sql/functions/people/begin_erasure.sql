-- radmeter.begin_erasure(username): begins to erase a user, or goes on with an erasure that was interrupted.
-- The pseudonym is random, so nobody can compute it from the name. It is the same for all rows of one erasure. The
-- pseudonym gets the plans of the user at once, so that packets of erased sessions count in the same periods and against
-- the same limits. A suspended or expired user stays so, and open sessions are still ended. The columns that an operator
-- has added to subscribers are not copied.
-- The lock on backfill_user waits for a range of the backfill that outlived its client: it would count for the name.
-- Returns the pseudonym. Writes radmeter.erasure, subscribers, subscriber_plans, radmeter.adopted_user.
CREATE OR REPLACE FUNCTION radmeter.begin_erasure(p_username text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pseudonym text;
BEGIN
    LOCK TABLE radmeter.backfill_user IN SHARE MODE;
    INSERT INTO radmeter.erasure (username, pseudonym)
    VALUES (p_username, 'erased-' || replace(gen_random_uuid()::text, '-', ''))
    ON CONFLICT (username) DO NOTHING;
    v_pseudonym := radmeter.erasure_pseudonym(p_username);
    INSERT INTO public.subscribers (username, plan_id, quota_start, first_used_at, suspended_at, tenant_id)
    SELECT v_pseudonym, plan_id, quota_start, first_used_at, suspended_at, tenant_id
    FROM public.subscribers WHERE username = p_username
    ON CONFLICT (username) DO NOTHING;
    INSERT INTO public.subscriber_plans (username, plan_id, added_at)
    SELECT v_pseudonym, plan_id, added_at FROM public.subscriber_plans WHERE username = p_username
    ON CONFLICT (username, plan_id) DO NOTHING;
    INSERT INTO radmeter.adopted_user (username, quota_type, anchor_day, quota_start, timezone)
    SELECT v_pseudonym, quota_type, anchor_day, quota_start, timezone
    FROM radmeter.adopted_user WHERE username = p_username
    ON CONFLICT (username) DO NOTHING;
    RETURN v_pseudonym;
END;
$$;
