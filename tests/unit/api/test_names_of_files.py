"""The name of a download: any letter a tenant's name may have."""

from datetime import date

import pytest

from radmeter.api.outgoing import download
from radmeter.billing.statements.files import file_name


@pytest.mark.parametrize(
    ("whose", "given"),
    [
        ("acme", 'filename="2026-01-acme-invoice7.pdf"'),
        ('a"b\r\nX: y', 'filename="2026-01-a-b--X--y-invoice7.pdf"'),
        ("G\u00e4ste", "filename*=UTF-8''2026-01-G%C3%A4ste-invoice7.pdf"),
        ("\u5bbf", "filename*=UTF-8''2026-01-%E5%AE%BF-invoice7.pdf"),
    ],
)
def test_a_file_has_the_name_of_whom_it_is_for(whose: str, given: str) -> None:
    name = f"{file_name(date(2026, 1, 1), whose, 'invoice7')}.pdf"
    assert download(name, "application/pdf")["content-disposition"] == f"attachment; {given}"
