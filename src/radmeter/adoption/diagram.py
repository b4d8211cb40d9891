"""The states of an adoption as a diagram, for docs/adoption.md: ``python -m radmeter.adoption.diagram`` writes it."""

from collections.abc import Callable, Iterator
from itertools import groupby

from radmeter import output
from radmeter.adoption.states import MEANS, STATES, State, Way


def diagram() -> str:
    """Return the diagram: each state, its steps, and the next state."""
    adopt = "\n".join(_direction("radmeter adopt --from radacct", lambda state: state.adopt))
    undo = "\n".join(_direction("radmeter adopt --undo", lambda state: state.undo))
    return f"{adopt}\n\n{undo}\n"


def _direction(command: str, way_of: Callable[[State], Way | None]) -> Iterator[str]:
    yield command
    on_the_way = [state for state in STATES if way_of(state) is not None]
    # States with the same way out are drawn as one.
    blocks = [(way, [state.name for state in states]) for way, states in groupby(on_the_way, way_of)]
    joined = False
    for number, (way, names) in enumerate(blocks, start=1):
        assert way is not None
        if not joined:
            yield ""
        yield f"  {', '.join(names)}" + (f": {MEANS[names[0]]}" if len(names) == 1 else "")
        yield from (f"  |  {place}. {step.does}" for place, step in enumerate(way.steps, start=1))
        if way.again is not None:
            yield f"  +--> {way.again} again, if a step finds that something has changed"
        joined = number < len(blocks) and blocks[number][1] == [way.next]
        if joined:
            yield "  v"
        elif number < len(blocks):
            yield f"  +--> {way.next}"
        else:
            yield from ("  v", f"  {way.next}: {MEANS[way.next]}")


if __name__ == "__main__":
    output.say(*diagram().rstrip("\n").split("\n"))
