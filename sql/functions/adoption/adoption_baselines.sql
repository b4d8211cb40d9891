-- radmeter.adoption_baselines(): what every adopted session had when it was taken over, the day and the period it counts for,
-- and whose it is now: what radmeter backfill counts and radmeter verify recomputes.
-- It is in the row itself as long as nothing that it depends on changed, else in radmeter.adoption_baseline: whichever of the
-- two a snapshot sees, the part is the same. The day and the period are those of the session's last update before the
-- change, for the user and the router that it had then, by the plans and zones that were kept when the backfill began.
-- counted: the backfill has counted it. Returns no usage_date where radmeter.adopted_router does not know the router yet, and no row before a backfill.
-- One SELECT, so that it becomes part of the caller's query. Reads radacct and radmeter's tables of the adoption.
CREATE OR REPLACE FUNCTION radmeter.adoption_baselines()
RETURNS TABLE (radacctid bigint, username text, router_id bigint, at timestamptz, usage_date date, period_start date,
               bytes_in bigint, bytes_out bigint, counted boolean)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT session.radacctid, session.username, coalesce(session.router_id, first.router_id, known.router_id),
           moment.at, (moment.at AT TIME ZONE known.timezone)::date,
           radmeter.period_start(plan.quota_type, plan.anchor_day, plan.quota_start,
               (moment.at AT TIME ZONE coalesce(plan.timezone, backfill.timezone))::date),
           CASE WHEN first.radacctid IS NULL THEN coalesce(session.acctinputoctets, 0) ELSE first.bytes_in END,
           CASE WHEN first.radacctid IS NULL THEN coalesce(session.acctoutputoctets, 0) ELSE first.bytes_out END,
           session.radacctid <@ backfill.counted
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
    WHERE session.adopted;
$$;
