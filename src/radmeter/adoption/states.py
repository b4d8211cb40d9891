"""The states of an adoption: the steps of each and the next state, both to adopt radacct and to give it back.

radmeter.adoption has the current state at every moment. The last step of a state writes down the next state in its own
transaction. Each step can be done again. So an adoption that is killed anywhere goes on from there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from radmeter.adoption import state as written
from radmeter.adoption.bounding import find_routers, swap_tables, validate
from radmeter.adoption.opening import bound, move_boundary, move_open
from radmeter.adoption.operation import Operation
from radmeter.adoption.preparing import add_columns, make_indexes, make_open_table
from radmeter.adoption.return_rows import return_rows, turn_back
from radmeter.adoption.state import Adoption
from radmeter.adoption.swap_back import begin_to_undo, make_unique, swap_tables_back
from radmeter.adoption.swapped import finish
from radmeter.adoption.tidy import tidy


@dataclass(frozen=True)
class Step:
    """A step: what it does, in words, and the function that does it."""

    does: str
    function: Callable[[Operation, Adoption], None]
    postponable: bool = False
    """Whether an operator can let it wait (`radmeter adopt --postpone-swap`)."""


@dataclass(frozen=True)
class Way:
    """The steps of a state in one direction, and the next state.

    A step may lead back to the state `again` if it finds that something has changed.
    """

    steps: tuple[Step, ...]
    next: str
    again: str | None = None


@dataclass(frozen=True)
class State:
    """A state: its name in radmeter.adoption, what it means to an operator, and the ways out of it."""

    name: str
    means: str
    adopt: Way | None = None
    undo: Way | None = None


_MOVE_BOUNDARY = Step(
    "if the adoption stood still for weeks: the boundary moves to a later month", move_boundary
)
_TURN_BACK = Way((Step("the CHECK is dropped: radacct takes open sessions again", turn_back),), "returning")
_BEGIN_TO_UNDO = Way(
    (Step("the way back begins; radmeter's own writers are kept out until the swap", begin_to_undo),),
    "undoing",
)

STATES = (
    State(
        "preparing",
        "columns and indexes are being made; rlm_sql writes",
        adopt=Way(
            (
                Step("radmeter's columns are added", add_columns),
                Step("the indexes that closed sessions need are made", make_indexes),
                Step("radacct_open is made, and a trigger that sends new sessions there", make_open_table),
            ),
            "opening",
        ),
        undo=_TURN_BACK,
    ),
    State(
        "opening",
        "open sessions are moving to radacct_open; rlm_sql writes",
        adopt=Way(
            (
                _MOVE_BOUNDARY,
                Step("open sessions move to radacct_open, in batches", move_open),
                Step("a CHECK, not validated yet, keeps open sessions out of radacct", bound),
            ),
            "bounding",
        ),
        undo=_TURN_BACK,
    ),
    State(
        "bounding",
        "all is ready for the swap; rlm_sql writes",
        adopt=Way(
            (
                _MOVE_BOUNDARY,
                Step("the CHECK is validated: every closed session is read once", validate),
                Step("the routers of open sessions are found", find_routers),
                Step(
                    "radacct becomes a partition of the table that takes its name",
                    swap_tables,
                    postponable=True,
                ),
            ),
            "swapped",
            again="opening",
        ),
        undo=_TURN_BACK,
    ),
    State(
        "swapped",
        "radacct is partitioned; partitions ahead are being made",
        adopt=Way((Step("the partitions ahead are made", finish),), "done"),
        undo=_BEGIN_TO_UNDO,
    ),
    State("done", "radacct is partitioned", undo=_BEGIN_TO_UNDO),
    State(
        "undoing",
        "the way back is being prepared; radacct is partitioned",
        undo=Way(
            (
                Step("sessions that share an id are told apart, the unique index is made again", make_unique),
                Step("the closed sessions' table gets its name back, the others inherit", swap_tables_back),
            ),
            "returning",
        ),
    ),
    State(
        "returning",
        "radacct is FreeRADIUS's own again, sessions are moving back into it",
        undo=Way(
            (
                Step("the sessions of the other tables move back, in batches", return_rows),
                Step("columns, indexes, trigger and counters are taken away", tidy),
            ),
            "undone",
        ),
    ),
    State("undone", "radacct is FreeRADIUS's own again"),
)

# In these states radmeter's own writers can write. A swap must keep them out.
PARTITIONED = ("swapped", "done", "undoing")
MEANS: Mapping[str, str] = {state.name: state.means for state in STATES}
ADOPT: Mapping[str, Way] = {state.name: state.adopt for state in STATES if state.adopt is not None}
UNDO: Mapping[str, Way] = {state.name: state.undo for state in STATES if state.undo is not None}


def goes_on_with(state: str, postponed: bool = False) -> str:
    """Return the command, after `radmeter`, that goes on with an adoption in this state. Not for `done`."""
    if state == "bounding" and postponed:
        return "adopt --swap"
    return "adopt --from radacct" if state in ADOPT else "adopt --undo"


def walk(operation: Operation, ways: Mapping[str, Way], until: str) -> Adoption:
    """Do the steps of each state until the adoption is in the state `until`, or the next step is postponed.

    Return the adoption.
    """
    adoption = _latest(operation)
    while adoption.state != until:
        way, here = ways[adoption.state], adoption.state
        for step in way.steps:
            if step.postponable and adoption.swap_postponed_at is not None:
                return adoption
            operation.hold_back()
            take(step, operation, adoption)
            adoption = _latest(operation)
            if adoption.state != here:
                break
        assert adoption.state in (way.next, way.again), f"from {here} to {adoption.state}"
    return adoption


def take(step: Step, operation: Operation, adoption: Adoption) -> None:
    """Do a step. Tests replace this function to kill an adoption before or after a step."""
    step.function(operation, adoption)
    operation.note_locks()


def _latest(operation: Operation) -> Adoption:
    adoption = written.latest(operation.connection)
    assert adoption is not None
    return adoption
