"""Variable return paths: what goes out comes back as the same delivery, and nobody else can make one up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.domain.inboxes import split_subaddress
from daimon_mcp.domain.verp import delivery_of, return_path

KEY = b"k" * 32
LOCALS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
NUMBERS = st.integers(min_value=0, max_value=2**62)


def came_back(path: str, key: bytes = KEY) -> int | None:
    """The delivery that mail to this address is about; servers on the way may have changed its case."""
    base, tag = split_subaddress(path.lower().rpartition("@")[0])
    return delivery_of(key, base, tag)


@given(local=LOCALS, tag=st.sampled_from(["", "+tag", "+B-2-x"]), number=NUMBERS)
def test_a_return_path_comes_back_as_its_delivery(local: str, tag: str, number: int) -> None:
    path = return_path(KEY, f"{local}{tag}@agents.example", number)
    assert path.endswith("@agents.example")
    assert len(path.rpartition("@")[0]) <= 64
    assert split_subaddress(path.rpartition("@")[0])[0] == local  # it reaches the sender's own inbox
    assert came_back(path) == came_back(path.upper()) == number


@given(local=LOCALS, other=LOCALS, number=NUMBERS, wrong=NUMBERS)
def test_nobody_makes_one_up(local: str, other: str, number: int, wrong: int) -> None:
    path = return_path(KEY, f"{local}@agents.example", number)
    tag = path.rpartition("@")[0].partition("+")[2]
    assert came_back(path, b"another key") is None
    if other != local:
        assert delivery_of(KEY, other, tag) is None
    if wrong != number:
        forged = return_path(b"another key", f"{local}@agents.example", wrong).rpartition("@")[0].partition("+")[2]
        proof = tag.rpartition("-")[2]
        assert delivery_of(KEY, local, f"{forged.rpartition('-')[0]}-{proof}") is None


@given(tag=st.one_of(st.none(), st.text(max_size=80), st.text(max_size=80).map("b-".__add__)))
def test_other_tags_are_about_no_delivery(tag: str | None) -> None:
    assert delivery_of(KEY, "robo", tag) is None


def test_one_that_would_be_too_long_is_the_sender_itself() -> None:
    sender = f"{'a' * 50}@agents.example"
    assert return_path(KEY, sender, 1) == sender


@pytest.mark.parametrize("sender", ["Robo@agents.example", "robo+x@agents.example"])
def test_the_case_and_the_tag_of_the_sender_do_not_matter(sender: str) -> None:
    assert came_back(return_path(KEY, sender, 77)) == 77
