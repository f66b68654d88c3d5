"""A run's folder is claimed, resumed, overwritten or refused; a refusal changes nothing in it."""

from pathlib import Path
from typing import Any

import pytest

from hybrid_jax.runs.lines import write_line
from hybrid_jax.runs.workdir import WorkdirError, check_same_sources, claim, note_start, read_log, read_record


def same(text: str) -> list[str]:
    return []


def begin(folder: Path, sources: dict[str, Any], provenance: dict[str, Any]) -> None:
    check_same_sources(folder, sources)
    note_start(folder, sources, provenance)


def other(text: str) -> list[str]:
    return [f"seed: {text} -> 2"]


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "begun"
    assert claim(folder, "1", same)
    begin(folder, {"demo": {"sha256": "a"}}, {"commit": 1})
    (folder / "metrics.jsonl").write_text('{"step": 0}\n')
    return folder


def test_a_new_folder_gets_its_config_first(tmp_path: Path):
    assert claim(tmp_path / "a" / "b", "seed: 1", other)
    assert [(path.name, path.read_text()) for path in (tmp_path / "a" / "b").iterdir()] == [("config.yaml", "seed: 1")]


def test_the_same_config_resumes(begun: Path):
    assert not claim(begun, "anything", same)
    assert (begun / "config.yaml").read_text() == "1"


def test_another_config_is_refused_with_the_differences(begun: Path):
    with pytest.raises(WorkdirError, match=r"another config \(seed: 1 -> 2\): use the same config .* --workdir"):
        claim(begun, "2", other)
    assert (begun / "config.yaml").read_text() == "1"


def test_a_run_without_a_step_may_be_overwritten(begun: Path):
    (begun / "metrics.jsonl").write_text("")
    assert claim(begun, "2", other)
    assert (begun / "config.yaml").read_text() == "2"
    begin(begun, {"demo": {"sha256": "b"}}, {"commit": 2})  # and so do its sources
    (begun / "checkpoints" / "5").mkdir(parents=True)
    with pytest.raises(WorkdirError):
        claim(begun, "3", other)


def test_batches_that_were_left_out_stay_left_out(begun: Path):
    """The loss diverged before the first checkpoint, and the run was stopped when it had gone back."""
    (begun / "metrics.jsonl").write_text("")
    (begun / "skipped.json").write_text("{}")
    assert not claim(begun, "1", same)
    assert (begun / "skipped.json").exists()
    with pytest.raises(WorkdirError, match="holds a run with another config"):
        claim(begun, "2", other)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(WorkdirError, match=r"is not empty and not a run .*choose another --workdir"):
            claim(folder, "1", same)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_every_start_is_noted_and_the_sources_must_stay(begun: Path):
    begin(begun, {"demo": {"sha256": "a"}}, {"commit": 2})
    run = read_record(begun)
    assert (run["data"], run["starts"]) == ({"demo": {"sha256": "a"}}, [{"commit": 1}, {"commit": 2}])
    for sources, named in [({"demo": {"sha256": "b"}}, "demo"), ({"demo": {"sha256": "a"}, "new": {}}, "new")]:
        with pytest.raises(WorkdirError, match=f"the content of {named} is not what this run began with"):
            begin(begun, sources, {"commit": 3})
    assert read_record(begun) == run


def test_a_changed_character_of_run_json_or_config_yaml_is_named(begun: Path):
    text = (begun / "run.json").read_text()
    (begun / "run.json").write_text(text.replace('"commit": 1', '"commit": 7'))
    with pytest.raises(WorkdirError, match=r"run\.json is damaged \(it is not what was written\): restore it"):
        begin(begun, {"demo": {"sha256": "a"}}, {"commit": 2})
    (begun / "run.json").write_text(text)
    (begun / "config.yaml").write_text("7")
    with pytest.raises(WorkdirError, match=r"config\.yaml is damaged \(it is not what the run wrote\): restore it"):
        begin(begun, {"demo": {"sha256": "a"}}, {"commit": 2})
    assert (begun / "run.json").read_text() == text


def test_a_changed_digit_in_the_log_is_named(begun: Path):
    path = begun / "metrics.jsonl"
    lines = [write_line({"step": step, "loss": 1.5}) for step in range(3)]
    path.write_text("".join(lines))
    assert list(read_log(path)) == [(line, {"step": step, "loss": 1.5}) for step, line in enumerate(lines)]
    for old, new in (("1.5", "1.7"), ('"crc32": "', '"crc32": "f'), ('"step": 1', '"step": 3')):
        path.write_text("".join([lines[0], lines[1].replace(old, new), lines[2]]))
        with pytest.raises(WorkdirError, match=r"metrics.jsonl, line 2: damaged, .*restore the file"):
            list(read_log(path))


def test_a_damaged_run_json_is_named(begun: Path):
    (begun / "run.json").write_text('{"data": {')
    with pytest.raises(WorkdirError, match=r"run\.json is damaged .*: restore it"):
        begin(begun, {}, {})


def test_a_log_is_read_without_a_last_line_that_was_cut_short(begun: Path):
    path = begun / "metrics.jsonl"
    records = [{"step": step, "loss": 2.5} for step in range(3)]
    lines = [write_line(record) for record in records]
    path.write_text("".join(lines)[:-5])
    assert list(read_log(path)) == list(zip(lines[:2], records[:2], strict=True))
    assert list(read_log(begun / "none.jsonl")) == []


@pytest.mark.parametrize(
    "damage", [b"{", b"{}", b"[]", b'{"step": "1"}', b"\xff\x00", b"", b'{"step": 1}', b"[" * 9999]
)
def test_a_damaged_line_of_the_log_is_named_with_what_to_do(begun: Path, damage: bytes):
    path = begun / "metrics.jsonl"
    before, after = (write_line({"step": step}).encode() for step in (0, 2))
    path.write_bytes(before + damage + b"\n" + after)
    with pytest.raises(
        WorkdirError, match=r"metrics.jsonl, line 2: damaged, .*restore the file, or remove this line"
    ) as said:
        list(read_log(path))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"data": 3, "starts": []}', '{"data": {}}', "[" * 9999])
def test_a_damaged_list_of_starts_is_one_line_with_what_to_do(begun: Path, content: str):
    (begun / "run.json").write_text(content)
    with pytest.raises(WorkdirError, match=r"run.json is damaged .*: restore it, or remove it if the data are") as said:
        begin(begun, {"demo": {"sha256": "a"}}, {})
    assert "\n" not in str(said.value)
    assert (begun / "run.json").read_text() == content
