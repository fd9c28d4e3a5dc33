"""The ladder: recording, reading, showing, and its command."""

import json
import math
import os
import subprocess
import sys
import threading
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from lmkit import ladder
from lmkit.errors import LmkitError
from lmkit.metrics import Score


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def record(model="bigram", bits=2.5, **others):
    values = {"parameters": 1000, "train_seconds": 1.5, "made_by": "chapter 02, lesson", **others}
    ladder.record(model, Score(bits, 2**bits, 10, 10), **values)


def test_results_dir(monkeypatch, tmp_path):
    assert ladder.results_dir() == tmp_path / "results"
    monkeypatch.setenv("LMKIT_RESULTS", "~/rungs")
    assert str(ladder.results_dir()) == os.path.expanduser("~/rungs")
    monkeypatch.setenv("LMKIT_RESULTS", "")
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    assert ladder.results_dir() == tmp_path / "cache" / "ladder"


def test_rows_best_first():
    assert ladder.rows() == []
    record("unigram", 2.9, parameters=2048, train_seconds=0.25)
    record("b", 1.8)
    record("a", 1.8)
    rows = ladder.rows()
    assert [row["model"] for row in rows] == ["a", "b", "unigram"]
    assert rows[2] == {
        "model": "unigram",
        "bits_per_byte": 2.9,
        "perplexity": 2**2.9,
        "parameters": 2048,
        "train_seconds": 0.25,
        "made_by": "chapter 02, lesson",
    }


def test_recording_again_replaces(results):
    record(bits=2.5)
    record(bits=2.25)
    assert [row["bits_per_byte"] for row in ladder.rows()] == [2.25]
    assert len(list(results.iterdir())) == 1  # and no temporary file stays


@pytest.mark.parametrize(
    "names",
    [("GPT", "gpt", "Gpt"), ("a/b", "a b", "../a", "a\\b"), ("三元", "二元"), ("con", ".", ".."), ("x" * 120, "x" * 119)],
    ids=["case", "path", "script", "reserved", "long"],
)
def test_any_name_has_its_own_safe_file(results, names):
    for i, name in enumerate(names):
        record(name, 1.0 + i)
    assert [row["model"] for row in ladder.rows()] == list(names)
    files = list(results.iterdir())
    assert len({path.name.lower() for path in files}) == len(names)
    assert all(path.is_file() and path.name.isascii() and len(path.name) < 60 for path in files)
    assert os.listdir(results.parent) == ["results"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ""}, "model must be one line"),
        ({"model": "two\nlines"}, "model must be one line"),
        ({"model": "\x1b[31mred"}, "model must be one line"),
        ({"model": "x" * 121}, "model must be one line"),
        ({"model": 7}, "model must be one line"),
        ({"made_by": " "}, "made_by must be one line"),
        ({"bits": math.inf}, "bits_per_byte must be a finite number"),
        ({"bits": math.nan}, "bits_per_byte must be a finite number"),
        ({"bits": -0.1}, "bits_per_byte must be a finite number"),
        ({"parameters": -1}, "parameters must be a whole number"),
        ({"parameters": 1.5}, "pass a Score"),
        ({"train_seconds": -1.0}, "train_seconds must be"),
        ({"train_seconds": "long"}, "pass a Score"),
    ],
)
def test_what_cannot_stand(results, change, message):
    with pytest.raises(LmkitError, match=message):
        record(**change)
    assert not results.exists()


def test_a_number_is_no_score():
    with pytest.raises(LmkitError, match="pass a Score"):
        ladder.record("bigram", 2.5, parameters=1, train_seconds=1, made_by="me")


GOOD = {"model": "m", "bits_per_byte": 2.0, "perplexity": 4.0, "parameters": 1, "train_seconds": 1.0, "made_by": "me"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a result of the ladder"),
        (b'{"model": "m"}', "is not a result of the ladder"),
        (json.dumps({**GOOD, "extra": 1}).encode(), "is not a result of the ladder"),
        (json.dumps({**GOOD, "perplexity": math.nan}).encode(), "perplexity must be a finite number"),
        (json.dumps({**GOOD, "perplexity": 10**400}).encode(), "perplexity must be a finite number"),
        (json.dumps({**GOOD, "bits_per_byte": "2"}).encode(), "bits_per_byte must be a finite number"),
        (json.dumps({**GOOD, "parameters": 1.0}).encode(), "parameters must be a whole number"),
        (json.dumps({**GOOD, "parameters": True}).encode(), "parameters must be a whole number"),
        (json.dumps(GOOD).encode(), "is a renamed copy of the result of 'm'"),
    ],
)
def test_foreign_files_are_named(results, content, message):
    record()
    (results / "foreign.json").write_bytes(content)
    with pytest.raises(LmkitError, match=message) as caught:
        ladder.rows()
    assert str(results / "foreign.json") in str(caught.value)


