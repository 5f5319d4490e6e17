"""Files come whole over http, also in two goes."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from datasets.domain_dataset import DatasetError
from datasets.download import download

DATA = bytes(range(256)) * 5000


@dataclass
class Server:
    """What a server does, and the ranges it was asked for."""

    url: str = ""
    ranges: bool = True
    sends: int = len(DATA)
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.asked.append(asked)
            if state.status != 200:
                self.send_error(state.status)
                return
            start = int(asked[6:-1]) if asked and state.ranges else 0
            if start >= len(DATA):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(DATA)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
            self.send_header("Content-Length", str(len(DATA) - start))
            self.end_headers()
            self.wfile.write(DATA[start : start + state.sends])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/data/PACS%20v2.zip?id=1"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def test_a_file_comes_whole_under_its_own_name(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    file = download(server.url, tmp_path / "new", lambda done, total: told.append((done, total)))
    assert file == tmp_path / "new" / "PACS v2.zip"
    assert file.read_bytes() == DATA
    assert told[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_file_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    server.sends = 300_000
    with pytest.raises(DatasetError, match=r"ended after 300,000 of 1,280,000 bytes"):
        download(server.url, tmp_path)
    assert not (tmp_path / "PACS v2.zip").exists()
    server.sends = len(DATA)
    assert download(server.url, tmp_path).read_bytes() == DATA
    assert server.asked == [None, "bytes=300000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["PACS v2.zip"]


def test_a_file_of_which_everything_had_come_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "PACS v2.zip.part").write_bytes(DATA)
    assert download(server.url, tmp_path).read_bytes() == DATA


def test_more_bytes_than_there_are_begin_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "PACS v2.zip.part").write_bytes(DATA + b"more")
    with pytest.raises(DatasetError, match="416"):
        download(server.url, tmp_path)
    assert download(server.url, tmp_path).read_bytes() == DATA


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    download(server.url, tmp_path)
    download(server.url, tmp_path)
    assert len(server.asked) == 1


def test_a_page_that_does_not_exist_is_told(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DatasetError, match=r"http://.* cannot be fetched: 404 Not Found"):
        download(server.url, tmp_path)


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot be fetched: .*; fetch it by hand"):
        download("http://127.0.0.1:1/a.zip", tmp_path)
