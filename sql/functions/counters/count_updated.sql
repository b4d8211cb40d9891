-- radmeter.count_updated(): statement trigger on radacct. Adds what updated rows gained to user_quota_usage and
-- router_daily_usage, each counter row once a statement, in the order of its key.
-- An increase belongs to the day and period of its event. radmeter.ingest leaves these in the row. Another writer
-- (rlm_sql, an operator's UPDATE) does not: its increase counts on the day of the row's last update, and is kept as a
-- slice of its own (see radmeter.session_slice). Writes accounting_anomaly if a router's counter wrapped or restarted,
-- up to the limit anomalies_per_router_hour; the rest is counted in radmeter.kept_per_hour.
-- An empty user name is no user, and nothing counts for a router that does not exist, as in radmeter.count_inserted. Else
-- each later packet of such a session would be refused.
-- Users whose counter has come to next_check go to radmeter.apply_quotas: a new counter of a subscriber at once.
-- radmeter backfill, not this trigger, counts the octets that an adopted session had when it was adopted. Before the row
-- changes, they are kept in radmeter.adoption_baseline.
-- Hash joins are forced: transition tables have no statistics, so the planner would guess. They are set on here since a
-- trigger runs under the settings of the function that fired it, and radmeter.update_open has them off. Sequential scans
-- are off: the plan is made at a connection's first batch and kept, and radmeter.session_slice may be empty then.
CREATE OR REPLACE FUNCTION radmeter.count_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_nestloop = off SET enable_hashjoin = on SET enable_mergejoin = on SET enable_seqscan = off
AS $$
DECLARE
    v_shifted bigint[];   -- sessions with a counter that wrapped or was restarted
    v_adopted bigint[];   -- adopted sessions with a change in a column that their adoption baseline depends on
    v_replaced bigint[];  -- those of them whose octets no router can have reported, and a packet replaced
    v_hour timestamptz := date_trunc('hour', now(), 'UTC');
    v_due text[];         -- users whose counter has come to its next_check
    v_most bigint;        -- anomalies of a router that are kept of an hour; NULL: all
BEGIN
    -- The trigger also fires for a statement that changed no row. Most of ingest's statements for rare cases change none.
    IF NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;

    WITH changed AS MATERIALIZED (
        SELECT radacctid, username, router_id, old_username, old_router_id, old_usage_date, old_period_start,
               old_octets_in, old_octets_out, foreign_writer, sliced, reassigned, shifted, adopted, counts,
               replaces, CASE WHEN foreign_writer AND counts THEN radmeter.usage_date(router_id, acctupdatetime)
                    ELSE usage_date END AS usage_date,
               CASE WHEN foreign_writer AND counts THEN radmeter.user_period_start(username, acctupdatetime)
                    ELSE period_start END AS period_start,
               bytes_in, bytes_out
        FROM (
            SELECT after.radacctid, after.username, after.router_id, after.usage_date, after.period_start,
                   before.username AS old_username, before.router_id AS old_router_id,
                   -- NULL: another writer inserted the row while the triggers were off. As in radmeter.recomputed_parts.
                   coalesce(before.usage_date, radmeter.usage_date(before.router_id, radmeter.last_possible_time(
                       coalesce(before.acctupdatetime, before.acctstoptime, before.acctstarttime), now()))) AS old_usage_date,
                   coalesce(before.period_start, radmeter.user_period_start(before.username,
                       radmeter.last_possible_time(coalesce(before.acctupdatetime, before.acctstoptime,
                           before.acctstarttime), now()))) AS old_period_start,
                   coalesce(before.acctinputoctets, 0) AS old_octets_in,
                   coalesce(before.acctoutputoctets, 0) AS old_octets_out,
                   radmeter.last_possible_time(coalesce(after.acctupdatetime, after.acctstoptime, after.acctstarttime),
                       now()) AS acctupdatetime,
                   -- What a packet replaces was never counted, but what another writer added to it was.
                   radmeter.as_counter(coalesce(after.acctinputoctets, 0)::numeric - CASE WHEN replaces
                       THEN coalesce((SELECT coalesce(before.acctinputoctets, 0)::numeric - first.bytes_in
                            FROM radmeter.adoption_baseline AS first WHERE first.radacctid = before.radacctid), 0)
                       ELSE coalesce(before.acctinputoctets, 0) END) AS bytes_in,
                   radmeter.as_counter(coalesce(after.acctoutputoctets, 0)::numeric - CASE WHEN replaces
                       THEN coalesce((SELECT coalesce(before.acctoutputoctets, 0)::numeric - first.bytes_out
                            FROM radmeter.adoption_baseline AS first WHERE first.radacctid = before.radacctid), 0)
                       ELSE coalesce(before.acctoutputoctets, 0) END) AS bytes_out,
                   replaces,
                   -- radmeter sets counted_at with the octets. If it leaves counted_at, it leaves acctupdatetime, too.
                   after.counted_at IS NULL
                       OR after.counted_at = before.counted_at
                          AND after.acctupdatetime IS DISTINCT FROM before.acctupdatetime AS foreign_writer,
                   after.usage_date <> before.usage_date OR after.period_start <> before.period_start AS sliced,
                   after.username IS DISTINCT FROM before.username
                       OR after.router_id IS DISTINCT FROM before.router_id AS reassigned,
                   after.input_offset > before.input_offset OR after.output_offset > before.output_offset AS shifted,
                   coalesce(after.acctinputoctets, 0) <> coalesce(before.acctinputoctets, 0)
                       OR coalesce(after.acctoutputoctets, 0) <> coalesce(before.acctoutputoctets, 0) AS counts,
                   before.adopted IS TRUE AS adopted
            FROM new_rows AS after JOIN old_rows AS before USING (radacctid)
            -- A packet, not another writer, replaces octets that no router can have reported: as in radmeter.update_open.
            CROSS JOIN LATERAL (SELECT coalesce(before.adopted AND before.counted_at IS NULL
                    AND after.counted_at IS NOT NULL
                    AND radmeter.unusable_octets(before.acctinputoctets, before.acctoutputoctets, true), false)
                AS replaces) AS kind
            WHERE after.acctinputoctets IS DISTINCT FROM before.acctinputoctets
               OR after.acctoutputoctets IS DISTINCT FROM before.acctoutputoctets
               OR after.username IS DISTINCT FROM before.username
               OR after.router_id IS DISTINCT FROM before.router_id
               OR after.input_offset > before.input_offset OR after.output_offset > before.output_offset
               OR before.adopted IS TRUE AND (
                   coalesce(after.acctupdatetime, after.acctstoptime, after.acctstarttime)
                       IS DISTINCT FROM coalesce(before.acctupdatetime, before.acctstoptime, before.acctstarttime)
                   OR after.calledstationid IS DISTINCT FROM before.calledstationid
                   OR after.nasipaddress <> before.nasipaddress)
        ) AS change
    ), counted AS MATERIALIZED (
        -- What the sessions had counted before the change, by day and period. It moves with a session to another user or
        -- router. If the session goes on in another day or period, the part that was under way is finished.
        SELECT changed.username, changed.router_id, changed.old_username, changed.old_router_id,
               changed.sliced AND NOT part.finished AS finishes, part.*
        FROM changed
        CROSS JOIN LATERAL radmeter.session_parts(radacctid, old_usage_date, old_period_start,
            old_octets_in, old_octets_out) AS part
        -- An adopted session has counted nothing before its adoption baseline is kept.
        WHERE (changed.reassigned OR changed.sliced)
          AND (NOT changed.adopted OR (SELECT true FROM radmeter.adoption_baseline AS first
                                       WHERE first.radacctid = changed.radacctid))
    ), delta AS NOT MATERIALIZED (
        -- What was gained, what is taken from the old user or router, what is given to the new one. Nothing moves if the
        -- user, or the router, is the same. NOT MATERIALIZED: to compute this twice costs less than to store it, since a
        -- batch seldom has more than gains.
        SELECT username, period_start, router_id, usage_date, bytes_in, bytes_out FROM changed WHERE counts
        UNION ALL
        SELECT CASE WHEN old_username IS DISTINCT FROM username THEN old_username END, period_start,
               CASE WHEN old_router_id IS DISTINCT FROM router_id THEN old_router_id END, usage_date,
               -bytes_in, -bytes_out
        FROM counted
        UNION ALL
        SELECT CASE WHEN old_username IS DISTINCT FROM username THEN username END, period_start,
               CASE WHEN old_router_id IS DISTINCT FROM router_id THEN router_id END, usage_date,
               bytes_in, bytes_out
        FROM counted
    ), routers AS (
        INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
        SELECT router_id, usage_date, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out))
        FROM delta WHERE router_id IS NOT NULL
        GROUP BY router_id, usage_date
        HAVING (SELECT true FROM public.routers AS known WHERE known.id = delta.router_id)
        ORDER BY router_id, usage_date
        ON CONFLICT (router_id, usage_date) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING 1
    ), users AS (
        INSERT INTO public.user_quota_usage AS usage (username, period_start, bytes_in, bytes_out, next_check)
        SELECT username, period_start, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out)),
               (SELECT 0 FROM public.subscribers AS known WHERE known.username = delta.username)
        FROM delta WHERE username <> '' AND (SELECT count(*) FROM routers) IS NOT NULL  -- routers first
        GROUP BY username, period_start ORDER BY username, period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING username, usage.bytes_in::numeric + usage.bytes_out >= next_check AS due
    ), slices AS (
        -- The row has room for one part, that of one day and period. Finished parts and those of other writers are kept as
        -- slices. `counted` does not see the slices that this adds: one statement has one snapshot.
        INSERT INTO radmeter.session_slice AS slice (radacctid, usage_date, period_start, bytes_in, bytes_out)
        SELECT radacctid, usage_date, period_start, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out)) FROM (
            SELECT radacctid, usage_date, period_start, bytes_in, bytes_out FROM changed WHERE foreign_writer AND counts
            UNION ALL
            SELECT radacctid, usage_date, period_start, bytes_in, bytes_out FROM counted WHERE finishes) AS kept
        GROUP BY radacctid, usage_date, period_start
        ON CONFLICT (radacctid, usage_date, period_start) DO UPDATE SET
            bytes_in = radmeter.as_counter(slice.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(slice.bytes_out::numeric + excluded.bytes_out)
    )
    SELECT array_agg(radacctid) FILTER (WHERE shifted), array_agg(radacctid) FILTER (WHERE adopted),
           array_agg(radacctid ORDER BY radacctid) FILTER (WHERE replaces),
           (SELECT array_agg(DISTINCT username) FROM users WHERE due)
    INTO v_shifted, v_adopted, v_replaced, v_due FROM changed WHERE shifted OR adopted;
    IF v_due IS NOT NULL THEN
        PERFORM radmeter.apply_quotas(v_due, true);
    END IF;

    IF v_adopted IS NOT NULL THEN
        -- Not if the change only fills in the router_id for which the adoption baseline counts: the backfill does that
        -- for millions of rows.
        INSERT INTO radmeter.adoption_baseline
            (radacctid, username, router_id, calledstationid, nasipaddress, at, bytes_in, bytes_out)
        SELECT radacctid, before.username, before.router_id, coalesce(before.calledstationid, ''), before.nasipaddress,
               coalesce(before.acctupdatetime, before.acctstoptime, before.acctstarttime),
               coalesce(before.acctinputoctets, 0), coalesce(before.acctoutputoctets, 0)
        FROM old_rows AS before JOIN new_rows AS after USING (radacctid)
        JOIN unnest(v_adopted) AS adopted (radacctid) USING (radacctid)
        WHERE NOT (before.router_id IS NULL
            AND (after.acctinputoctets, after.acctoutputoctets, after.username, after.acctupdatetime,
                 after.acctstoptime, after.acctstarttime, after.calledstationid, after.nasipaddress)
                IS NOT DISTINCT FROM (
                 before.acctinputoctets, before.acctoutputoctets, before.username, before.acctupdatetime,
                 before.acctstoptime, before.acctstarttime, before.calledstationid, before.nasipaddress)
            AND after.router_id IS NOT DISTINCT FROM (
                SELECT known.router_id FROM radmeter.adopted_router AS known
                WHERE known.calledstationid = coalesce(before.calledstationid, '')
                  AND known.nasipaddress = before.nasipaddress))
        ORDER BY radacctid
        ON CONFLICT (radacctid) DO NOTHING;

        IF v_replaced IS NOT NULL THEN
            PERFORM radmeter.replace_history(array_agg(radacctid), array_agg(before.acctinputoctets),
                array_agg(before.acctoutputoctets))
            FROM old_rows AS before WHERE radacctid = ANY (v_replaced);
        END IF;

        PERFORM radmeter.reassign_adopted(
            array_agg(radacctid), array_agg(before.username), array_agg(after.username),
            array_agg(before.router_id), array_agg(after.router_id))
        FROM old_rows AS before JOIN new_rows AS after USING (radacctid)
        JOIN unnest(v_adopted) AS adopted (radacctid) USING (radacctid)
        WHERE (after.username IS DISTINCT FROM before.username OR after.router_id IS DISTINCT FROM before.router_id)
          AND (SELECT true FROM radmeter.adoption_baseline AS first WHERE first.radacctid = before.radacctid)
        HAVING count(*) > 0;
    END IF;

    IF v_shifted IS NOT NULL THEN
        v_most := radmeter.limit_value('anomalies_per_router_hour');
        WITH shift AS MATERIALIZED (
            SELECT CASE WHEN shift.offset_after = shift.offset_before + 4294967296 THEN 'counter wrapped'
                        ELSE 'counter restarted' END AS kind,
                   after.radacctid, after.acctuniqueid, after.username, after.router_id, after.acctupdatetime,
                   shift.direction, shift.octets_before, shift.octets_after,
                   -- What the other reading would have given: the router's value comes on top of the total, or of all
                   -- wraps. Above 32 bits a counter does not wrap.
                   CASE WHEN shift.octets_before - shift.offset_before <= 4294967295
                        THEN shift.octets_after - shift.offset_after
                             + CASE WHEN shift.offset_after = shift.offset_before + 4294967296
                                    THEN shift.octets_before ELSE shift.offset_before + 4294967296 END
                        END AS octets_otherwise,
                   coalesce('#' || after.router_id, 'unknown') AS router
            FROM old_rows AS before JOIN new_rows AS after USING (radacctid)
            CROSS JOIN LATERAL (VALUES
                ('input', before.acctinputoctets, after.acctinputoctets, before.input_offset, after.input_offset),
                ('output', before.acctoutputoctets, after.acctoutputoctets, before.output_offset, after.output_offset)
            ) AS shift (direction, octets_before, octets_after, offset_before, offset_after)
            WHERE after.radacctid = ANY (v_shifted) AND shift.offset_after > shift.offset_before
        ), judged AS MATERIALIZED (
            SELECT shift.*, coalesce(coalesce(hourly.kept, 0)
                       + row_number() OVER (PARTITION BY router ORDER BY radacctid, direction) <= v_most, true) AS fits
            FROM shift LEFT JOIN radmeter.kept_per_hour AS hourly
                ON hourly.kind = 'anomaly' AND hourly.source = '' AND hourly.hour = v_hour AND hourly.client = router
        ), kept AS (
            INSERT INTO public.accounting_anomaly (kind, radacctid, acctuniqueid, username, router_id, event_time,
                                                   direction, octets_before, octets_after, octets_otherwise)
            SELECT kind, radacctid, acctuniqueid, username, router_id, acctupdatetime,
                   direction, octets_before, octets_after, octets_otherwise
            FROM judged WHERE fits
        )
        INSERT INTO radmeter.kept_per_hour AS hourly (kind, source, hour, client, kept, kept_bytes, left_out)
        SELECT 'anomaly', '', v_hour, router, count(*) FILTER (WHERE fits), 0, count(*) FILTER (WHERE NOT fits)
        FROM judged GROUP BY router ORDER BY router
        ON CONFLICT (kind, source, hour, client) DO UPDATE SET
            kept = hourly.kept + excluded.kept, left_out = hourly.left_out + excluded.left_out,
            updated_at = excluded.updated_at;
    END IF;
    RETURN NULL;
END;
$$;
