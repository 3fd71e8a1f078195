"""Only payloads that our own program logged are read from a log, whatever other programs write there."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmart.chain.logs import Payload, walk

OURS = "6s8bbbCS7oNYNnTUHgrPDHG4jqaSrD6MSxQSPVR1rxw"
EVIL = "Fg6PaFpoGXkYsidMpWTK6W2BeZ7FEfcYkg476zPFsLnS"
SYSTEM = "11111111111111111111111111111111"
BUDGET = "ComputeBudget111111111111111111111111111111"


def enter(program, depth=1):
    return f"Program {program} invoke [{depth}]"


def leave(program):
    return f"Program {program} success"


def data(raw):
    return "Program data: " + base64.b64encode(raw).decode()


def payloads(*lines):
    return [p.data for p in walk(lines, OURS).payloads]


def test_our_data_is_found_also_after_a_call_to_another_program():
    log = [
        enter(BUDGET),
        leave(BUDGET),
        enter(OURS),
        "Program log: Instruction: BuyShares",
        data(b"one"),
        enter(SYSTEM, 2),
        leave(SYSTEM),
        data(b"two"),
        f"Program {OURS} consumed 1200 of 200000 compute units",
        leave(OURS),
    ]
    assert payloads(*log) == [b"one", b"two"]


def test_another_programs_data_is_ignored_at_every_depth():
    assert payloads(enter(EVIL), data(b"forged"), leave(EVIL)) == []
    assert payloads(
        enter(OURS), enter(EVIL, 2), data(b"forged"), leave(EVIL), data(b"ours"), leave(OURS)
    ) == [b"ours"]
    assert payloads(enter(EVIL), enter(OURS, 2), data(b"ours"), leave(OURS), data(b"forged")) == [b"ours"]


def test_a_log_message_cannot_pose_as_the_runtime():
    log = [
        enter(EVIL),
        f"Program log: {enter(OURS, 2)}",
        f"Program log: x\n{enter(OURS, 2)}",
        f"Program log: {leave(EVIL)}",
        data(b"forged"),
        leave(EVIL),
    ]
    assert payloads(*log) == []


def test_the_end_of_an_invocation_ends_its_trust():
    assert payloads(enter(OURS), leave(OURS), data(b"stray")) == []
    failed = f"Program {OURS} failed: custom program error: 0x1"
    assert payloads(enter(OURS), failed, data(b"stray")) == []


def test_invocations_are_counted_so_that_the_emitting_instruction_is_known():
    log = [
        enter(OURS),
        data(b"a"),
        leave(OURS),
        enter(EVIL),
        enter(OURS, 2),
        data(b"b"),
        leave(OURS),
        leave(EVIL),
        enter(OURS),
        data(b"c"),
        leave(OURS),
    ]
    assert walk(log, OURS).payloads == (Payload(0, b"a"), Payload(1, b"b"), Payload(2, b"c"))


def test_a_cut_log_is_told_and_nothing_behind_the_cut_is_believed():
    log = walk([enter(OURS), data(b"a"), "Log truncated", data(b"b"), leave(OURS)], OURS)
    assert (log.payloads, log.truncated) == ((Payload(0, b"a"),), True)
    assert not walk([enter(OURS), "Program log: Log truncated"], OURS).truncated


def test_a_depth_that_does_not_follow_trusts_nobody():
    assert payloads(enter(OURS), enter(EVIL, 3), data(b"x")) == []
    assert payloads(enter(OURS, 2), data(b"x")) == []
    assert payloads(enter(OURS), leave(EVIL), data(b"x")) == []


@pytest.mark.parametrize(
    "line", ["Program data: ", "Program data: a b", "Program data: %%", "Program data: YQ"]
)
def test_data_that_is_no_single_base64_still_takes_its_place(line):
    result = payloads(enter(OURS), line, data(b"next"))
    assert len(result) == 2
    assert result[1] == b"next"


pieces = st.sampled_from(
    [
        enter(OURS),
        enter(OURS, 2),
        enter(EVIL),
        enter(EVIL, 2),
        leave(OURS),
        leave(EVIL),
        data(b"payload"),
        "Log truncated",
        "Program data: !",
        "Program  invoke [1]",
        f"Program {OURS} invoke [999]",
        f"Program {OURS} invoke [0]",
        f"Program {OURS} failed: ",
    ]
)


@given(st.lists(st.one_of(pieces, st.text(max_size=40)), max_size=60))
def test_no_log_makes_the_walk_raise_or_trust_others(lines):
    result = walk(lines, OURS)
    assert len(result.payloads) <= sum(line.startswith("Program data: ") for line in lines)
    if enter(OURS) not in lines and enter(OURS, 2) not in lines:
        assert not result.payloads


@given(st.integers(1, 6), st.data())
def test_a_well_formed_log_gives_exactly_our_payloads(depth, choices):
    """Random nested calls of our program and another: exactly our program's payloads are found, in order."""
    lines, expected = [], []

    def call(level):
        program = choices.draw(st.sampled_from([OURS, EVIL]))
        lines.append(enter(program, level))
        for _ in range(choices.draw(st.integers(0, 2))):
            raw = bytes([len(lines) % 256])
            lines.append(data(raw))
            if program == OURS:
                expected.append(raw)
            if level < depth and choices.draw(st.booleans()):
                call(level + 1)
        lines.append(leave(program))

    call(1)
    assert payloads(*lines) == expected


@pytest.mark.parametrize(
    "log",
    [
        [enter(OURS), data(b"a")],
        [data(b"a"), leave(OURS)],
        [enter(OURS), enter(EVIL, 2), data(b"x"), leave(OURS)],
        [enter(OURS), enter(OURS), leave(OURS)],
        [leave(OURS)],
    ],
)
def test_a_log_with_missing_lines_is_told_although_no_mark_stands_for_them(log):
    """Case I5: a log without some of its lines is recognized as broken, even without the node's truncation mark."""
    assert walk(log, OURS).broken


def test_a_whole_log_is_not_taken_for_one_with_gaps():
    log = [enter(BUDGET), leave(BUDGET), enter(OURS), enter(SYSTEM, 2), leave(SYSTEM), leave(OURS)]
    result = walk(log, OURS)
    assert (result.broken, result.invocations) == (False, 1)
