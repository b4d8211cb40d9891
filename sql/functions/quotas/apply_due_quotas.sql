-- radmeter.apply_due_quotas(most): radmeter.apply_quotas for at most so many users whose plan, top-ups or counters were
-- changed, or whose time has come. Returns how many. If there are many of both kinds, each gets half.
-- A change of everybody (quota_change.everybody) is worked off in the order of the user names, and goes to the end of the
-- changes after each set.
-- Ingest waits meanwhile: it counts for the same users, and locks in its own order.
CREATE OR REPLACE FUNCTION radmeter.apply_due_quotas(p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_share integer := (p_most + (random() < 0.5)::integer) / 2;  -- of those whose time has come; of one, every other
    v_due text[];
    v_changed text[];
    v_after text;
    v_some text[];
    v_noted bigint[];
BEGIN
    IF (SELECT id FROM radmeter.quota_change WHERE at <= now() ORDER BY at, id LIMIT 1) IS NULL
       AND NOT EXISTS (SELECT FROM radmeter.quota_account WHERE due_at <= now()) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    -- A user who was an error waits until that row is due.
    v_due := ARRAY(
        SELECT username FROM radmeter.quota_account AS account
        WHERE due_at <= now() AND NOT EXISTS (
            SELECT FROM radmeter.quota_change AS failed
            WHERE failed.username = account.username AND failed.error IS NOT NULL OFFSET 0)
        ORDER BY due_at LIMIT p_most);
    v_noted := ARRAY(
        SELECT id FROM radmeter.quota_change WHERE at <= now()
        ORDER BY at, id LIMIT p_most - least(v_share, cardinality(v_due)) FOR UPDATE SKIP LOCKED);
    SELECT coalesce(array_agg(DISTINCT username) FILTER (WHERE NOT everybody), '{}'),
           min(username) FILTER (WHERE everybody)
    INTO v_changed, v_after FROM radmeter.quota_change WHERE id = ANY (v_noted);
    IF v_after IS NOT NULL THEN
        v_some := ARRAY(
            SELECT username FROM public.subscribers WHERE username > v_after ORDER BY username
            LIMIT greatest(1, p_most - least(v_share, cardinality(v_due)) - cardinality(v_changed)));
        IF v_some <> '{}' THEN
            INSERT INTO radmeter.quota_change (username, everybody) VALUES (v_some[cardinality(v_some)], true);
        END IF;
        v_changed := v_changed || v_some;
    END IF;
    v_due := v_changed || ARRAY(
        SELECT username FROM unnest(v_due) WITH ORDINALITY AS account (username, number)
        WHERE username <> ALL (v_changed) ORDER BY number LIMIT greatest(0, p_most - cardinality(v_changed)));
    PERFORM radmeter.apply_quotas(v_due, false);
    -- Only now: radmeter.apply_quotas reads when the changes were made. It puts off who is an error again.
    DELETE FROM radmeter.quota_change WHERE id = ANY (v_noted) AND at <= now();
    RETURN cardinality(v_due);
END;
$$;
