"""`radmeter up` and `simulate`: run everything on one machine, and prove that it counts every byte."""
