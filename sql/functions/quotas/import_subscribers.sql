-- radmeter.import_subscribers(lines): imports a batch of lines of a list of users. A second import changes nothing.
--   lines  JSON array of {"line", "username", "plan", "also", "attribute", "password", "tenant"}. plan may be null for a
--          user who has one. also is an array of the names of all further plans; null changes nothing. attribute and
--          password are as radmeter.store_passwords takes them, and are used for users who are added. tenant is a name or
--          number, or none; null changes nothing. No name may come twice.
-- Returns for each line the outcome (added, changed, unchanged or refused), and why it was refused.
-- A user who gets another plan is treated as by radmeter.assign_plan. The jobs look at the accounts soon.
-- Takes the lock of radmeter.ingest. Writes subscribers, subscriber_plans, radcheck, top_ups, radmeter.quota_account;
-- audit_log if it adds or changes a user.
-- SQLSTATE RM001, with the reason: passwords cannot be stored, or the lines cannot be read.
CREATE OR REPLACE FUNCTION radmeter.import_subscribers(p_lines json)
RETURNS TABLE (line bigint, outcome text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_judged jsonb;
    v_names text[];
    v_plans bigint[];
BEGIN
    BEGIN
        PERFORM count(*) FROM json_to_recordset(p_lines)
            AS given (line bigint, username text, plan text, also text[], attribute text, password text, tenant text);
    EXCEPTION WHEN data_exception THEN
        -- PostgreSQL's own message would write the lines, with the passwords in them, into the server's log.
        RAISE EXCEPTION 'a line has a character that PostgreSQL cannot store, or a value of another kind'
            USING ERRCODE = 'RM001';
    END;
    PERFORM radmeter.lock_plans(ARRAY(
        SELECT given.plan FROM json_to_recordset(p_lines) AS given (plan text)
        UNION SELECT json_array_elements_text(given.also) FROM json_to_recordset(p_lines) AS given (also json)
        WHERE json_typeof(given.also) = 'array'), false);
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(p_lines)
            AS given (line bigint, username text, plan text, also text[], attribute text, password text, tenant text)
    ), asked_tenant AS MATERIALIZED (
        SELECT asked.tenant, (
                   SELECT each.id FROM radmeter.tenants AS each
                   WHERE each.retired_at IS NULL AND (each.name = asked.tenant OR each.id::text = asked.tenant)
                   ORDER BY each.name = asked.tenant DESC LIMIT 1) AS id
        FROM (SELECT DISTINCT given.tenant FROM given WHERE given.tenant IS NOT NULL) AS asked
    ), found AS MATERIALIZED (
        SELECT given.*, subscriber.username IS NOT NULL AS there, subscriber.plan_id AS old_id, own.id AS new_id,
               own.retired_at, subscriber.tenant_id AS old_tenant, asked_tenant.id AS new_tenant,
               ARRAY(SELECT further.plan_id FROM public.subscriber_plans AS further
                     WHERE further.username = given.username ORDER BY 1) AS old_also,
               ARRAY(SELECT DISTINCT other.id FROM public.plans AS other WHERE other.name = ANY (given.also) ORDER BY 1)
                   AS new_also,
               (SELECT asked.name FROM unnest(given.also) AS asked (name)
                WHERE NOT EXISTS (SELECT FROM public.plans AS other WHERE other.name = asked.name) LIMIT 1) AS unknown,
               (SELECT other.name FROM public.plans AS other
                WHERE other.name = ANY (given.also) AND other.retired_at IS NOT NULL
                  AND NOT EXISTS (SELECT FROM public.subscriber_plans AS further
                                  WHERE further.username = given.username AND further.plan_id = other.id)
                LIMIT 1) AS retired
        FROM given
        LEFT JOIN public.subscribers AS subscriber ON subscriber.username = given.username
        LEFT JOIN public.plans AS own ON own.name = given.plan
        LEFT JOIN asked_tenant ON asked_tenant.tenant = given.tenant
    ), judged AS (
        SELECT found.*, coalesce(radmeter.user_name_fault(username), CASE
            WHEN plan IS NULL AND NOT there THEN format('"%s" has no plan yet: give one', username)
            WHEN plan IS NOT NULL AND new_id IS NULL THEN format('there is no plan "%s"', plan)
            WHEN new_id IS DISTINCT FROM old_id AND retired_at IS NOT NULL THEN format('the plan "%s" is retired', plan)
            WHEN unknown IS NOT NULL THEN format('there is no plan "%s"', unknown)
            WHEN retired IS NOT NULL THEN format('the plan "%s" is retired', retired)
            WHEN coalesce(new_id, old_id) = ANY (new_also) THEN
                'the own plan of a user is no further plan: leave it out of also'
            WHEN tenant <> 'none' AND new_tenant IS NULL THEN format('there is no tenant "%s", or it is retired', tenant)
        END) AS fault
        FROM found
    )
    SELECT jsonb_agg(jsonb_build_object(
               'line', line, 'username', username, 'reason', fault, 'plan_id', coalesce(new_id, old_id), 'plan', plan,
               'also', also, 'also_ids', CASE WHEN also IS NOT NULL THEN new_also END, 'attribute', attribute,
               'password', password, 'new_plan', there AND new_id <> old_id, 'tenant', tenant,
               'tenant_id', CASE WHEN tenant IS NULL THEN old_tenant ELSE new_tenant END,
               'outcome', CASE WHEN fault IS NOT NULL THEN 'refused' WHEN NOT there THEN 'added'
                               WHEN new_id <> old_id OR also IS NOT NULL AND new_also <> old_also
                                    OR tenant IS NOT NULL AND new_tenant IS DISTINCT FROM old_tenant THEN 'changed'
                               ELSE 'unchanged' END) ORDER BY line)
    INTO v_judged FROM judged;

    SELECT coalesce(array_agg(username ORDER BY username), '{}'), coalesce(array_agg(plan_id ORDER BY username), '{}')
    INTO v_names, v_plans
    FROM jsonb_to_recordset(v_judged) AS each (username text, plan_id bigint, outcome text, new_plan boolean)
    WHERE outcome = 'changed' AND new_plan;
    IF v_names <> '{}' THEN
        PERFORM radmeter.apply_quotas(v_names, false);
        PERFORM radmeter.give_plan(v_names, v_plans);
    END IF;
    UPDATE public.subscribers AS subscriber SET tenant_id = each.tenant_id
    FROM jsonb_to_recordset(v_judged) AS each (username text, outcome text, tenant_id bigint)
    WHERE each.outcome = 'changed' AND subscriber.username = each.username
      AND subscriber.tenant_id IS DISTINCT FROM each.tenant_id;
    INSERT INTO public.subscribers (username, plan_id, quota_start, tenant_id)
    SELECT each.username, plan.id,
           (now() AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date, each.tenant_id
    FROM jsonb_to_recordset(v_judged) AS each (username text, plan_id bigint, outcome text, tenant_id bigint)
    JOIN public.plans AS plan ON plan.id = each.plan_id
    WHERE each.outcome = 'added' ORDER BY each.username;
    DELETE FROM public.subscriber_plans AS further
    USING jsonb_to_recordset(v_judged) AS each (username text, outcome text, also_ids bigint[])
    WHERE each.outcome = 'changed' AND further.username = each.username AND NOT further.plan_id = ANY (each.also_ids);
    INSERT INTO public.subscriber_plans (username, plan_id)
    SELECT each.username, unnest(each.also_ids)
    FROM jsonb_to_recordset(v_judged) AS each (username text, outcome text, also_ids bigint[])
    WHERE each.outcome IN ('added', 'changed') ORDER BY 1, 2
    ON CONFLICT DO NOTHING;
    PERFORM radmeter.store_passwords(array_agg(each.username), each.attribute, array_agg(each.password))
    FROM jsonb_to_recordset(v_judged) AS each (username text, outcome text, attribute text, password text)
    WHERE each.outcome = 'added' AND each.password IS NOT NULL GROUP BY each.attribute;
    PERFORM radmeter.audit('users import', jsonb_agg(jsonb_build_object(
            'outcome', each.outcome, 'username', each.username, 'plan', each.plan, 'also', each.also,
            'tenant', each.tenant,
            'password_stored_as', CASE WHEN each.outcome = 'added' THEN each.attribute END) ORDER BY each.line))
    FROM jsonb_to_recordset(v_judged)
        AS each (line bigint, username text, outcome text, plan text, also text[], attribute text, tenant text)
    WHERE each.outcome IN ('added', 'changed') HAVING count(*) > 0;
    RETURN QUERY SELECT each.line, each.outcome, each.reason
        FROM jsonb_to_recordset(v_judged) AS each (line bigint, outcome text, reason text) ORDER BY each.line;
END;
$$;
