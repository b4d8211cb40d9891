-- radmeter.adopted_effects(): how the changes of user and router in radmeter.adopted_move will change the counters, for
-- sessions whose adoption baseline is counted: it is taken from the old user and router, and given to the new ones.
-- A session that is set aside (radmeter.backfill_rejected) has counted nothing, so nothing moves.
-- It is one SELECT, so that PostgreSQL makes it part of the caller's query.
CREATE OR REPLACE FUNCTION radmeter.adopted_effects()
RETURNS TABLE (move tid, old_username text, new_username text, old_router_id bigint, new_router_id bigint,
               usage_date date, period_start date, bytes_in bigint, bytes_out bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT move.ctid, move.old_username, move.new_username,
           coalesce(move.old_router_id, known.router_id), coalesce(move.new_router_id, known.router_id),
           (coalesce(first.at, backfill.began_at) AT TIME ZONE known.timezone)::date,
           radmeter.period_start(plan.quota_type, plan.anchor_day, plan.quota_start, (coalesce(first.at,
               backfill.began_at) AT TIME ZONE coalesce(plan.timezone, backfill.timezone))::date),
           first.bytes_in, first.bytes_out
    FROM radmeter.adopted_move AS move
    JOIN radmeter.backfill ON move.radacctid <@ backfill.counted
    JOIN radmeter.adoption_baseline AS first ON first.radacctid = move.radacctid
    JOIN radmeter.adopted_router AS known USING (calledstationid, nasipaddress)
    LEFT JOIN radmeter.adopted_user AS plan ON plan.username = first.username
    WHERE NOT EXISTS (SELECT FROM radmeter.backfill_rejected AS rejected WHERE rejected.radacctid = move.radacctid);
END;
