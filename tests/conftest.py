"""For all tests: signals as a shell in the foreground has them."""

import signal

# Under nohup, or in the background of a script, these are ignored, and so by every program that a test starts: those
# that are to end by them would not.
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
