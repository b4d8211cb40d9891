"""Exports of billing: streamed from one snapshot, the same bytes each time, with a manifest beside the file."""
