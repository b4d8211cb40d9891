-- radmeter.note_plan_history(): statement trigger on subscribers and subscriber_plans. Notes which plans users got and lost,
-- and when, in radmeter.plan_history: days are charged by it. The first argument is main or further.
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
        INSERT INTO radmeter.plan_history (username, plan_id, at, held, main)
        SELECT username, plan_id, v_now, held, v_main
        FROM (SELECT username, plan_id, false AS held FROM (
                  SELECT username, plan_id FROM former_rows EXCEPT SELECT username, plan_id FROM changed_rows) AS lost
              UNION ALL
              SELECT username, plan_id, true FROM (
                  SELECT username, plan_id FROM changed_rows EXCEPT SELECT username, plan_id FROM former_rows) AS got
             ) AS change
        WHERE NOT radmeter.is_pseudonym(username)
        ORDER BY held, username, plan_id;
    ELSE
        INSERT INTO radmeter.plan_history (username, plan_id, at, held, main)
        SELECT username, plan_id, v_now, TG_OP = 'INSERT', v_main FROM changed_rows
        WHERE NOT radmeter.is_pseudonym(username)
        ORDER BY username, plan_id;
    END IF;
    RETURN NULL;
END;
$$;
