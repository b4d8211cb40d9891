"""The HTTP API of `radmeter serve`, its metrics and its pages."""
