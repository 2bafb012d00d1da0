"""Addresses of object stores, and the paths of their near copies."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from orchestrator import objects
from orchestrator.errors import InputError
from orchestrator.files import write_json
from orchestrator.paths import storage_folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(objects.NEAR_HOME, str(tmp_path / "near"))
    return tmp_path / "near" / objects.NEAR


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("s3://bucket", "s3/bucket"),
        ("s3://bucket/", "s3/bucket"),
        ("s3://my.bucket-1/a/b_c/D.e=f/", "s3/my.bucket-1/a/b_c/D.e=f"),
    ],
)
def test_an_address_has_a_near_folder_that_tells_the_address(home: Path, address: str, place: str) -> None:
    folder = storage_folder(address)
    assert folder == home / place
    assert objects.key_of(folder / "x" / "y.json") == ("s3", place.removeprefix("s3/") + "/x/y.json")


@pytest.mark.parametrize(
    "address",
    [
        "s3://", "s3:///a", "s3://bucket/../other", "s3://bucket/.cache", "s3://bucket//a", "s3://b u",
        "s3://ab", "s3://abc-", "s3://b/a?x=1", "http://bucket/a", "file:///tmp/a", "memory://bucket", "gs:/bucket://", "s3://key:secret@bucket/a",
        "s3://bucket/a\nb", "s3://bucket/$(x)", "s3://bucket/\u202e", "S3://bucket", "://",
    ],
)  # fmt: skip
def test_what_no_store_has_as_an_address_is_refused_without_repeating_its_secrets(address: str) -> None:
    with pytest.raises(InputError, match=r"no address of an object store\. Give s3://BUCKET/PREFIX") as error:
        storage_folder(address)
    assert "secret" not in str(error.value)
    storage_folder("s3://bucket/prefix")


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"s3fs is missing\. Install it: pip install -e '\.\[s3\]'"):
        storage_folder("s3://bucket/prefix")
    with pytest.raises(InputError, match=r"gcsfs is missing\. Install it: pip install -e '\.\[gs\]'"):
        storage_folder("gs://bucket/prefix")


def test_a_folder_elsewhere_is_in_no_store_and_asks_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_ask", lambda *_: pytest.fail("a store was asked"))
    file = tmp_path / "sweeps" / "a.json"
    write_json(file, {})
    objects.put(file)
    objects.share(file)
    objects.ensure(file)
    objects.remove(file)
    objects.forget(file.parent)
    assert objects.fetch(file.parent) == {}
    assert objects.create(file, b"x")
    assert file.read_text() == "{}\n"
