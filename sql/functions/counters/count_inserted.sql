-- radmeter.count_inserted(): statement trigger on radacct. Adds the octets of inserted rows to user_quota_usage and
-- router_daily_usage, each counter row once a statement, in the order of its key.
-- radmeter.ingest leaves day and period in the row. Another writer (rlm_sql) does not: its octets count on the day of
-- the row's last update, and are kept as a slice of their own (see radmeter.session_slice).
-- An empty user name is no user: rlm_sql writes '' for a packet without User-Name.
-- A row may name a router that does not exist, if it was written while triggers were off: foreign keys are triggers, too.
-- No router's counter gets its octets.
-- A copy of an adopted row is counted here, so the backfill must count nothing for it (see radmeter.adoption_baseline).
-- Users whose counter has come to next_check go to radmeter.apply_quotas: a new counter of a subscriber at once.
-- Those with a limit of seconds are noted for each session that begins.
-- There is no trigger for DELETE: a deleted row takes nothing back, since counters outlive their sessions.
-- Day and period are found for all rows at once, as radmeter.usage_date and radmeter.user_period_start would find them: a
-- call of these for each row made a bulk INSERT on PostgreSQL 15 thirty times slower. Hash joins only: transition tables
-- have no statistics, and the plan of the first statement is kept. For rows of radmeter.ingest no router or plan is read.
CREATE OR REPLACE FUNCTION radmeter.count_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_nestloop = off SET enable_hashjoin = on
AS $$
DECLARE
    v_due text[];  -- users whose counter has come to its next_check
BEGIN
    WITH zone AS (
        SELECT router.id, router.timezone FROM public.routers AS router
        WHERE router.id IN (SELECT router_id FROM new_rows WHERE usage_date IS NULL)
    ), plan AS (
        SELECT subscriber.username, subscriber.quota_start, plan.quota_type, plan.anchor_day, plan.timezone
        FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id
        WHERE subscriber.username IN (SELECT username FROM new_rows WHERE period_start IS NULL)
    ), gained AS MATERIALIZED (
        SELECT radacctid, username, router_id, foreign_writer, usage_date,
               coalesce(period_start, radmeter.period_start(quota_type, anchor_day, quota_start, plan_day)) AS period_start,
               bytes_in, bytes_out
        FROM (
            SELECT radacctid, username, router_id, counted_at IS NULL AS foreign_writer, period_start,
                   coalesce(usage_date, (radmeter.last_possible_time(
                           coalesce(acctupdatetime, acctstoptime, acctstarttime), now())
                       AT TIME ZONE coalesce(zone.timezone, installation.timezone))::date) AS usage_date,
                   (radmeter.last_possible_time(
                           coalesce(acctupdatetime, acctstoptime, acctstarttime), now())
                       AT TIME ZONE coalesce(plan.timezone, installation.timezone))::date AS plan_day,
                   plan.quota_type, plan.anchor_day, plan.quota_start,
                   coalesce(acctinputoctets, 0) AS bytes_in, coalesce(acctoutputoctets, 0) AS bytes_out
            FROM new_rows
            CROSS JOIN (SELECT (SELECT value FROM radmeter.setting WHERE name = 'timezone') AS timezone) AS installation
            LEFT JOIN zone ON zone.id = router_id
            LEFT JOIN plan USING (username)
            WHERE acctinputoctets <> 0 OR acctoutputoctets <> 0
            OFFSET 0  -- so that the arguments of radmeter.period_start are columns, and PostgreSQL inlines it
        ) AS dated
    ), routers AS (
        INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
        SELECT router_id, usage_date, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out))
        FROM gained WHERE router_id IS NOT NULL GROUP BY router_id, usage_date
        HAVING (SELECT true FROM public.routers AS known WHERE known.id = gained.router_id)
        ORDER BY router_id, usage_date
        ON CONFLICT (router_id, usage_date) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING 1
    ), users AS (
        INSERT INTO public.user_quota_usage AS usage (username, period_start, bytes_in, bytes_out, next_check)
        SELECT username, period_start, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out)),
               (SELECT 0 FROM public.subscribers AS known WHERE known.username = gained.username)
        FROM gained WHERE username <> '' AND (SELECT count(*) FROM routers) IS NOT NULL  -- routers first
        GROUP BY username, period_start ORDER BY username, period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING username, usage.bytes_in::numeric + usage.bytes_out >= next_check AS due
    ), slices AS (
        INSERT INTO radmeter.session_slice (radacctid, usage_date, period_start, bytes_in, bytes_out)
        SELECT radacctid, usage_date, period_start, bytes_in, bytes_out FROM gained WHERE foreign_writer
    ), copies AS (
        INSERT INTO radmeter.adoption_baseline
            (radacctid, username, router_id, calledstationid, nasipaddress, at, bytes_in, bytes_out)
        SELECT radacctid, username, router_id, coalesce(calledstationid, ''), nasipaddress, NULL, 0, 0
        FROM new_rows WHERE adopted
        ON CONFLICT (radacctid) DO NOTHING
    )
    SELECT array_agg(DISTINCT username) INTO v_due FROM users WHERE due;
    IF v_due IS NOT NULL THEN
        PERFORM radmeter.apply_quotas(v_due, true);
    END IF;
    IF EXISTS (SELECT FROM public.plans WHERE quota_seconds IS NOT NULL) THEN
        PERFORM radmeter.note_session_starts(ARRAY(
            SELECT DISTINCT username FROM new_rows WHERE acctstoptime IS NULL AND username <> ''));
    END IF;
    RETURN NULL;
END;
$$;
