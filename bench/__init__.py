"""The benchmark: radmeter beside rlm_sql on one machine in one run. `scripts/bench` starts it."""
