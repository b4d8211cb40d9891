"""`python -m radmeter` is the command `radmeter`."""

from radmeter.cli.main import main

main()
