"""`radmeter up` and `simulate`: everything on one machine, and the proof that it counts."""
