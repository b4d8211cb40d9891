"""`radmeter doctor`: says what is wrong, with which object, and how to repair it. One kind of check a file."""
