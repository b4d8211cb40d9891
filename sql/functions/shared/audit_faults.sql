-- radmeter.audit_faults(): where audit_log and its chain do not fit together. No row: all is whole.
--   chain row missing   rows of the chain before this position are gone; audit_id is NULL
--   chain row changed   its digest is not that of the row and of the one before it
--   line missing        the chain has a line that audit_log has not
--   line changed        the line is another one than when it was chained, or rewritten by an erasure
--   line added          audit_log has a line that the chain has not
--   line backdated      its time is not that of the transaction that chained it. Lines from before the chain are older
--   chain row backdated  it is older than the row before it by more than a day: no transaction takes so long
--   line chained again  a second row of a line that no erasure has rewritten
--   line rewritten      more lines were rewritten than the lines "people erase" say, and no erasure is under way; the last
--   head cut off        the head is not the last row of the chain: rows were removed from its end, or the head was changed
-- Reads audit_log, radmeter.erasures, radmeter.audit_chain, radmeter.audit_head.
CREATE OR REPLACE FUNCTION radmeter.audit_faults()
RETURNS TABLE ("position" bigint, audit_id bigint, fault text, at timestamptz, action text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH link AS (
        SELECT chain.*, lag(chain.position, 1, 0::bigint) OVER ordered AS position_before,
               lag(chain.digest, 1, ''::bytea) OVER ordered AS digest_before,
               lag(chain.chained_at) OVER ordered AS chained_before
        FROM radmeter.audit_chain AS chain WINDOW ordered AS (ORDER BY chain.position)),
    latest AS (
        SELECT DISTINCT ON (chain.audit_id) chain.* FROM radmeter.audit_chain AS chain
        ORDER BY chain.audit_id, chain.position DESC)
    SELECT link.position, NULL::bigint, 'chain row missing', link.chained_at, NULL::text
    FROM link WHERE link.position <> link.position_before + 1
    UNION ALL
    -- After a gap the digest before it is not known: a changed row there shows by its line.
    SELECT link.position, link.audit_id, 'chain row changed', link.chained_at, NULL
    FROM link WHERE link.position = link.position_before + 1
      AND link.digest <> radmeter.chain_digest(link.digest_before, link.position, link.audit_id, link.rewrites, link.content,
                                               link.chained_at)
    UNION ALL
    SELECT latest.position, coalesce(latest.audit_id, line.id),
           CASE WHEN line.id IS NULL THEN 'line missing' WHEN latest.position IS NULL THEN 'line added'
                ELSE 'line changed' END,
           coalesce(line.at, latest.chained_at), line.action
    FROM latest FULL JOIN public.audit_log AS line ON line.id = latest.audit_id
    WHERE line.id IS NULL OR latest.position IS NULL
       OR latest.content IS DISTINCT FROM radmeter.audit_digest(latest.salt, line.id, line.at, line.who, line.operator,
                                                                line.action, line.detail)
    UNION ALL
    SELECT link.position, link.audit_id, 'line backdated', line.at, line.action
    FROM link JOIN public.audit_log AS line ON line.id = link.audit_id
    -- Both times are now() of one transaction, so there is no tolerance. The upgrade chained the first rows all at once.
    WHERE NOT link.rewrites AND line.at <> link.chained_at
      AND link.position >= (SELECT min(other.position) FROM radmeter.audit_chain AS other
                            WHERE other.chained_at <> (SELECT first.chained_at FROM radmeter.audit_chain AS first
                                                       ORDER BY first.position LIMIT 1))
    UNION ALL
    SELECT link.position, link.audit_id, 'chain row backdated', link.chained_at, NULL
    FROM link WHERE link.chained_at < link.chained_before - interval '1 day'
    UNION ALL
    SELECT again.position, again.audit_id, 'line chained again', again.chained_at, NULL
    FROM radmeter.audit_chain AS again
    WHERE NOT again.rewrites AND EXISTS (SELECT FROM radmeter.audit_chain AS former
                                         WHERE former.audit_id = again.audit_id AND former.position < again.position)
    UNION ALL
    SELECT rewritten.last, chain.audit_id, 'line rewritten', chain.chained_at, NULL
    FROM (SELECT count(*) AS lines, min(chain.position) AS first, max(chain.position) AS last
          FROM radmeter.audit_chain AS chain WHERE chain.rewrites) AS rewritten
    JOIN radmeter.audit_chain AS chain ON chain.position = rewritten.last
    WHERE NOT EXISTS (SELECT FROM radmeter.erasures())
      AND rewritten.lines > (
          -- Erasures from before the chain have rewritten no row of it.
          SELECT coalesce(sum((line.detail -> 'rows' ->> 'audit_log')::numeric), 0)
          FROM public.audit_log AS line JOIN radmeter.audit_chain AS row ON row.audit_id = line.id
          WHERE line.action = 'people erase' AND row.position > rewritten.first)
    UNION ALL
    SELECT coalesce(head.position, 0), NULL, 'head cut off', last.chained_at, NULL
    FROM (SELECT) AS one
    LEFT JOIN radmeter.audit_head AS head ON true
    LEFT JOIN (SELECT chain.position, chain.digest, chain.chained_at FROM radmeter.audit_chain AS chain
               ORDER BY chain.position DESC LIMIT 1) AS last ON true
    WHERE (head.position, head.digest) IS DISTINCT FROM (coalesce(last.position, 0), coalesce(last.digest, ''))
    ORDER BY 1 NULLS LAST, 2, 3;
$$;
