-- radmeter.chain_digest(before, position, audit_id, rewrites, content, chained_at): the digest of a row of audit_chain.
--   before  the digest of the row before it; empty for the first one
-- The salt is not in it: it is forgotten when a line is rewritten, and the chain stays whole.
CREATE OR REPLACE FUNCTION radmeter.chain_digest(
    p_before bytea, p_position bigint, p_audit_id bigint, p_rewrites boolean, p_content bytea, p_chained_at timestamptz)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(p_before || int8send(p_position) || int8send(p_audit_id) || boolsend(p_rewrites) || p_content
    || convert_to(extract(epoch FROM p_chained_at)::text, 'UTF8'));
