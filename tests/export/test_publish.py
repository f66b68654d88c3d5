"""--push-to-hub: what would be uploaded, what is uploaded to a server that answers as the hub does, and refusals."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from hybrid_jax.export import __main__ as cli
from hybrid_jax.export.publish import listed

ROOT = Path(__file__).resolve().parents[2]


class Hub(ThreadingHTTPServer):
    """Answers what the hub answers when a repository is created and files are committed, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.created: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.refuses = False
        self.private = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        assert self.path.split("?")[0] == "/api/models/me/model"
        self._answer({"id": "me/model", "private": self.server.private})

    def do_POST(self) -> None:
        lines = self.rfile.read(int(self.headers.get("content-length", 0))).splitlines()
        path = self.path.split("?")[0]
        answer: dict = {}
        if path == "/api/repos/create":
            self.server.created.append(json.loads(lines[0]))
            answer = {"url": f"{self.server.address}/me/model", "id": "me/model"}
        elif "/preupload/" in path:
            names = [file["path"] for file in json.loads(lines[0])["files"]]
            answer = {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
        elif "/commit/" in path:
            for item in map(json.loads, lines):
                if item["key"] == "file":
                    self.server.files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            answer = {"commitUrl": f"{self.server.address}/me/model/commit/1", "commitOid": "1" * 40}
        self._answer(answer)

    def _answer(self, answer: dict) -> None:
        content = json.dumps({"error": "Forbidden"} if self.server.refuses else answer).encode()
        self.send_response(403 if self.server.refuses else 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def environment_of(endpoint: str, home: Path) -> dict[str, str]:
    """The environment of a process that knows this server as the hub."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "XLA_FLAGS")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_nothing", "HF_HOME": str(home)}
    return environment | {"PYTHONPATH": str(ROOT)}


def export(run: Path, out: Path, endpoint: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a process that knows this server as the hub."""
    environment = environment_of(endpoint, out.parent / "hf")
    words = [sys.executable, "-m", "hybrid_jax.export", "--ckpt", str(run), "--out", str(out)]
    words += ["--push-to-hub", "me/model", *options]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_a_dry_run_lists_the_files_that_are_then_uploaded(tiny_run, tmp_path: Path, hub: Hub):
    dry = export(tiny_run.folder, tmp_path / "dry", hub.address, "--dry-run")
    assert (dry.returncode, hub.created, hub.files) == (0, [], {}), dry.stderr
    lines = dry.stdout.splitlines()
    rows = [line.split() for line in lines[lines.index("would upload to me/model:") + 1 :]]
    assert [(name, int(size.replace(",", ""))) for name, size in rows] == list(listed(tmp_path / "dry"))

    done = export(tiny_run.folder, tmp_path / "out", hub.address, "--private")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"uploaded to {hub.address}/me/model"
    (created,) = hub.created
    assert created["name"] == "model"
    assert created.get("visibility") == "private" or created.get("private")  # huggingface_hub 2, and 1
    assert sorted(hub.files) == [name for name, _ in rows]
    assert all((tmp_path / "out" / name).read_bytes() == content for name, content in hub.files.items())
    assert b'SentenceTransformer("me/model")' in hub.files["README.md"]


def test_a_refusal_and_no_network_are_one_line_and_keep_the_folder(tiny_run, tmp_path: Path, hub: Hub):
    hub.refuses = True
    refused = export(tiny_run.folder, tmp_path / "out", hub.address)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: the hub refused me/model (status 403: the token may not write there): ")
    assert line.endswith(f"upload it with `hf upload me/model {tmp_path / 'out'}`")
    assert (tmp_path / "out" / "modules.json").exists()
    unreachable = export(tiny_run.folder, tmp_path / "again", "http://127.0.0.1:9", "--private")
    assert unreachable.returncode == 1
    (line,) = unreachable.stderr.splitlines()
    assert line.startswith("error: http://127.0.0.1:9 cannot be reached (")
    assert line.endswith(f"with `hf upload me/model {tmp_path / 'again'} --private`")
    assert (tmp_path / "again" / "modules.json").exists()


def test_a_private_upload_to_a_public_repository_is_refused(tmp_path: Path, hub: Hub):
    """The hub ignores `private` for a repository that exists."""
    hub.private = False
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "README.md").write_text("card")
    code = "import sys, pathlib; from hybrid_jax.export.publish import push; "
    code += "push(pathlib.Path(sys.argv[1]), 'me/model', sys.argv[2] == 'private')"

    def push(visibility: str) -> "subprocess.CompletedProcess[str]":
        words = [sys.executable, "-c", code, str(tmp_path / "a folder"), visibility]
        environment = environment_of(hub.address, tmp_path / "hf")
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200, check=False)

    refused = push("private")
    assert refused.returncode == 1
    told = refused.stderr.splitlines()[-1]
    assert "me/model is public already" in told
    assert f"({hub.address}/me/model/settings) and type `hf upload me/model '{tmp_path}/a folder' --private`" in told
    assert hub.files == {}
    assert push("public").returncode == 0
    assert hub.files == {"README.md": b"card"}


@pytest.mark.parametrize(
    ("environment", "name", "told"),
    [
        ({"HF_HUB_OFFLINE": "0"}, "me/model", "no token of the Hugging Face hub: type `hf auth login`"),
        ({"HF_HUB_OFFLINE": "1", "HF_TOKEN": "hf_x"}, "me/model", "HF_HUB_OFFLINE is set: unset it, or add --dry-run"),
        ({}, "a/b/c", "give USER/NAME"),
        ({}, "model", "--push-to-hub model is not a user and a name as the hub allows them: give USER/NAME"),
    ],
)
def test_what_cannot_be_pushed_is_said_before_anything_is_exported(
    environment: dict[str, str], name: str, told: str, tiny_run, tmp_path: Path
):
    clean = {key: value for key, value in os.environ.items() if key not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    clean |= {"HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT), **environment}
    code = "import sys; from hybrid_jax.export.publish import check_can_push; check_can_push(sys.argv[1], False)"
    ended = subprocess.run([sys.executable, "-c", code, name], env=clean, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert told in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("option", ["--private", "--dry-run"])
def test_options_of_the_hub_need_its_name(option: str, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "argv", ["export", "--ckpt", "run", "--out", "out", option])
    with pytest.raises(SystemExit):
        cli.main()
    assert f"{option} is for --push-to-hub USER/NAME: name it too" in capsys.readouterr().err
