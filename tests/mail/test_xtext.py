"""xtext, as ENVID and ORCPT are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.xtext import decode, encode, is_xtext


def test_as_rfc_3461_has_it() -> None:
    assert encode("Ann+tag=1 @x.example") == "Ann+2Btag+3D1+20@x.example"
    assert decode("Ann+2Btag+3D1+20@x.example") == "Ann+tag=1 @x.example"
    assert decode("") == ""
    assert decode("+2b") == "+"
    assert encode("ü") == "+C3+BC"
    assert decode("ü+C3+BC") == "üü"


@pytest.mark.parametrize("text", ["a b", "a=b", "a+", "a+2", "a+2G", "a\r\nb", "a\x7f", "\x00"])
def test_what_is_no_xtext(text: str) -> None:
    assert decode(text) is None
    assert not is_xtext(text)


def test_only_upper_case_is_to_the_letter() -> None:
    assert is_xtext("QQ314159+2B")
    assert not is_xtext("a+2b")
    assert not is_xtext("ü")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(text: str) -> None:
    encoded = encode(text)
    assert is_xtext(encoded)
    assert decode(encoded) == text
