-- radmeter.reassign_adopted(radacctids, old_usernames, new_usernames, old_router_ids, new_router_ids): what adopted
-- sessions had when they were taken over follows them to another user or router.
-- At once where the backfill has counted their ids already; else noted: a count that sees the change counts for the new
-- ones and forgets it, and one under way that does not see it counts for the old ones, whence it is moved afterwards.
-- So nobody has to wait for a count. Router NULL: the one that radmeter.adopted_router has for the session.
-- Called by radmeter.count_updated only. Writes radmeter.adopted_move, and what radmeter.backfill_settle writes.
CREATE OR REPLACE FUNCTION radmeter.reassign_adopted(
    p_radacctids bigint[], p_old_usernames text[], p_new_usernames text[],
    p_old_router_ids bigint[], p_new_router_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan
-- One index lookup a session, whatever the settings of the trigger are.
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    IF p_old_router_ids IS DISTINCT FROM p_new_router_ids THEN
        -- A merge ends by moving what its router has left, which must not happen between here and the end.
        PERFORM pg_advisory_xact_lock_shared(hashtextextended('radmeter.adopted_router', 0));
    END IF;
    INSERT INTO radmeter.adopted_move (radacctid, old_username, new_username, old_router_id, new_router_id)
    SELECT radacctid, old_username, new_username,
           coalesce(old_router_id, first.router_id), coalesce(new_router_id, first.router_id)
    FROM unnest(p_radacctids, p_old_usernames, p_new_usernames, p_old_router_ids, p_new_router_ids)
        AS change (radacctid, old_username, new_username, old_router_id, new_router_id)
    JOIN radmeter.adoption_baseline AS first USING (radacctid)
    WHERE first.bytes_in <> 0 OR first.bytes_out <> 0;
    IF EXISTS (SELECT FROM radmeter.backfill CROSS JOIN unnest(p_radacctids) AS id WHERE id <@ counted) THEN
        PERFORM radmeter.backfill_settle(p_radacctids);
    END IF;
END;
$$;
