"""The benchmark: compares radmeter with rlm_sql on one machine, in one run. `scripts/bench` starts it."""
