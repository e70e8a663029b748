"""Fetching, against a server of our own on this machine."""

import hashlib
import http.server
import random
import threading
from pathlib import Path

import pytest

from tenor.data import datasets
from tenor.data.datasets import DATA_SETS, DataSet, cache_folder, fetch, find, resolve
from tenor.errors import TenorError

DATA = random.Random(0).randbytes(700_001)  # more than two blocks


@pytest.fixture
def server():
    """Serves DATA; `ranges`: answers Range; `cut`: closes after so many bytes; `asked` and `sent`: what it saw and gave."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            here.asked.append(asked)
            if self.path != "/data.bin":
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and here.ranges else 0
            body = here.body[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: here.cut]
            here.sent.append(len(body))  # before the bytes: they wake the test
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.ranges, here.cut, here.asked, here.sent, here.body = True, None, [], [], DATA
    thread = threading.Thread(target=here.serve_forever, args=(0.01,))
    thread.start()
    yield here
    here.shutdown()
    thread.join()
    here.server_close()


@pytest.fixture
def data_set(server):
    return DataSet("toy", "", ("data.bin",), f"http://127.0.0.1:{server.server_port}/data.bin", len(DATA), hashlib.md5(DATA).hexdigest())


def test_a_download_is_verified_and_told(tmp_path, server, data_set):
    told = []
    path = fetch(data_set, tmp_path / "new", lambda done, total: told.append((done, total)))
    assert path.name == "data.bin" and path.read_bytes() == DATA and [p.name for p in path.parent.iterdir()] == ["data.bin"]
    assert server.asked == [None]
    assert told[-1] == (len(DATA), len(DATA)) and told == sorted(told) and len(told) > 2


@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_there_is_not_fetched_again_where_the_server_can(tmp_path, server, data_set, ranges):
    server.ranges = ranges
    (tmp_path / "data.bin.part").write_bytes(DATA[:300_000])
    told = []
    assert fetch(data_set, tmp_path, lambda done, _: told.append(done)).read_bytes() == DATA
    assert server.asked == ["bytes=300000-"] and server.sent == [len(DATA) - 300_000 if ranges else len(DATA)]
    assert told[0] > 300_000 if ranges else told[0] < 300_000
    assert not (tmp_path / "data.bin.part").exists()


def test_a_cut_connection_leaves_its_part_and_the_next_try_ends_it(tmp_path, server, data_set):
    server.cut = 400_000
    with pytest.raises(TenorError, match=r"400,000 of 700,001 bytes.*Try again.*goes on there.*http://.*put it at"):
        fetch(data_set, tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == DATA[:400_000] and not (tmp_path / "data.bin").exists()
    server.cut = None
    assert fetch(data_set, tmp_path).read_bytes() == DATA
    assert server.asked == [None, "bytes=400000-"] and server.sent == [400_000, 300_001]


@pytest.mark.parametrize("body", [DATA[:-1] + b"?", DATA + b"more"])
def test_other_bytes_than_expected_are_deleted(tmp_path, server, data_set, body):
    server.body = body
    with pytest.raises(TenorError, match=r"other bytes than expected.*deleted\. Try again"):
        fetch(data_set, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("part", "asked"), [(DATA, []), (DATA + b"x", [None])])
def test_a_part_that_is_whole_or_too_long(tmp_path, server, data_set, part, asked):
    (tmp_path / "data.bin.part").write_bytes(part)
    assert fetch(data_set, tmp_path).read_bytes() == DATA and server.asked == asked


def test_no_server_and_no_file_say_what_to_do(tmp_path, data_set):
    for url in (data_set.url + "x", "http://127.0.0.1:1/data.bin"):
        with pytest.raises(TenorError, match=r"toy could not be downloaded \(.*(Not Found|refused).*Try again.*Or fetch"):
            fetch(DataSet("toy", "", (), url, 5, "x"), tmp_path)


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path, data_set):
    (tmp_path / "file").write_text("")
    with pytest.raises(TenorError, match=r"could not be written to .*Set TENOR_CACHE"):
        fetch(data_set, tmp_path / "file" / "cache")


def test_own_data_comes_before_the_cache_and_prepared_before_raw(tmp_path, monkeypatch):
    own, cache = tmp_path / "own", tmp_path / "cache"
    monkeypatch.setenv("TENOR_DATA", str(own))
    monkeypatch.setenv("TENOR_CACHE", str(cache))
    imdb = DATA_SETS["imdb"]
    assert find(imdb) is None and cache_folder() == cache
    for path in (cache / "imdb.parquet", own / "aclImdb_v1.tar.gz", own / "imdb.parquet"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        assert find(imdb) == path == resolve("imdb")
    monkeypatch.delenv("TENOR_DATA")
    assert find(imdb) == cache / "imdb.parquet"


def test_a_data_set_that_is_not_here_is_fetched_to_the_cache(tmp_path, monkeypatch, data_set):
    monkeypatch.setitem(DATA_SETS, "toy", data_set)
    monkeypatch.setenv("TENOR_CACHE", str(tmp_path))
    monkeypatch.delenv("TENOR_DATA", raising=False)
    assert resolve("toy") == tmp_path / "data.bin" == resolve("toy")
    assert (tmp_path / "data.bin").read_bytes() == DATA


def test_names_and_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("sample").is_file() and resolve("sample").parent == Path(datasets.__file__).parent
    assert resolve("x.csv") == Path("x.csv") and resolve("a/imdbb") == Path("a/imdbb")  # what is missing there, reading says
    with pytest.raises(TenorError, match=r"No file or folder 'imbd'.*did you mean 'imdb'\?.*Data sets: imdb, sample"):
        resolve("imbd")
    (tmp_path / "imbd").mkdir()
    assert resolve("imbd") == Path("imbd")
