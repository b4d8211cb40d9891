-- radmeter.judge_login(username, nas_identifier, called_station, calling_station, nas_address, source_address): whether a
-- user may log in, and with which limits. Called by radmeter.authorize, which has the parameters and the settings of the
-- planner.
-- Returns the rows of the answer: id, username, attribute, value, op. There is always one with Tmp-String-9, for unlang:
-- accept, or why the user is refused: over, time, expired, suspended, sessions, unknown. A refusal has the operator's
-- Reply-Message and no limits. Tmp-Integer-9 is the plan's own session timeout, for the cache. If a tenant has a realm and
-- the name that was sent has none, Tmp-String-6 is what was added to the name, in hexadecimal, or - if nothing was: the
-- cache keeps users of several tenants apart by it.
-- What is left is shared with the user's other sessions. Not counted among these are sessions without packets for too long,
-- and those of the same device, which the new one replaces: the same Calling-Station-Id at the same router, or the same MAC
-- anywhere.
-- At a router without a secret for CoA, or that has answered no request for 10 minutes, nothing can be changed later. So
-- the session ends at the next tier and with the period. The users of such routers come back over a minute, not all at
-- once.
-- A name without a realm gets that of the router's tenant (radmeter.tenant_realm), as in ingest.
-- Reads subscribers, plans, plan_tiers, radacct, routers, radmeter.router_coa, router_coa_state, setting, and what
-- radmeter.quota_state reads. Writes subscribers.first_used_at, with which the validity of a plan begins, and how many
-- were refused (radmeter.note_refused).
CREATE OR REPLACE FUNCTION radmeter.judge_login(
    p_username text, p_nas_identifier text, p_called_station text, p_calling_station text,
    p_nas_address text, p_source_address text)
