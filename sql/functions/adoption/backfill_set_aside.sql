-- radmeter.backfill_set_aside(): the adopted sessions that a backfill has set aside, with what they had when they were
-- adopted, and the reason. replaced_at: when a packet replaced its octets, so that packets count it in whole. at: the time
-- for which it would count. A session whose partition is gone has NULLs.
-- Reads radmeter.backfill_rejected, radacct, and what radmeter.adoption_baselines reads.
CREATE OR REPLACE FUNCTION radmeter.backfill_set_aside()
RETURNS TABLE (radacctid bigint, acctuniqueid text, username text, octets_in bigint, octets_out bigint, at timestamptz,
               reason text, rejected_at timestamptz, left_at timestamptz,
               replaced_at timestamptz)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT rejected.radacctid, session.acctuniqueid, session.username,
           CASE WHEN rejected.replaced_at IS NULL THEN baseline.bytes_in ELSE rejected.octets_in END,
           CASE WHEN rejected.replaced_at IS NULL THEN baseline.bytes_out ELSE rejected.octets_out END, baseline.at,
           rejected.reason, rejected.rejected_at, rejected.left_at, rejected.replaced_at
    FROM radmeter.backfill_rejected AS rejected
    LEFT JOIN public.radacct AS session ON session.radacctid = rejected.radacctid
    LEFT JOIN LATERAL (SELECT each.bytes_in, each.bytes_out, each.at FROM radmeter.adoption_baselines() AS each
                       WHERE each.radacctid = rejected.radacctid) AS baseline ON true;
END;
