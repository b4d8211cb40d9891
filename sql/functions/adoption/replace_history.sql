-- radmeter.replace_history(radacctids, octets_in, octets_out): notes that packets have replaced the octets of adopted
-- sessions, those that no router can have reported (radmeter.history_fault). A packet has the session's whole octets, so
-- the history of these sessions is in what packets count, and nothing is left for radmeter backfill.
--   octets_in, octets_out  what was replaced. It stays in radmeter.backfill_rejected
-- Called by radmeter.count_updated only. Writes radmeter.adoption_baseline, backfill_rejected.
CREATE OR REPLACE FUNCTION radmeter.replace_history(p_radacctids bigint[], p_octets_in bigint[], p_octets_out bigint[])
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each session, under any settings of the trigger.
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO radmeter.backfill_rejected AS rejected (radacctid, reason, octets_in, octets_out, replaced_at)
    SELECT radacctid, radmeter.history_fault(octets_in, octets_out, NULL), octets_in, octets_out, now()
    FROM unnest(p_radacctids, p_octets_in, p_octets_out) AS replaced (radacctid, octets_in, octets_out)
    ORDER BY radacctid
    ON CONFLICT (radacctid) DO UPDATE SET
        octets_in = excluded.octets_in, octets_out = excluded.octets_out, replaced_at = excluded.replaced_at;
    UPDATE radmeter.adoption_baseline SET bytes_in = 0, bytes_out = 0 WHERE radacctid = ANY (p_radacctids);
END;
$$;
