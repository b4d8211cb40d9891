"""`radmeter doctor`: what is wrong, with which thing, and the command that mends it. One kind of check a file."""
