"""Each function of `sql/functions` is tested somewhere: by itself, below this folder, or with what calls it."""

import re
from pathlib import Path

from radmeter import resources

INTEGRATION = Path(__file__).parents[1]

# Steps of another function, which work on its temporary table or in its transaction: what they do is tested where the
# function is that calls them.
WITHIN = {
    "apply_round": "test_interim_stop.py",
    "arrival_hour": "test_left_out.py",
    "is_believed_arrival": "test_left_out.py",
    "close_rebooted": "test_closing.py",
    "close_superseded": "test_start.py",
    "count_new_users": "test_left_out.py",
    "counted_octets": "test_counted.py",
    "counted_offset": "test_counted.py",
    "count_inserted": "test_other_writers.py",
    "count_updated": "test_octets.py",
    "create_incoming": "test_interim_stop.py",
    "ensure_start_months": "test_repeated_stops.py",
    "drop_repeated_starts": "test_start.py",
    "unfit_stops": "test_repeated_stops.py",
    "earlier_sessions": "test_truth_of_reused_ids.py",
    "is_of_earlier": "test_truth_of_reused_ids.py",
    "fits_session": "test_repeated_stops.py",
    "drop_repeated_stops": "test_repeated_stops.py",
    "plausible_octets": "test_reused_ids.py",
    "shows_late_start": "test_reused_ids.py",
    "supersedes": "test_reused_ids.py",
    "drop_idle_reboots": "test_reboots.py",
    "batch_sessions": "test_reboots.py",
    "cut_segments": "test_reboots.py",
    "contradicts": "test_identity.py",
    "device_key": "test_identity.py",
    "find_open": "test_identity.py",
    "label_components": "test_identity.py",
    "note_device_keys": "test_identity.py",
    "open_session": "test_identity.py",
    "sessions_of": "test_identity.py",
    "drop_old_incoming": "test_transaction_ids.py",
    "lagging_nodes": "test_lagging_shipper.py",
    "discover_at_once": "test_discovery.py",
    "discover_in_order": "test_discovery.py",
    "discover_routers": "test_discovery.py",
    "discoveries_left": "test_discovery.py",
    "discovery_client": "test_discovery.py",
    "prepare_incoming": "test_staging.py",
    "as_counter": "test_octets.py",
    "check_journal": "test_source_role.py",
    "check_source_role": "test_source_role.py",
    "retry_reason": "test_rejected.py",
    "stored_pairs": "test_rejected.py",
    "is_time_zone": "test_routers.py",
    "ingest_batch": "test_checkpoint.py",
    "apply_batch": "test_checkpoint.py",
    "claim_journal": "test_segments.py",
    "latest_arrival": "test_segments.py",
    "registered_segment": "test_segments.py",
    "insert_sessions": "test_interim_stop.py",
    "note_split_change": "test_split.py",
    "client_network": "test_clients.py",
    "note_networks": "test_clients.py",
    "refuse_unbelieved": "test_clients.py",
    "limit_router": "test_discovery.py",
    "last_possible_time": "test_limits.py",
    "record_fault": "test_limits.py",
    "number_rounds": "test_interim_stop.py",
    "kept_as": "test_left_out.py",
    "set_aside": "test_left_out.py",
    "unpack_records": "test_not_counted.py",
    "update_closed": "test_interim_stop.py",
    "update_open": "test_octets.py",
    "recomputed_parts": "test_verify.py",
    "period_complete": "test_removed_sessions.py",
    "count_erased": "test_erase.py",
    "erasure_pseudonym": "test_erase.py",
    "is_pseudonym": "test_erase_meanwhile.py",
    "adopted_effects": "test_backfill.py",
    "adoption_baselines": "test_backfill.py",
    "history_fault": "test_backfill_rejected.py",
    "pending_router_sums": "test_backfill.py",
    "pending_user_sums": "test_backfill.py",
    "reassign_adopted": "test_backfill.py",
    "replace_history": "test_backfill_rejected.py",
    "unusable_octets": "test_backfill_rejected.py",
}
# Called by one function or command of ours, and tested with it.
THROUGH_PYTHON = {
    "acknowledge_incident": "test_incidents.py",
    "drop_segments": "test_segment_rows.py",
    "finish_segment": "test_segments.py",
    "note_incident": "test_incidents.py",
    "old_segments": "test_segment_rows.py",
    "open_segments": "test_segments.py",
    "settle_incident": "test_incidents.py",
    "add_router": "test_routers.py",
    "backfill_begin": "test_backfill.py",
    "backfill_correct": "test_backfill_rejected.py",
    "backfill_fill": "test_backfill.py",
    "backfill_leave": "test_backfill_rejected.py",
    "backfill_move": "test_backfill.py",
    "backfill_progress": "test_backfill.py",
    "backfill_range": "test_backfill.py",
    "backfill_redo": "test_backfill.py",
    "backfill_routers": "test_backfill.py",
    "backfill_set_aside": "test_backfill_rejected.py",
    "backfill_settle": "test_backfill.py",
    "backfill_unknown_routers": "test_backfill.py",
    "audit_lines_with": "test_erase.py",
    "begin_erasure": "test_erase.py",
    "change_router": "test_routers_changes.py",
    "close_waiting": "test_missing_month.py",
    "claim_router": "test_routers.py",
    "clear_attributes": "test_clearing.py",
    "drop_rejected": "test_rejected.py",
    "end_erasure": "test_erase.py",
    "erase_notes": "test_erase.py",
    "erase_packets": "test_erase.py",
    "erase_sessions": "test_erase.py",
    "erasures": "test_erase_meanwhile.py",
    "finish_erasure": "test_erase.py",
    "import_routers": "test_routers.py",
    "merge_router": "test_routers_merge.py",
    "merge_router_finish": "test_routers_merge.py",
    "merge_router_sessions": "test_routers_merge.py",
    "expire": "test_retention.py",
    "expiring": "test_retention.py",
    "left_out_ranges": "test_left_out.py",
    "limits": "test_cli_limits.py",
    "missing_months": "test_partitions.py",
    "note_expired": "test_retention.py",
    "removed_segments": "test_segment_rows.py",
    "rename_router": "test_routers_changes.py",
    "repair_usage": "test_verify.py",
    "replay": "test_replay.py",
    "replayed_files": "test_replay.py",
    "retire_router": "test_routers_changes.py",
    "retry_rejected": "test_rejected.py",
    "router_differences": "test_verify.py",
    "salvage_rejected": "test_left_out.py",
    "set_limit": "test_cli_limits.py",
    "user_differences": "test_verify.py",
}


def test_every_function_is_tested_somewhere() -> None:
    written = {
        name
        for file in (resources.directory("sql") / "functions").rglob("*.sql")
        for name in re.findall(r"CREATE OR REPLACE FUNCTION (?:radmeter|public)\.(\w+)", file.read_text())
    }
    texts = [file.read_text() for file in INTEGRATION.rglob("test_*.py") if file.name != "test_roles.py"]
    called = {
        name for name in written if any(re.search(rf"(?:radmeter|public)\.{name}\(", text) for text in texts)
    }
    known = WITHIN | THROUGH_PYTHON
    assert known.keys() - written == set(), "listed here and not in sql/functions"
    assert written - called - known.keys() == set(), "in sql/functions and in no test"
    assert set(known.values()) - {file.name for file in INTEGRATION.rglob("test_*.py")} == set()