def test_a_folder_among_the_results(results):
    (results / "x.json").mkdir(parents=True)
    with pytest.raises(LmkitError, match=r"x\.json cannot be read"):
        ladder.rows()


def test_other_files_are_left_alone(results):
    record()
    (results / "notes.txt").write_text("not a result")
    (results / ".bigram.json").write_text("half-writ")
    assert len(ladder.rows()) == 1


def test_folder_that_cannot_be(results):
    results.write_text("a file where the folder should be")
    with pytest.raises(LmkitError, match="set the environment variable LMKIT_RESULTS"):
        record()
    with pytest.raises(LmkitError, match="set LMKIT_RESULTS"):
        ladder.rows()


def test_failed_write_leaves_the_earlier_row(results, monkeypatch):
    record(bits=2.5)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(LmkitError, match="No space left"):
        record(bits=1.0)
    assert [row["bits_per_byte"] for row in ladder.rows()] == [2.5]
    assert len(list(results.iterdir())) == 1


def test_readers_never_see_half_a_row():
    record(bits=1.0)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            record(bits=1.0, made_by="x" * 120)
            record(bits=1.0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            assert len(ladder.rows()) == 1
    finally:
        stop.set()
        writer.join()


class Cells(HTMLParser):
    """Reads a table: the text of each row's cells, and whether every tag is closed."""

    def __init__(self, source):
        super().__init__()
        self.rows, self.open, self.scopes, self.caption = [], [], [], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "th":
            self.scopes.append(dict(attrs)["scope"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "caption" in self.open:
            self.caption += data
        else:
            self.rows[-1][-1] += data


def test_html_table():
    record("<script>alert(1)</script> & co", 1.5, parameters=12_345_678, train_seconds=0.01)
    record("unigram", 3.0, train_seconds=5400)
    source = ladder.table()._repr_html_()
    assert "<script>" not in source
    assert 'class="dataframe' in source
    assert "width:50.0%" in source
    assert "width:100.0%" in source
    cells = Cells(source)
    assert cells.open == []
    assert cells.caption.startswith("Models measured on the same held-out text")
    assert cells.scopes == ["col"] * 6 + ["row"] * 2
    assert cells.rows[1] == ["<script>alert(1)</script> & co", "1.500", "2.8", "12,345,678", "under 0.1 s", "chapter 02, lesson"]
    assert cells.rows[2][4] == "90 min"


def test_plain_table():
    record("[bold]5-gram[/bold]", 1.836, parameters=812_345, train_seconds=6.42)
    text = str(ladder.table())
    assert text == repr(ladder.table())
    header, _, row, *_ = text.splitlines()
    assert " ".join(header.split()) == "Model Bits per byte Perplexity Parameters Training time Made by"
    assert " ".join(row.split()) == "[bold]5-gram[/bold] 1.836 3.6 812,345 6.4 s chapter 02, lesson"


def test_empty_table():
    assert "lmkit.ladder.record" in str(ladder.table())
    assert "lmkit.ladder.record" in ladder.table()._repr_html_()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "under 0.1 s"), (0.42, "0.4 s"), (9.4, "9.4 s"), (83, "83 s"), (120, "2.0 min"), (3642, "61 min"), (4e5, "111 h")],
)
def test_durations(seconds, text):
    record(train_seconds=seconds)
    assert text in str(ladder.table())


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "lmkit.ladder", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_command(results):
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The ladder is empty: ")
    assert (run("--json").stdout, run("--json").returncode) == ("[]\n", 0)

    record("n–gram", 1.8)
    assert json.loads(run("--json").stdout) == ladder.rows()
    assert "n–gram" in run().stdout

    (results / "foreign.json").write_text("{}")
    done = run("--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {results / 'foreign.json'} is not a result")
    assert len(done.stderr.splitlines()) == 1


def test_command_help():
    text = " ".join(run("--help").stdout.split())
    for part in ("python -m lmkit.ladder", "--json", "lmkit.ladder.record", "LMKIT_RESULTS", "Bits per byte counts"):
        assert part in text


def test_any_object_with_the_two_numbers_is_a_score():
    ladder.record("x", SimpleNamespace(bits_per_byte=2, perplexity=4), parameters=1, train_seconds=1, made_by="me")
    assert ladder.rows()[0]["bits_per_byte"] == 2.0
