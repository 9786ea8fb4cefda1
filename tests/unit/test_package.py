"""The package for Azure Functions: what of wheels and locks goes into it, always as the same bytes."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.locks import Locked
from tools.package import PACKAGES, gathered, needed, unpacked, write_zip


def wheel(path: Path, files: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_of_a_wheel_what_is_imported_is_taken_from_where_it_would_be_installed(tmp_path: Path) -> None:
    inside = {
        "one/__init__.py": "1",
        "one/": "",
        "one-1.data/platlib/one/fast.so": "2",
        "one-1.dist-info/WHEEL": "3",
    }
    other = {
        "one-1.data/scripts/one": "#!python",
        "one-1.data/data/share/man/one.1": "",
        "one-1.data/headers/h": "",
    }

    found = dict(unpacked(wheel(tmp_path / "one.whl", inside | other)))

    assert found == {"one/__init__.py": b"1", "one/fast.so": b"2", "one-1.dist-info/WHEEL": b"3"}


def test_two_wheels_may_have_the_same_file_and_no_two_of_one_name(tmp_path: Path) -> None:
    one = wheel(tmp_path / "one.whl", {"shared/__init__.py": "", "shared/one.py": "1"})
    two = wheel(tmp_path / "two.whl", {"shared/__init__.py": "", "shared/two.py": "2"})
    three = wheel(tmp_path / "three.whl", {"shared/one.py": "3"})

    assert sorted(gathered({"host.json": b"{}"}, [one, two])) == [
        f"{PACKAGES}/shared/__init__.py",
        f"{PACKAGES}/shared/one.py",
        f"{PACKAGES}/shared/two.py",
        "host.json",
    ]
    with pytest.raises(ValueError, match=r"shared/one.py is in three.whl and in another wheel"):
        gathered({}, [one, three])


def test_the_same_files_are_the_same_bytes_whatever_their_order_and_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    write_zip({"b/c": b"2" * 5000, "a": b"1"}, tmp_path / "one.zip")
    os.umask(before)
    write_zip({"a": b"1", "b/c": b"2" * 5000}, tmp_path / "two.zip")

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    entries = zipfile.ZipFile(tmp_path / "one.zip").infolist()
    assert [(entry.filename, entry.date_time[0], entry.external_attr >> 16) for entry in entries] == [
        ("a", 1980, 0o100644),
        ("b/c", 1980, 0o100644),
    ]


@pytest.mark.parametrize(("python", "names"), [("3.12", ["a==1", "b==3"]), ("3.13", ["a==2", "b==3"])])
def test_of_a_lock_what_the_other_python_needs_is_fetched(python: str, names: list[str]) -> None:
    wanted = [
        "a==1; python_full_version<'3.13'",
        "a==2; python_full_version>='3.13'",
        "b==3",
        "c==4; os_name=='nt'",
    ]
    locked = [Locked(Requirement(one), ("sha256:1", "sha256:2"), frozenset()) for one in wanted]

    assert needed(locked, python) == "".join(f"{name} --hash=sha256:1 --hash=sha256:2\n" for name in names)
