-- radmeter.reassign_adopted(radacctids, old_usernames, new_usernames, old_router_ids, new_router_ids): moves the octets
-- that adopted sessions had when they were adopted to another user or router.
-- If the backfill has counted their ids, it does so at once. Else it writes the change down. A count that sees the
-- change counts for the new user and router and deletes the change. A count under way that does not see it counts for
-- the old ones, and the octets are moved afterwards. So nobody waits for a count.
-- Router NULL: the router that radmeter.adopted_router has for the session.
-- Called by radmeter.count_updated only. Writes radmeter.adopted_move, and what radmeter.backfill_settle writes.
CREATE OR REPLACE FUNCTION radmeter.reassign_adopted(
    p_radacctids bigint[], p_old_usernames text[], p_new_usernames text[],
    p_old_router_ids bigint[], p_new_router_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
-- One index lookup for each session, under any settings of the trigger.
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    IF p_old_router_ids IS DISTINCT FROM p_new_router_ids THEN
        -- A merge ends by moving what its router has left. The lock delays that until this transaction ends.
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
