"""`zmart psql` and `zmart redis-cli` show no password to other users of the machine."""

import pytest

from zmart.ops.backup.programs import without_password


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        ("postgresql://zmart:s3cret@127.0.0.1:5/zmart", "postgresql://zmart@127.0.0.1:5/zmart", "s3cret"),
        ("postgresql://u:a%2Fb%40c@h/d?sslmode=require", "postgresql://u@h/d?sslmode=require", "a/b@c"),
        ("postgresql://u@h/d", "postgresql://u@h/d", ""),
        ("postgresql:///d", "postgresql:///d", ""),
        ("postgresql://u:p@h1:1,h2:2/d", "postgresql://u@h1:1,h2:2/d", "p"),
    ],
)
def test_the_password_leaves_the_address(url: str, address: str, password: str) -> None:
    """P18: the arguments of a program are for everyone to read."""
    assert without_password(url) == (address, password)
