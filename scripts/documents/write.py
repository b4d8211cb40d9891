"""What is made from the code: `./scripts/docs write` writes it, and tests/unit/test_made_documents.py compares it."""

from collections.abc import Callable
from pathlib import Path

from scripts.documents import packet_way, reference, rooms, states

ROOT = Path(__file__).resolve().parents[2]
MADE: dict[str, Callable[[], str]] = {
    "docs/pictures/packet-way.svg": packet_way.picture,
    "docs/pictures/rooms.svg": rooms.picture,
    "docs/pictures/document-states.svg": states.DOCUMENT.picture,
    "docs/pictures/router-states.svg": states.ROUTER.picture,
    "docs/pictures/adoption-states.svg": states.ADOPTION.picture,
    "docs/reference/settings.md": reference.settings,
    "docs/reference/commands.md": reference.commands,
    "docs/reference/api.md": reference.api,
}
"""Each file, from the root of the checkout, and what makes its text."""


def main() -> None:
    for name, make in MADE.items():
        (ROOT / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
