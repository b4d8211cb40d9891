"""`python -m radmeter` is the command `radmeter`."""

import sys

try:
    from radmeter.cli.main import main

    main()
except KeyboardInterrupt:  # while the modules were loaded
    sys.exit(130)
