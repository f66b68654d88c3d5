"""Lines from real files on disk: what is accepted, and the one-line error of everything that is not."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from hybrid_jax.data import jsonl
from hybrid_jax.data.records import DataError


def collect(path: Path) -> tuple[list[tuple[int, dict]], list[str]]:
    bad: list[str] = []
    objects = list(jsonl.read_objects(path, lambda error: bad.append(str(error))))
    return objects, bad


def written(tmp_path: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\n{"a": 2}',
        b'{"a": 1}\r\n{"a": 2}\r\n',
        b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n',
    ],
    ids=["plain", "no newline at the end", "Windows line ends", "byte order mark"],
)
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_the_same_objects_however_the_file_was_saved(tmp_path: Path, content: bytes, compress: bool) -> None:
    path = written(tmp_path, gzip.compress(content) if compress else content)
    assert collect(path) == ([(1, {"a": 1}), (2, {"a": 2})], [])


def test_blank_lines_are_skipped_and_still_counted(tmp_path: Path) -> None:
    assert collect(written(tmp_path, b'\n{"a": 1}\n  \n{"a": 2}\n\n')) == ([(2, {"a": 1}), (4, {"a": 2})], [])


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": "one\u2028two\x85three"}\n'.encode())
    assert collect(path) == ([(1, {"a": "one\u2028two\x85three"})], [])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"a": 1', "malformed JSON"),
        (b'{"a": 1} {"a": 2}', "malformed JSON"),
        (b"[" * 100_000, "malformed JSON"),
        (b'{"a": ' + b"1" * 10_000 + b"}", "malformed JSON"),
        (b'["a", 1]', "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b'{"a": "caf\xe9"}', "invalid UTF-8 at byte 10"),
    ],
    ids=["cut", "two objects", "nested too deep", "number too long", "list", "null", "Latin-1"],
)
def test_a_bad_line_is_named_and_the_others_are_kept(tmp_path: Path, line: bytes, what: str) -> None:
    path = written(tmp_path, b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    objects, bad = collect(path)
    assert objects == [(1, {"a": 1}), (3, {"a": 3})]
    assert len(bad) == 1
    assert bad[0].startswith(f"{path}:2: {what}")
    assert "\n" not in bad[0]


def test_a_bad_line_stops_the_reading_when_the_caller_raises(tmp_path: Path) -> None:
    def stop(error: DataError) -> None:
        raise error

    objects = jsonl.read_objects(written(tmp_path, b'{"a": 1}\n{\n'), stop)
    assert next(objects) == (1, {"a": 1})
    with pytest.raises(DataError, match=r"rows\.jsonl:2: malformed JSON"):
        next(objects)


def test_a_truncated_gzip_gives_the_lines_before_the_cut_and_says_so(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"n": n, "noise": hash_of(n)}).encode() + b"\n" for n in range(2000))
    whole = gzip.compress(lines)
    path = written(tmp_path, whole[: len(whole) // 2], "rows.jsonl.gz")
    objects, bad = collect(path)
    assert 0 < len(objects) < 2000
    assert [value["n"] for _, value in objects] == list(range(len(objects)))
    assert bad == [f"{path}:{len(objects) + 1}: gzip data truncated, fetch the file again (`gzip -t` must accept it)"]


def hash_of(n: int) -> str:
    """Text that gzip cannot shrink much, so that the file has several blocks."""
    return hashlib.sha256(str(n).encode()).hexdigest()


def test_a_damaged_gzip_is_reported(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(b'{"a": 1}\n' * 100))
    whole[-6] ^= 0xFF  # the checksum
    _, bad = collect(written(tmp_path, bytes(whole), "rows.jsonl.gz"))
    assert len(bad) == 1
    assert "gzip data damaged" in bad[0]


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", gzip.compress(b"")], ids=["no bytes", "blank lines", "gzip of nothing"]
)
def test_an_empty_file_is_reported(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    objects, bad = collect(path)
    assert objects == []
    assert bad == [f"{path}:1: the file is empty, remove it from the dataset's path or fetch it again"]
    with pytest.raises(DataError, match="the file is empty"):
        jsonl.read_document(path)


def test_a_file_that_cannot_be_opened_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: cannot be read \(No such file"):
        collect(tmp_path / "gone.jsonl")


def test_a_document_may_span_lines_and_its_errors_name_the_line(tmp_path: Path) -> None:
    assert jsonl.read_document(written(tmp_path, b'\xef\xbb\xbf{\n "a":\n 1\n}\n')) == {"a": 1}
    with pytest.raises(DataError, match=r"rows\.jsonl:3: malformed JSON"):
        jsonl.read_document(written(tmp_path, b'{\n "a": 1,\n oops\n}'))
    with pytest.raises(DataError, match=r"rows\.jsonl:2: invalid UTF-8"):
        jsonl.read_document(written(tmp_path, b'{\n "a": "\xff"\n}'))
    with pytest.raises(DataError, match="gzip data truncated"):
        jsonl.read_document(written(tmp_path, gzip.compress(b'{"a": 1}')[:-4]))


@pytest.mark.parametrize("compress", [False, True])
def test_a_line_beyond_the_limit_is_named_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE", 100)
    long = b'{"a": "' + b"x" * 1000 + b'"}'
    for lines, kept in (
        ([long, b'{"a": 2}'], [2]),
        ([b'{"a": 1}', long], [1]),
        ([b'{"a": 1}', long, b'{"a": 3}'], [1, 3]),
    ):
        content = b"\n".join(lines)
        objects, bad = collect(written(tmp_path, gzip.compress(content) if compress else content))
        assert [value["a"] for _, value in objects] == kept
        number = lines.index(long) + 1
        assert bad == [f"{tmp_path}/rows.jsonl:{number}: a line of more than 100 bytes, split it or remove it"]


def test_a_document_beyond_the_limit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_DOCUMENT", 10)
    assert jsonl.read_document(written(tmp_path, b'{"a": 123}')) == {"a": 123}
    with pytest.raises(DataError, match=r"rows.jsonl:1: more than 10 bytes in one JSON object, split it"):
        jsonl.read_document(written(tmp_path, b'{"a": 1234}'))
