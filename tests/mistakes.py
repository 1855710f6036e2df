"""Tables of mistakes: what is called, the error it must be, and words that its message must say."""

from collections.abc import Callable
from typing import Any

import pytest

Table = dict[str, tuple[Callable[[], Any], type[Exception], str]]


def named(table: Table) -> Callable[[str], None]:
    """The test that every mistake of a table is named."""

    @pytest.mark.parametrize("name", table)
    def test(name: str) -> None:
        call, kind, message = table[name]
        with pytest.raises(kind, match=message):
            call()

    return test
