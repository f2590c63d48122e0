#!/usr/bin/env python3
"""Property: the voyage's checker says so where an event is missing, doubled, altered or out of order. Without this a
checker that accepts everything would pass every voyage."""
import copy
import sys

sys.dont_write_bytecode = True
from voyage_kill import SOURCE, check, messages_of  # noqa: E402

LINES = [b"line %d" % (i // 2) for i in range(40)]


def arrived(messages):
    return [{"stream": ("run", "telemetry"), "seq": i + 1, "source": SOURCE, "id": str(i), "payload": payload}
            for i, (_, payload, _) in enumerate(messages)]


def renumbered(events):
    return [event | {"seq": i + 1} for i, event in enumerate(events)]


def main():
    for with_ids in (True, False):
        messages = messages_of(LINES, with_ids)
        right = arrived(messages)
        swapped = copy.deepcopy(right)
        swapped[4], swapped[7] = swapped[7], swapped[4]
        altered = copy.deepcopy(right)
        altered[5]["payload"] = b"other"
        cases = {
            "everything once": (right, [0], True),
            "one missing": (renumbered(right[:9] + right[10:]), [5], False),
            "a gap in the seqs": (right[:9] + right[10:], [5], False),
            "a copy that was in flight": (renumbered(right + right[-1:]), [1], not with_ids),
            "more copies than were in flight": (renumbered(right + right[-2:]), [1], False),
            "another payload": (altered, [5], False),
            "seqs out of order": (swapped, [5], False),
            "order of publishing": (renumbered(swapped), [5], not with_ids),
        }
        for name, (events, in_flight, good) in cases.items():
            faults, _ = check(events, messages, with_ids, in_flight)
            if (not faults) != good:
                return f"{name}, ids {with_ids}: {faults or 'no fault seen'}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
