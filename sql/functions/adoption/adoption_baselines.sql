-- radmeter.adoption_baselines(): the octets that every adopted session had when it was adopted, the day and the period
-- they count for, and the user and router they belong to now. radmeter backfill counts them, radmeter verify recomputes
-- them.
-- They are in the row itself while no column that they depend on has changed, else in radmeter.adoption_baseline. Either
-- way a snapshot sees the same octets. The day and the period are those of the session's last update before the change,
-- for the user and the router of that time, by the plans and time zones that were kept when the backfill began.
-- counted: the backfill has counted them, and has not set them aside (radmeter.backfill_rejected). If no router can have
-- reported the time, day and period are those of the beginning of the backfill. usage_date is NULL while
-- radmeter.adopted_router does not know the router. Before a backfill there is no row. It is one SELECT, so that PostgreSQL
-- makes it part of the caller's query. Reads radacct and the adoption's tables.
CREATE OR REPLACE FUNCTION radmeter.adoption_baselines()
RETURNS TABLE (radacctid bigint, username text, router_id bigint, at timestamptz, usage_date date, period_start date,
               bytes_in bigint, bytes_out bigint, counted boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT session.radacctid, session.username, coalesce(session.router_id, first.router_id, known.router_id),
           moment.at, (counts.at AT TIME ZONE known.timezone)::date,
           radmeter.period_start(plan.quota_type, plan.anchor_day, plan.quota_start,
               (counts.at AT TIME ZONE coalesce(plan.timezone, backfill.timezone))::date),
           CASE WHEN first.radacctid IS NULL THEN coalesce(session.acctinputoctets, 0) ELSE first.bytes_in END,
           CASE WHEN first.radacctid IS NULL THEN coalesce(session.acctoutputoctets, 0) ELSE first.bytes_out END,
           session.radacctid <@ backfill.counted AND NOT EXISTS (
               SELECT FROM radmeter.backfill_rejected AS rejected WHERE rejected.radacctid = session.radacctid)
    FROM radmeter.backfill
    CROSS JOIN public.radacct AS session
    LEFT JOIN radmeter.adoption_baseline AS first ON first.radacctid = session.radacctid
    LEFT JOIN radmeter.adopted_router AS known
        ON known.calledstationid = coalesce(first.calledstationid, session.calledstationid, '')
       AND known.nasipaddress = coalesce(first.nasipaddress, session.nasipaddress)
    LEFT JOIN radmeter.adopted_user AS plan
        ON plan.username = CASE WHEN first.radacctid IS NULL THEN session.username ELSE first.username END
    CROSS JOIN LATERAL (SELECT coalesce(
        CASE WHEN first.radacctid IS NULL
             THEN coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime)
             ELSE first.at END,
        backfill.began_at) AS at) AS moment
    CROSS JOIN LATERAL (SELECT CASE WHEN radmeter.history_fault(1, 1, moment.at) IS NULL THEN moment.at
                                    ELSE backfill.began_at END AS at) AS counts
    WHERE session.adopted;
END;
