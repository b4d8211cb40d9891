-- radmeter.label_components(): gives records of the batch that may be of one session an equal label (incoming.component),
-- so that they are applied one after the other. Records with equal labels may also be of several sessions; that only
-- costs rounds.
-- Each record comes with its acctuniqueid as the label. Records of one session have one Acct-Session-Id, so only session
-- ids that come with several acctuniqueids need another label:
--   If every record of a session id has a Calling-Station-Id, and each acctuniqueid has only one: those with the same
--   Calling-Station-Id.
--   If none has one, and no acctuniqueid is an alias: the acctuniqueid stays the label. Without a Calling-Station-Id
--   there is no device key.
--   Else: all of the session id.
-- Called by radmeter.apply_batch only. Reads radmeter.session_alias. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.label_components() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_session_ids text[];
BEGIN
    v_session_ids := ARRAY(
        SELECT session_id FROM pg_temp.incoming WHERE round IS NOT NULL
        GROUP BY session_id HAVING min(uid COLLATE "C") <> max(uid COLLATE "C"));
    IF cardinality(v_session_ids) = 0 THEN
        RETURN;
    END IF;
    WITH record AS MATERIALIZED (
        SELECT seq, uid, session_id, nullif(calling_station_id, '') AS calling
        FROM pg_temp.incoming JOIN unnest(v_session_ids) AS session_id USING (session_id)
        WHERE round IS NOT NULL
    ), kind AS MATERIALIZED (
        SELECT session_id, count(calling) = count(*) AND count(DISTINCT (uid, calling)) = count(DISTINCT uid) AS by_calling,
               count(calling) = 0 AND NOT EXISTS (
                   SELECT FROM radmeter.session_alias WHERE alias = ANY (array_agg(uid))) AS by_uid
        FROM record GROUP BY session_id
    ), labelled AS MATERIALIZED (
        SELECT seq, uid, min(uid COLLATE "C") OVER (
                   PARTITION BY session_id, CASE WHEN by_calling THEN calling WHEN by_uid THEN uid END) AS label
        FROM record JOIN kind USING (session_id)
    )
    UPDATE pg_temp.incoming AS record SET component = label
    FROM labelled
    WHERE record.seq = labelled.seq AND label <> labelled.uid;
END;
$$;
