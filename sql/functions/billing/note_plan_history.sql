-- radmeter.note_plan_history(): statement trigger on subscribers and subscriber_plans. Notes which plans users got and lost,
-- when, and whose users they were, in radmeter.plan_history: days are charged by it. The first argument is main or further.
-- A user who becomes another tenant's has got all plans from there: he has not lost them before, so a one-time plan is not
-- given again.
-- Each statement has its instant, so that changes are in order; what one transaction changed has the same `together`. So a
-- main plan that becomes a further one is not given again either.
-- Of a user who was renamed the old name has lost what the new one has (radmeter.note_rename).
-- changed_rows are the new rows, or those deleted. An UPDATE has former_rows, too. The pseudonym of an erased person has plans
-- so that the usage stays in its periods, and gets no history of its own (radmeter.finish_erasure).
-- Writes radmeter.plan_history.
CREATE OR REPLACE FUNCTION radmeter.note_plan_history() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_main boolean := TG_ARGV[0] = 'main';
    v_now timestamptz := clock_timestamp();
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id, together)
        SELECT change.username, change.plan_id, v_now, change.held, v_main,
               CASE WHEN change.held THEN subscriber.tenant_id END, now()
        FROM (SELECT username, plan_id, false AS held FROM (
                  SELECT username, plan_id FROM former_rows EXCEPT SELECT username, plan_id FROM changed_rows) AS lost
              UNION ALL
              SELECT username, plan_id, true FROM (
                  SELECT username, plan_id FROM changed_rows EXCEPT SELECT username, plan_id FROM former_rows) AS got
             ) AS change
        LEFT JOIN public.subscribers AS subscriber ON subscriber.username = change.username
        WHERE NOT radmeter.is_pseudonym(change.username)
          -- Noted by radmeter.note_rename.
          AND NOT (change.held AND coalesce((
                SELECT latest.renamed AND latest.together = now() FROM radmeter.plan_history AS latest
                WHERE latest.username = change.username AND latest.plan_id = change.plan_id AND latest.main = v_main
                ORDER BY latest.id DESC LIMIT 1), false))
        ORDER BY change.held, change.username, change.plan_id;
        IF v_main THEN
            INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id, together)
            SELECT moved.username, held.plan_id, v_now, true, held.main, moved.tenant_id, now()
            FROM (SELECT changed.username, changed.plan_id, changed.tenant_id, former.plan_id AS former_plan_id
                  FROM changed_rows AS changed JOIN former_rows AS former USING (username)
                  WHERE changed.tenant_id IS DISTINCT FROM former.tenant_id) AS moved
            CROSS JOIN LATERAL (
                SELECT moved.plan_id, true AS main WHERE moved.plan_id = moved.former_plan_id
                UNION ALL
                SELECT further.plan_id, false FROM public.subscriber_plans AS further
                WHERE further.username = moved.username) AS held
            WHERE NOT radmeter.is_pseudonym(moved.username)
            ORDER BY moved.username, held.plan_id;
        END IF;
    ELSE
        INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id, together)
        SELECT changed.username, changed.plan_id, v_now, TG_OP = 'INSERT', v_main,
               CASE WHEN TG_OP = 'INSERT' THEN subscriber.tenant_id END, now()
        FROM changed_rows AS changed
        LEFT JOIN public.subscribers AS subscriber ON subscriber.username = changed.username
        WHERE NOT radmeter.is_pseudonym(changed.username)
        ORDER BY changed.username, changed.plan_id;
    END IF;
    RETURN NULL;
END;
$$;
