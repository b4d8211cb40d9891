"""`radmeter report`: usage by day, week or month; who used the most; months compared; what is to be expected."""

from radmeter.cli.groups import group
from radmeter.cli.report_compare import compare
from radmeter.cli.report_forecast import forecast
from radmeter.cli.report_top import top
from radmeter.cli.report_usage import usage


@group(epilog="Example: radmeter report usage --router lobby --by week")
def report() -> None:
    """Show usage by day, week or month, who used the most, months compared, and a forecast."""


for command in (usage, top, compare, forecast):
    report.add_command(command)
