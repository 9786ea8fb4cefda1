from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.errors import SettingsError
from app.settings.env_file import read_env_file

HUBS = """EVENT_HUB_CONNECTION_STRINGS='["Endpoint=sb://a.test/;SharedAccessKey=canary-key"]'"""


def read(folder: Path, written: str | bytes) -> Mapping[str, str]:
    file = folder / ".env"
    file.write_bytes(written.encode() if isinstance(written, str) else written)
    return read_env_file(file)


def problems(folder: Path, written: str) -> list[str]:
    """Give what is refused of a file; an empty list where nothing is."""
    try:
        read(folder, written)
    except SettingsError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("A=b", {"A": "b"}),
        ("\ufeffA=b\n", {"A": "b"}),
        ("A=b\r\nB='c d'\r\n", {"A": "b", "B": "c d"}),
        ("# comment\n\n  export A = b # behind\n", {"A": "b"}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
        ("A='${HOME} $(x)'", {"A": "${HOME} $(x)"}),
        ('A=\'[\n  "one",\n  "two"\n]\'\nB=c\n', {"A": '[\n  "one",\n  "two"\n]', "B": "c"}),
        ("A=b\nA=b\n", {"A": "b"}),
        (r"A='it\'s \\'", {"A": "it's \\"}),
        ("", {}),
    ],
    ids=[
        "plain",
        "byte order mark",
        "line ends of Windows",
        "comments, export, spaces",
        "empty",
        "not expanded",
        "a list over several lines",
        "the same twice",
        "escaped in single quotes",
        "nothing",
    ],
)
def test_what_is_well_written_is_read(tmp_path: Path, written: str, values: dict[str, str]) -> None:
    assert read(tmp_path, written) == values


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (f"A=b\n{HUBS};\n", [".env line 2: a quote is not closed, or something follows the closing one"]),
        (
            "A=b\n\nB='open\nC=d\n",
            [".env line 3: a quote is not closed, or something follows the closing one"],
        ),
        (
            "A='open\nB=c\nC='\n",
            [".env line 1: a quote is closed only after further lines that set something"],
        ),
        ("MICROSHARE_USERNAME: canary\n", [".env line 1: sets nothing"]),
        ("MICROSHARE_PASSWORD:canary=\n", [".env line 1: what is before = is not the name of a variable"]),
        ("export A\n", [".env line 1: sets nothing"]),
        ("A # B=c\n", [".env line 1: sets nothing"]),
        ("set A=b\n", [".env line 1: what is before = is not the name of a variable"]),
        ("$env:A = 'b'\n", [".env line 1: what is before = is not the name of a variable"]),
        ("- A=b\n", [".env line 1: what is before = is not the name of a variable"]),
        ("A B=b\n", [".env line 1: what is before = is not the name of a variable"]),
        ("= b\n", [".env line 1: what is before = is not the name of a variable"]),
        ("export A = 'b' c\n", [".env line 1: a quote is not closed, or something follows the closing one"]),
        ('"A"=b\n', [".env line 1: what is before = is not the name of a variable"]),
        ("A=b\n\ufeffB=c\n", [".env line 2: what is before = is not the name of a variable"]),
        ("canary-on-a-line-of-its-own\n", [".env line 1: sets nothing"]),
        ("A=b\nB=c\nA=d\n", [".env line 3: A has another value in line 1"]),
        ("A: b\nB: c\n", [".env line 1: sets nothing", ".env line 2: sets nothing"]),
    ],
    ids=[
        "a semicolon behind the quote",
        "an open quote",
        "a quote closed three lines on",
        "a colon",
        "a colon, and = in the value",
        "export without a value",
        "= in the comment alone",
        "the set of Windows",
        "PowerShell",
        "an entry of a list",
        "a space in the name",
        "no name",
        "something behind the quote",
        "a name in quotes",
        "a byte order mark inside",
        "a value on a line of its own",
        "two values of one name",
        "two lines",
    ],
)
def test_what_would_set_nothing_is_refused_with_its_line_and_without_what_stands_there(
    tmp_path: Path, written: str, found: list[str]
) -> None:
    told = problems(tmp_path, written)

    assert [problem.partition(";")[0] for problem in told] == found
    assert all(problem.partition("; ")[2] for problem in told)
    assert "canary" not in "".join(told)


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, "A: b\n")

    assert str(refused.value).startswith(
        f"{tmp_path / '.env'}: 1 problem\n  - .env line 1: sets nothing; write "
    )


def test_a_file_in_utf_16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        read(tmp_path, "A=b\n".encode("utf-16"))


def test_where_there_is_no_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}
    assert read_env_file(tmp_path / "nowhere" / ".env") == {}


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30),
        max_size=5,
    )
)
def test_what_is_written_in_single_quotes_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    # A line of a value that sets something looks like a quote that was left open.
    values = {name: value for name, value in values.items() if "=" not in value}
    escaped = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in values.items()}
    written = "".join(f"{name}='{value}'\n" for name, value in escaped.items())

    assert read(tmp_path_factory.mktemp("env"), written) == values


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, written: str) -> None:
    folder = tmp_path_factory.mktemp("env")

    assert all(problem.startswith(".env line ") for problem in problems(folder, written))
