"""Forged outputs and timestamps, HTML and scripts: in outputs, errors, cells and written answers.

None of them runs in the page.
"""

import nbformat

from autograder.tests.attacks.course import FULL
from autograder.tests.attacks.desk import NOTHING, Desk, attack
from autograder.verdict import GRADED, TAMPERED

SCRIPT = "<script>attacked()</script>"
IMAGE = "<img src=x onerror=attacked()>"


def raise_html(desk: Desk, text: str) -> None:
    """Let every answer fail with this text."""
    for name in FULL:
        desk.answer(name, f"def {name}(*values):\n    raise ValueError({text!r})")


@attack(**NOTHING)
def forged_success(desk: Desk) -> None:
    """All answers are wrong, and the stored outputs of the check cells say that all checks passed: outputs are dropped."""
    desk.spoil()
    for name in FULL:
        for part in ("visible", "hidden"):
            forged = nbformat.v4.new_output("execute_result", {"text/plain": "100.0"}, execution_count=1)
            printed = nbformat.v4.new_output("stream", name="stdout", text="passed, I say: 100 points")
            desk.cell(name, part).update(outputs=[printed, forged], execution_count=1)


@attack(**NOTHING)
def forged_prints(desk: Desk) -> None:
    """Wrong answers print what checks print, while they are checked and in cells below: it is output, not a result."""
    desk.spoil()
    for name in FULL:
        desk.try_out('print("\\N{HEAVY CHECK MARK} passed  all  (4 points)\\n4 of 4 points")\n4.0', after=name)


@attack(**NOTHING)
def forged_times(desk: Desk) -> None:
    """Execution counts, timings and nbgrader's own scores stand in the metadata."""
    desk.spoil()
    desk.notebook.metadata.update(score=20, max_score=20, graded=True, nbgrader={"score": 20})
    for cell in desk.notebook.cells:
        cell.metadata["execution"] = {"iopub.status.idle": "2001-01-01T00:00:00Z"}
        cell.metadata["score"] = 100
        if cell.cell_type == "code":
            cell.execution_count = 10**12


@attack(page_hides=SCRIPT)
def script_displayed(desk: Desk) -> None:
    """A cell displays HTML with a script, and JavaScript itself."""
    desk.try_out(f"""
        from IPython.display import HTML, Javascript, display
        display(HTML({SCRIPT!r}), Javascript("attacked()"))
        HTML({SCRIPT!r})
        """)  # fmt: skip


@attack(page_hides=IMAGE)
def script_in_other_outputs(desk: Desk) -> None:
    """SVG, LaTeX, Markdown, and an output kind of the student's own, each with a script or a handler."""
    desk.try_out(f"""
        from IPython.display import Latex, Markdown, SVG, display
        display(SVG(data="<svg xmlns='http://www.w3.org/2000/svg' onload='attacked()'>{SCRIPT}</svg>"))
        display(Markdown({IMAGE!r}), Latex({IMAGE!r}))
        display({{"text/html": {IMAGE!r}, "text/markdown": {IMAGE!r}, "application/javascript": "attacked()"}}, raw=True)
        """)  # fmt: skip


@attack(page_hides="<iframe")
def page_in_a_page(desk: Desk) -> None:
    """A frame, a form, a style that covers the page, a refresh that leads elsewhere."""
    desk.try_out("""
        from IPython.display import HTML, IFrame, display
        display(IFrame("https://example.org", 900, 900))
        HTML("<style>body {display: none}</style><meta http-equiv=refresh content='0;url=https://example.org'><form action='/'>")
        """)  # fmt: skip


@attack(page_hides=SCRIPT, **NOTHING)
def script_in_exceptions(desk: Desk) -> None:
    """Every answer fails with a text that is a script: the message that the page shows is text."""
    raise_html(desk, SCRIPT)


@attack(page_hides=IMAGE, double=0)
def script_in_an_exception_of_a_cell(desk: Desk) -> None:
    """Names of exceptions, the ends of tracebacks and colours of the terminal, with a handler in each."""
    desk.answer("double", f"raise type({IMAGE!r}, (Exception,), {{}})('\\x1b[31m{IMAGE}\\x1b[0m')")


@attack(page_hides=SCRIPT)
def script_in_prints(desk: Desk) -> None:
    """A cell prints a script to both streams, with colours of the terminal around it."""
    desk.try_out(f"import sys\nprint('\\x1b[31m{SCRIPT}\\x1b]8;;javascript:attacked()\\x07')\nprint({SCRIPT!r}, file=sys.stderr)")


