"""Values written into a `.env` file: read back as they are, and nothing else in the file is touched."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.settings.env_file import is_read_by_shells, quoted, read_env_file, with_values

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,4}", fullmatch=True)
# What a terminal can give as one line.
LINES_OF_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20) | st.text(
    "'\"\\$`!# =a", max_size=12
)
WRITTEN = st.sampled_from(
    [
        "# a comment\n",
        "\n",
        "  \n",
        "export A=plain # kept\n",
        "B = 'single' # it's kept\n",
        'C="double \\" quote"#kept\n',
        "D=\n",
        "E=  # nothing\n",
        "F='two\nlines'\n",
        "G=a#b\r\n",
        "H=last",
    ]
)


def read(folder: Path, text: str) -> Mapping[str, str]:
    (folder / ".env").write_bytes(text.encode())
    return read_env_file(folder / ".env")


@settings(max_examples=50)
@given(st.lists(WRITTEN, unique=True), st.dictionaries(NAMES | st.sampled_from("ABCDEFGH"), LINES_OF_TEXT))
def test_values_are_read_back_as_they_are_and_others_stay(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], values: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("env")
    # Only the last line of a file may lack its end.
    before = "".join(sorted(lines, key=lambda line: line == "H=last"))

    after = with_values(before, values)

    assert read(folder, after) == {**read(folder, before), **values}
    assert with_values(after, values) == after


def test_lines_and_comments_of_the_file_stay() -> None:
    before = "# mine\nexport A='old'  # why\n\nB=b # B\n#C=example\n"

    after = with_values(before, {"A": "it's", "C": "new"})

    assert after == "# mine\nexport A=\"it's\"  # why\n\nB=b # B\n#C=example\nC='new'\n"


@pytest.mark.parametrize("value", ["two\nlines", "\r", "nul\0", "\ud800"])
def test_what_no_line_can_hold_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ValueError, match="no line of the file can hold") as refused:
        quoted(value)

    assert value not in str(refused.value)


@pytest.mark.parametrize(
    "value", ["plain", "with space", '$HOME `x` ! " #', "it's", "=com.example", '["a","b"]', ""]
)
def test_a_shell_reads_the_same_where_one_form_is_read_by_both(tmp_path: Path, value: str) -> None:
    (tmp_path / "env").write_text(with_values("", {"A": value}))
    shell = shutil.which("sh")
    assert shell is not None

    said = subprocess.run(
        [shell, "-c", '. ./env; printf %s "$A"'], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert is_read_by_shells(value)
    assert said.stdout == value


def test_what_a_shell_would_read_otherwise_is_known() -> None:
    assert [is_read_by_shells(value) for value in ("a\\b", 'it\'s "$x"')] == [False, False]
