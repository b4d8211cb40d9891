-- radmeter.pending_user_sums(): the sums for users that a backfill has found, or has to move, and has not added to the
-- counters yet. The sessions have these octets and the counters will have them, so reconciliation subtracts them.
-- It is one SELECT, so that PostgreSQL makes it part of the caller's query.
CREATE OR REPLACE FUNCTION radmeter.pending_user_sums()
RETURNS TABLE (username text, period_start date, bytes_in bigint, bytes_out bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT part.* FROM radmeter.backfill_user AS found
    CROSS JOIN LATERAL unnest(found.usernames, found.period_starts, found.bytes_in, found.bytes_out)
        AS part (username, period_start, bytes_in, bytes_out)
    UNION ALL
    SELECT side.* FROM radmeter.adopted_effects() AS effect
    CROSS JOIN LATERAL (VALUES
        (effect.old_username, effect.period_start, -effect.bytes_in, -effect.bytes_out),
        (effect.new_username, effect.period_start, effect.bytes_in, effect.bytes_out)
    ) AS side (username, period_start, bytes_in, bytes_out)
    WHERE side.username <> '';
END;