RETURNS TABLE (id integer, username text, attribute text, value text, op text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_sent text := radmeter.text_of_octets(decode(p_username, 'hex'));
    v_username text := v_sent;
    v_nas_identifier text := nullif(radmeter.text_of_octets(decode(p_nas_identifier, 'hex')), '');
    v_calling text := nullif(radmeter.text_of_octets(decode(p_calling_station, 'hex')), '');
    v_calling_mac macaddr := radmeter.leading_mac(v_calling, false);
    v_router_id bigint := radmeter.match_router(
        radmeter.leading_mac(radmeter.text_of_octets(decode(p_called_station, 'hex')), false),
        radmeter.leading_mac(v_nas_identifier, true), v_nas_identifier,
        radmeter.plain_address(coalesce(nullif(p_nas_address, ''), nullif(p_source_address, ''))::inet));
    v_subscriber record;
    v_state record;
    v_router record;
    v_others bigint;
    v_refused text;
    v_settings jsonb;
    v_expires_at timestamptz;
    v_next_tier bigint;
    v_shared numeric;
    v_resets boolean;
    v_timeout numeric;
    v_added text;
BEGIN
    IF EXISTS (SELECT FROM radmeter.tenant_realm) AND strpos(v_sent, '@') = 0 AND strpos(v_sent, '\') = 0 THEN
        v_username := radmeter.qualified_name(v_sent, v_router_id, now());
        v_added := coalesce(nullif(encode(convert_to(substr(v_username, length(v_sent) + 1), 'UTF8'), 'hex'), ''), '-');
    END IF;
    SELECT jsonb_object_agg(each.name, each.value) INTO v_settings FROM radmeter.login_settings() AS each;
    SELECT subscriber.suspended_at, subscriber.first_used_at, plan.valid_seconds INTO v_subscriber
    FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    WHERE subscriber.username = v_username;
    IF NOT FOUND THEN
        v_refused := CASE WHEN v_settings ->> 'unknown_users' = 'refuse' THEN 'unknown' END;
    END IF;
    SELECT * INTO v_state FROM radmeter.quota_state(ARRAY[v_username], now());
    IF v_state.status IN ('over', 'expired', 'suspended') THEN
        v_refused := v_state.reason;
    END IF;

    IF v_refused IS NULL THEN
        SELECT count(*) INTO v_others
        FROM public.radacct AS session LEFT JOIN public.routers AS router ON router.id = session.router_id
        WHERE session.username = v_username AND session.acctstoptime IS NULL
          AND coalesce(session.arrived_at, session.acctupdatetime, session.acctstarttime) >= radmeter.reaper_time()
              - radmeter.stale_after(session.interim_interval, router.interim_interval,
                                     radmeter.setting_value('stale_minutes')::integer)
          AND (session.callingstationid = v_calling AND session.router_id IS NOT DISTINCT FROM v_router_id
               OR radmeter.leading_mac(session.callingstationid, false) = v_calling_mac) IS NOT TRUE;
        IF v_others >= v_state.max_sessions THEN
            v_refused := 'sessions';
        END IF;
    END IF;
    IF v_refused IS NOT NULL THEN
        PERFORM radmeter.note_refused(v_refused);
        -- In quotes, without which a first character could mean more to FreeRADIUS: a program to run in back quotes.
        RETURN QUERY SELECT 1, v_username, 'Reply-Message'::text,
            '''' || replace(replace(v_settings ->> ('message_' || v_refused), '\', '\\'), '''', '\''') || '''', ':='::text
        UNION ALL SELECT 2, v_username, 'Tmp-String-9', v_refused, ':='
        UNION ALL SELECT 3, v_username, 'Tmp-String-6', v_added, ':=' WHERE v_added IS NOT NULL;
        RETURN;
    END IF;

    v_expires_at := v_state.expires_at;
    IF v_subscriber.valid_seconds IS NOT NULL AND v_subscriber.first_used_at IS NULL THEN
        -- In the order in which radmeter.apply_quotas locks.
        PERFORM FROM radmeter.quota_account AS account WHERE account.username = v_username FOR UPDATE;
        UPDATE public.subscribers AS subscriber SET first_used_at = now()
        WHERE subscriber.username = v_username AND subscriber.first_used_at IS NULL;
        v_expires_at := now() + v_subscriber.valid_seconds * interval '1 second';
    END IF;

    SELECT coalesce(router.vendor, 'generic') AS vendor, coalesce(router.swapped, false) AS swapped,
           router.secret IS NOT NULL AND (known.silent_since > now() - interval '10 minutes') IS NOT FALSE AS has_coa
    INTO v_router
    FROM (VALUES (v_router_id)) AS asked (router_id) LEFT JOIN radmeter.router_coa AS router USING (router_id)
    LEFT JOIN radmeter.router_coa_state AS known USING (router_id);
    SELECT min(tier.from_bytes) INTO v_next_tier FROM public.plan_tiers AS tier
    WHERE tier.plan_id = v_state.plan_id AND tier.from_bytes > v_state.used_bytes
      -- By CoA a tier comes into force within the session. One that is off ends it.
      AND (NOT v_router.has_coa OR tier.speed_up IS NULL AND tier.speed_down IS NULL);
    v_shared := v_others + 1;
    v_resets := NOT v_router.has_coa
        AND (v_state.quota_bytes IS NOT NULL OR v_state.quota_in IS NOT NULL OR v_state.quota_out IS NOT NULL
             OR v_state.quota_seconds IS NOT NULL
             OR EXISTS (SELECT FROM public.plan_tiers AS tier WHERE tier.plan_id = v_state.plan_id));
    v_timeout := least(
        v_state.session_timeout,
        -- greatest() ignores NULL.
        CASE WHEN v_state.remaining_seconds IS NOT NULL THEN greatest(1, trunc(v_state.remaining_seconds / v_shared)) END,
        CASE WHEN v_expires_at IS NOT NULL THEN greatest(1, ceil(extract(epoch FROM v_expires_at - now()))) END,
        CASE WHEN v_resets THEN ceil(extract(epoch FROM v_state.period_ends_at - now()))
                                + (hashtextextended(v_username, 0) & 63) END,
        2147483647);

    RETURN QUERY
    SELECT (row_number() OVER ())::integer, v_username, reply.attribute, reply.value, reply.op
    FROM (
        SELECT 'Tmp-String-9' AS attribute, 'accept' AS value, ':=' AS op
        UNION ALL SELECT 'Tmp-String-6', v_added, ':=' WHERE v_added IS NOT NULL
        UNION ALL SELECT 'Tmp-Integer-9', v_state.session_timeout::text, ':=' WHERE v_state.session_timeout IS NOT NULL
        UNION ALL SELECT 'Session-Timeout', v_timeout::bigint::text, ':=' WHERE v_timeout < 2147483647
        UNION ALL SELECT 'Idle-Timeout', v_state.idle_timeout::text, ':=' WHERE v_state.idle_timeout IS NOT NULL
        UNION ALL SELECT 'Acct-Interim-Interval', v_settings ->> 'interim_seconds', ':='
        WHERE v_settings ->> 'interim_seconds' <> 'off'
        -- In the form of FreeRADIUS's own policy insert_acct_class. A Class that is there already stays.
        UNION ALL SELECT 'Class', 'ai:' || replace(gen_random_uuid()::text, '-', ''), '='
        WHERE v_settings ->> 'class' = 'on'
        UNION ALL
        SELECT limits.attribute, limits.value, ':='
        FROM radmeter.login_attributes(v_router.vendor, v_router.swapped,
            trunc(least(v_state.remaining_bytes, v_next_tier - v_state.used_bytes) / v_shared)::bigint,
            trunc(v_state.remaining_in / v_shared)::bigint, trunc(v_state.remaining_out / v_shared)::bigint,
            v_state.speed_up, v_state.speed_down) AS limits
        -- What a CoA-Request cannot change would cut the user who has bought more.
        WHERE NOT v_router.has_coa OR v_settings ->> 'octet_limits' = 'always' OR EXISTS (
            SELECT FROM radmeter.vendor_attributes() AS known
            WHERE known.vendor = v_router.vendor
              AND limits.attribute IN (known.attribute, known.gigawords_attribute)
              AND (known.in_coa OR known.purpose NOT IN ('octets_total', 'octets_in', 'octets_out')))
        UNION ALL
        SELECT known.attribute, substr(known.unit, 6) || role.name,
               CASE known.attribute WHEN 'Cisco-AVPair' THEN '+=' ELSE ':=' END
        FROM radmeter.vendor_attributes() AS known, radmeter.role_in_force(v_state.plan_id, v_state.used_bytes) AS role (name)
        WHERE known.vendor = v_router.vendor AND known.purpose = 'role' AND known.at_login AND role.name IS NOT NULL
    ) AS reply;
END;
$$;
