"""Statements of many large tenants, one after the other, take the memory of one."""

import subprocess
import sys

CODE = """
from datetime import date
from decimal import Decimal
from pathlib import Path
from radmeter.billing import wording
from radmeter.billing.statements import layout, pdf
from radmeter.billing.statements.document import Document, RouterUsage, Statement

def used():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // 1024

def made(tag):
    routers = [
        RouterUsage(router_id=each, name=f"router {each} of {tag}", mac=None, timezone="UTC",
                    month=date(2026, 10, 1), days=31, bytes_in=each * tag, bytes_out=each)
        for each in range(600)
    ]
    document = Document(
        id=1, status="issued", number=str(tag), period_start=date(2026, 10, 1), period_end=date(2026, 11, 1),
        currency="EUR", digits=2, issued_on=date(2026, 11, 2), voided_on=None, usage_bytes=0, net=Decimal(1),
        tax=Decimal(0), amount=Decimal(1), taxes=[], recipient={}, issuer={}, terms={}, lines=[], credits=[], days=[],
        routers=routers)
    return Statement(tenant=f"tenant {tag}", language="en", period=date(2026, 10, 1), documents=[document])

for tag in range(6):
    pdf.as_pdf(layout.lay_out(made(tag), wording.ENGLISH), "")
    print(used())
"""


def test_the_memory_is_flat() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    megabytes = [int(line) for line in done.stdout.split()]
    # Without forgetting, each adds about 50.
    assert megabytes[-1] - megabytes[1] < 60, megabytes
