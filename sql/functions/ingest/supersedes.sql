-- radmeter.supersedes(status, event_time, start_time, session_time, stamped, received_at, input_octets, output_octets,
-- router_id, session_start, last_time, arrived_at, late_start_at): whether a packet began a new session, so that the open
-- session of its id is over. The router has lost its state without a Stop or Accounting-On, and uses the id again.
-- The first nine are of the packet (start_time: its event time less its session time), the others of the session:
-- acctstarttime, acctupdatetime, arrived_at, late_start_at.
-- After a late Start, a packet supersedes the session if it shows that Start as its session's. Without one, its session
-- must have begun after the last update, by its event time and by its arrival: a clock that was set moves only the first.
-- And its octets must be plausible for its session time, unless the limit is 0.
-- NULL as false. It is inlined. The condition that looks into a table comes last. Intervals are added to the packet's
-- times only: those of a session that another program wrote may be beyond all limits.
CREATE OR REPLACE FUNCTION radmeter.supersedes(
    p_status text, p_event_time timestamptz, p_start_time timestamptz, p_session_time bigint, p_stamped boolean,
    p_received_at timestamptz, p_input_octets bigint, p_output_octets bigint, p_router_id bigint,
    p_session_start timestamptz, p_last_time timestamptz, p_arrived_at timestamptz, p_late_start_at timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN p_start_time - interval '60 seconds' > p_last_time AND radmeter.is_possible_time(p_last_time)
    AND p_session_time > 0 AND p_status <> 'Start'
       AND CASE WHEN p_stamped THEN p_received_at ELSE p_event_time END - (p_session_time + 60) * interval '1 second'
           > coalesce(p_arrived_at, p_last_time)
       AND (greatest(p_input_octets, p_output_octets, 0)
            <= nullif(radmeter.plausible_octets(p_router_id, p_session_time), 0)) IS NOT FALSE
    OR p_late_start_at IS NOT NULL AND p_status <> 'Start'
       AND radmeter.shows_late_start(p_event_time, p_start_time, p_session_time, p_stamped, p_session_start,
                                     p_late_start_at);
