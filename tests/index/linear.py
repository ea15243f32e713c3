"""Whether a recorded history of one picture can be put into an order that explains every answer (Wing and Gong, 1993).

A history is linearizable when its calls can be lined up, each at one moment between its begin and its end, so that a
gallery that does one thing at a time would have given the same answers. Calls on different pictures are independent
(Herlihy and Wing, 1990), so each picture is looked at alone. The search remembers where it has been (Lowe, 2017).
"""

from dataclasses import dataclass
from typing import Literal

Held = tuple[int, str] | None
"""What a gallery has of one picture: its id and label, or nothing."""


@dataclass(frozen=True)
class Call:
    """One call about one picture, from `begin` to `end`.

    append: `label` was given, `id` came back, `new` says whether it was added. remove, update (to `label`): of `id`;
    `refused` where no item had it. read: `id` and `label` are what was there, None and "" for nothing.
    """

    do: Literal["append", "remove", "update", "read"]
    begin: float
    end: float
    id: int | None = None
    label: str = ""
    new: bool = False
    refused: bool = False


def after(call: Call, held: Held) -> tuple[bool, Held]:
    """Whether the answer of `call` fits a gallery that has `held`, and what that gallery has afterwards."""
    if call.do == "read":
        return held == (None if call.id is None else (call.id, call.label)), held
    if call.do == "append":
        assert call.id is not None
        fits = held is None if call.new else held is not None and held[0] == call.id
        return fits, (call.id, call.label)
    there = held is not None and held[0] == call.id
    if call.refused or not there:
        return call.refused and not there, held
    return True, None if call.do == "remove" or call.id is None else (call.id, call.label)


def is_linearizable(calls: list[Call]) -> bool:
    """Whether some order of `calls`, of a picture that was not there at first, explains them all."""
    calls = sorted(calls, key=lambda call: call.begin)
    seen: set[tuple[int, Held]] = set()
    ahead: list[tuple[int, Held]] = [((1 << len(calls)) - 1, None)]
    while ahead:
        left, held = ahead.pop()
        if not left:
            return True
        if (left, held) in seen:
            continue
        seen.add((left, held))
        waiting = [number for number in range(len(calls)) if left >> number & 1]
        earliest_end = min(calls[number].end for number in waiting)
        for number in waiting:  # only a call that began before every other one ended may be the next
            if calls[number].begin <= earliest_end:
                fits, then = after(calls[number], held)
                if fits:
                    ahead.append((left & ~(1 << number), then))
    return False
