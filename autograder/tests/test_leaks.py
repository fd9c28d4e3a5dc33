"""Tests of the leak gate: what is secret, what is public, and the disguises in which a planted leak is still found."""

import html
import io
import json
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from autograder.errors import CourseError
from autograder.layout import ROOT, Chapter, chapters, course
from autograder.leaks import Leak, _collect, _Scanner, find_leaks

SOLUTION = "    doubled_by_reference = [2 * number for number in numbers]"
HIDDEN = '    assert (counter.next(2), counter.next(3)) == (2, 5), "steps add up: 0 + 2 + 3 is 5"'
ANSWER = "Because twice as much is better than once, says the model answer."


def publish(chapter: Chapter, name: str, content: str | bytes, release: bool = False) -> Path:
    """Put a file into the built book, or into the release."""
    folder = course(chapter.root) / "release" if release else chapter.root / "book" / "_build" / "html"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def notebook(source: str, shown: str = "") -> str:
    output = new_output("display_data", data={"text/html": shown})
    return nbformat.writes(new_notebook(cells=[new_code_cell(source, outputs=[output])]))


def highlighted(code: str) -> str:
    return f"<html><body>{highlight(code, PythonLexer(), HtmlFormatter())}</body></html>"


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_a_clean_release_and_book_have_no_leak(toy):
    stub = 'def double(numbers):\n    """Twice every number."""\n    raise NotImplementedError()'
    publish(toy, "01_toy/exercises.html", highlighted(stub))
    publish(toy, "01_toy/exercises.ipynb", notebook("assert list(got) == [2, 4], f'[1, 2] gives {got}'"), release=True)
    assert find_leaks(toy.root) == []


def test_nothing_published_has_no_leak(toy):
    assert find_leaks(toy.root) == []


@pytest.mark.parametrize("secret", [SOLUTION, HIDDEN, ANSWER], ids=["solution", "hidden check", "model answer"])
@pytest.mark.parametrize(
    ("name", "disguise"),
    [
        ("page.html", str),
        ("page.html", highlighted),
        ("page.html", lambda text: f"<p title='{html.escape(text)}'>"),
        ("page.html", lambda text: f"<!-- {text} -->"),
        ("page.html", lambda text: text.replace(" ", "&nbsp;")),
        ("page.html", lambda text: text.replace(" ", "\n\t ")),
        ("page.html", lambda text: f"<script>const cells = {json.dumps([text])}</script>"),
        ("_sources/page.md", lambda text: f"Look:\n\n{text}  # here it is\n"),
        ("_sources/page.ipynb", notebook),
        ("_sources/page.ipynb", lambda text: notebook("x = 1 < 2", highlighted(text))),
        ("_static/page.json", lambda text: json.dumps({"a": json.dumps({"b": text})})),
        ("searchindex.js", lambda text: f"Search.setIndex({json.dumps({'titles': [text]})})"),
        ("_downloads/all.zip", lambda text: zipped(page=notebook(text).encode())),
        ("_downloads/all.zip", lambda text: zipped(inner=zipped(page=highlighted(text).encode()))),
    ],
)
def test_a_planted_leak_is_found(toy, secret, name, disguise):
    publish(toy, name, disguise(secret))
    leaks = find_leaks(toy.root)
    assert leaks
    assert all(leak.file.startswith(f"book/_build/html/{name}") for leak in leaks)


def test_a_leak_in_the_release_is_found_and_says_where_it_comes_from(toy):
    publish(toy, "01_toy/exercises.ipynb", notebook(SOLUTION), release=True)
    (leak,) = find_leaks(toy.root)
    line = toy.solutions.read_text(encoding="utf-8").splitlines().index(SOLUTION) + 1
    assert leak == Leak("autograder/course/release/01_toy/exercises.ipynb", f"solutions/toy.py:{line}", SOLUTION.strip())
    assert str(leak) == f"{leak.file} holds a line of {leak.origin}: {leak.line}"


def test_a_member_of_a_zip_file_is_named(toy):
    publish(toy, "all.zip", zipped(inner=zipped(page=SOLUTION.encode())))
    (leak,) = find_leaks(toy.root)
    assert leak.file == "book/_build/html/all.zip!inner!page"


def test_a_damaged_zip_file_is_refused(toy):
    publish(toy, "all.zip", zipped(page=SOLUTION.encode())[:-30])
    with pytest.raises(CourseError, match=r"all\.zip cannot be searched"):
        find_leaks(toy.root)


@pytest.mark.parametrize(
    "line",
    [
        "def double(numbers: Numbers) -> list[float]:",  # a signature
        '    """Add a step; return the new value."""',  # a docstring
        "    # the reference's own comment",
        "from collections.abc import Sequence",
        "    return doubled",  # too short to prove anything
        '    assert list(double([])) == [], "an empty list gives an empty list"',  # a visible check
        "## why (2 points)",
    ],
)
def test_what_students_see_anyway_is_no_secret(toy, line):
    publish(toy, "page.html", highlighted(line))
    assert find_leaks(toy.root) == []


