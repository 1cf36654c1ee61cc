"""Base64, quoted-printable and uuencode as they come."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daimon_mcp.mail.transfer import decode_base64, decode_transfer


@pytest.mark.parametrize(
    ("octets", "encoding", "decoded"),
    [
        (b"aGVs\r\n bG8=\r\n", "base64", b"hello"),
        (b"aGVsbG8", "BASE64", b"hello"),
        (b"aGVsbG8=\r\naGVsbG8=\r\n", "base64", b"hellohello"),
        (b"aGVsbG8=\r\n____\r\nA list, and its footer.\r\n", "base64", b"hello"),
        (b"This was never encoded, whatever it says.", "base64", b"This was never encoded, whatever it says."),
        (b"aGVsbG8=", "Base-64", b"hello"),
        (b"a=3d=C3=\r\n=A9", "quoted-printable", b"a=\xc3\xa9"),
        (b"soft =  \r\nbreak  \r\nend\t", "quoted-printable", b"soft break\r\nend"),
        (b"a=zz=4", "Quoted_Printable", b"a=zz=4"),
        (b"one=\rtwo\rthree", "quoted-printable", b"onetwo\nthree"),
        (b"as is =3D", "8 bits", b"as is =3D"),
        (b"as is", "x-nonsense", b"as is"),
        (b"begin 644 a\r%:&5L;&\\\r`\rend\r", "x-uuencode", b"hello"),
    ],
)
def test_encodings(octets: bytes, encoding: str, decoded: bytes) -> None:
    assert decode_transfer(octets, encoding)[0] == decoded


def test_only_what_is_odd_is_warned_of() -> None:
    for encoding in ("7bit", "8bit", "binary", "", "7bits", "8 bit"):
        assert decode_transfer(b"x", encoding)[1] is None
    assert decode_transfer(b"x", "<script>")[1] == "unknown transfer encoding"
    assert decode_transfer(b"aGVsbG8xx", "base64")[1] == "base64 is broken"


@given(st.binary(max_size=1000))
def test_what_was_encoded_reads_back(octets: bytes) -> None:
    assert decode_transfer(base64.encodebytes(octets), "base64") == (octets, None)
    octets = octets.replace(b"\r", b"")
    assert decode_transfer(quopri.encodestring(octets, quotetabs=True), "quoted-printable") == (octets, None)


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "uuencode", ""]))
def test_a_few_octets_never_become_many(octets: bytes, encoding: str) -> None:
    assert len(decode_transfer(octets, encoding)[0]) <= 2 * len(octets)
    decode_base64(octets)
