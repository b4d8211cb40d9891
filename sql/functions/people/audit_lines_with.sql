-- radmeter.audit_lines_with(name): the lines of audit_log whose detail names a user (radmeter.without_name).
-- The first condition is only a quick check, which most lines fail. Reads audit_log.
CREATE OR REPLACE FUNCTION radmeter.audit_lines_with(p_name text) RETURNS TABLE (id bigint, at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT line.id, line.at FROM public.audit_log AS line
    WHERE strpos(line.detail::text, substr(to_jsonb(p_name)::text, 2, length(to_jsonb(p_name)::text) - 2)) > 0
      AND radmeter.without_name(line.detail, p_name, '') <> line.detail;
$$;