def test_a_line_of_a_chapter_or_of_the_toolkit_is_no_secret(toy):
    publish(toy, "page.html", SOLUTION + HIDDEN)
    toolkit = toy.root / "chapters" / "lmkit" / "double.py"
    toolkit.parent.mkdir()
    toolkit.write_text(f"def f(numbers):\n{SOLUTION}\n", encoding="utf-8")
    (toy.folder / "lesson.md").write_text(f"Remember:\n{HIDDEN}\n", encoding="utf-8")
    assert find_leaks(toy.root) == []


def test_code_that_an_exercise_gives_is_no_secret(toy):
    text = toy.exercises.read_text(encoding="utf-8")
    toy.exercises.write_text(text.replace(":exercise: toy.double", ":given: toy.double"), encoding="utf-8")
    publish(toy, "page.html", SOLUTION)
    assert find_leaks(toy.root) == []


def test_a_given_method_does_not_give_its_class(toy):
    text = toy.exercises.read_text(encoding="utf-8")
    toy.exercises.write_text(text.replace(":exercise: toy.Counter", ":given: toy.Counter.next"), encoding="utf-8")
    publish(toy, "page.html", "self.value_of_counter += step\nself.value_of_counter = start\n")
    (leak,) = find_leaks(toy.root)
    assert leak.line == "self.value_of_counter = start"


def test_a_chapter_that_shows_a_whole_solution_is_a_leak(toy):
    body = "    first_of_the_numbers = numbers[0]\n    second_of_the_numbers = numbers[1]\n"
    body += "    return first_of_the_numbers, second_of_the_numbers\n"
    toy.solutions.write_text(toy.solutions.read_text(encoding="utf-8") + f"\n\ndef pair(numbers):\n{body}", encoding="utf-8")
    lesson = toy.folder / "lesson.md"
    lesson.write_text("".join(body.splitlines(keepends=True)[:2]), encoding="utf-8")
    assert find_leaks(toy.root) == []
    lesson.write_text(f"```python\n{body}```\n", encoding="utf-8")
    assert [leak.file for leak in find_leaks(toy.root)] == ["chapters/01_toy/lesson.md"]


def test_a_sentence_is_found_however_its_lines_are_broken(toy):
    publish(toy, "page.html", "<p>Because twice\nas much is <em>better</em> than once,<br>\nsays the model “answer”.</p>")
    (leak,) = find_leaks(toy.root)
    assert leak.origin == "solutions/toy.md:5"


def test_given_folders_are_searched_instead(toy, tmp_path):
    publish(toy, "page.html", SOLUTION)
    (tmp_path / "elsewhere").mkdir()
    assert find_leaks(toy.root, [tmp_path / "elsewhere"]) == []
    (tmp_path / "elsewhere" / "page.txt").write_text(HIDDEN, encoding="utf-8")
    assert len(find_leaks(toy.root, [tmp_path / "elsewhere"])) == 1


def test_every_chapter_has_secrets():
    secrets, _ = _collect(ROOT)
    for chapter in chapters():
        for path in (chapter.solutions, chapter.checks, chapter.written):
            name = path.relative_to(ROOT).as_posix()
            assert any(secret.origin.startswith(f"{name}:") for secret in secrets), f"no line of {name} is looked for"


def test_the_scanner_finds_what_plain_search_finds():
    secrets, _ = _collect(ROOT)
    code = [secret for secret in secrets if not secret.prose]
    text = b"x" * 5 + b"".join(secret.pattern + b"y" * (i % 9) for i, secret in enumerate(code[::2]))
    assert _Scanner(code).search(text) == {secret for secret in code if secret.pattern in text}
    assert _Scanner(code).search(text[: len(code[0].pattern) + 4]) == set()
    assert _Scanner([]).search(text) == _Scanner(code).search(b"short") == set()


def test_a_pattern_across_two_steps_is_found():
    secrets, _ = _collect(ROOT)
    secret = next(secret for secret in secrets if not secret.prose)
    for offset in range(-len(secret.pattern), 9):
        text = b" " * (_Scanner.STEP + offset) + secret.pattern + b" " * 50
        assert _Scanner([secret]).search(text) == {secret}


def test_a_book_of_thirty_pages_is_searched_in_seconds(toy):
    page = highlighted("\n".join(f"value_{i} = compute(value_{i - 1}, {i})  # step {i}" for i in range(2000)))
    for i in range(30):
        publish(toy, f"{i:02}/lesson.html", page)
    publish(toy, "30/lesson.html", page + SOLUTION)
    start = time.monotonic()
    assert len(find_leaks(toy.root)) == 1
    assert time.monotonic() - start < 10