@attack(page_hides=SCRIPT)
def script_in_markdown(desk: Desk) -> None:
    """Markdown cells with a script, a handler, and a link that is JavaScript."""
    desk.note(f"{SCRIPT}\n\n[points](javascript:attacked())\n\n{IMAGE}\n\n<a href='javascript:attacked()'>20 of 20</a>")


@attack(page_hides="onerror=attacked")
def handler_in_markdown(desk: Desk) -> None:
    """A picture that is not there, with a handler for that, in a markdown cell."""
    desk.note(IMAGE)


@attack(page_hides=SCRIPT)
def script_in_the_written_answer(desk: Desk) -> None:
    """The written answer, which a person reads in a browser, holds a script."""
    desk.cell("why").source = f"Because.\n\n{SCRIPT}\n\n{IMAGE}"


@attack((GRADED, TAMPERED), page_hides=SCRIPT)
def script_in_metadata(desk: Desk) -> None:
    """The notebook's title, language, authors and the cells' names are scripts."""
    desk.notebook.metadata.update(title=SCRIPT, authors=[{"name": SCRIPT}], name=SCRIPT)
    desk.notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": SCRIPT, "file_extension": SCRIPT, "mimetype": SCRIPT}
    desk.note("A note.").metadata["name"] = SCRIPT


@attack(page_hides="attacked.svg")
def attachment(desk: Desk) -> None:
    """A markdown cell with an attached picture that is SVG with a script."""
    cell = desk.note("![](attachment:attacked.svg)")
    cell["attachments"] = {"attacked.svg": {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{SCRIPT}</svg>"}}


@attack(page_hides="file:///etc/passwd")
def file_in_markdown(desk: Desk) -> None:
    """A markdown cell shows a file of the instructor's machine as a picture."""
    desk.note("![](file:///etc/passwd)\n\n<object data='file:///etc/passwd'></object>")


@attack(page_hides="</textarea><script>", **NOTHING)
def early_end(desk: Desk) -> None:
    """Text that ends the tags it may stand in: comments, text areas, templates, code blocks."""
    text = "--> ]]> </textarea><script>attacked()</script></template></pre></code></div>{{ 7 * 7 }}{% raw %}"
    desk.try_out(f"print({text!r})")
    desk.note(f"`{text}`")
    raise_html(desk, text)


@attack(shows="the terminal")
def codes_of_the_terminal(desk: Desk) -> None:
    """Codes that clear a terminal, change its title and move the cursor: the table on the instructor's screen shows none."""
    desk.try_out("print('\\x1b[2J\\x1b]0;title\\x07\\x1b[1;1H\\x9b2J\\r\\b\\b the', 'terminal')")


@attack(double=0)
def codes_of_the_terminal_in_a_message(desk: Desk) -> None:
    """The same in the message of a failed check, which a table of the report shows; and markup of the table's own."""
    desk.answer("double", "def double(numbers):\n    raise ValueError('\\x1b[2J\\x1b[1;1H[bold red]20 of 20[/] [link=file:///]')")


@attack(shows="end of bytes")
def bytes_that_are_no_text(desk: Desk) -> None:
    """A cell writes bytes that are no UTF-8, null bytes and half characters to its outputs."""
    desk.try_out("""
        import os, sys
        os.write(1, bytes(range(256)))
        sys.stdout.write("\\x00\\x01\\ufffe")
        try:
            print("\\ud83d")
        except UnicodeError:
            pass
        print("end", "of bytes")
        """)  # fmt: skip


@attack(GRADED)
def outputs_of_wrong_shape(desk: Desk) -> None:
    """Outputs of no known kind, with data that are not what they say: displayed by the cell itself."""
    desk.try_out("""
        from IPython.display import display
        display({"text/plain": 3, "image/png": "no picture", "evil/<b>": {"deep": [1]}, "": ""}, raw=True)
        display({"text/plain": "x"}, raw=True, metadata={"text/plain": {"a": "b"}}, display_id="one")
        """)  # fmt: skip


@attack(GRADED)
def outputs_that_cannot_be_described(desk: Desk) -> None:
    """The last value of a cell raises, ends or prints when it is described for display."""
    desk.try_out("class Shy:\n    def __repr__(self):\n        raise SystemExit('no')\n    _repr_html_ = __str__ = __repr__\n\n\nShy()")
    desk.try_out("class Loud:\n    def _ipython_display_(self):\n        raise KeyboardInterrupt\n\n\nLoud()")
