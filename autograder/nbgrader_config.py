"""nbgrader's settings, for the commands here, and for plain `nbgrader` and formgrader in the course directory."""

from html import escape

import bleach
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

c = get_config()  # noqa: F821  (nbgrader defines it)

c.CourseDirectory.course_id = "language-models-by-hand"
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__"]
c.Execute.timeout = 180  # seconds for one cell: the measuring exercises train a model
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"


def _attribute(tag: str, name: str, value: str) -> bool:
    return name == "alt" or (name == "src" and value.startswith("data:image/png;")) if tag == "img" else name in ("href", "id", "class")


def _harmless(source: str) -> str:
    """A student's Markdown as HTML: tags that it holds are shown, none works, and nothing is loaded.

    nbconvert lets them work, so that a written answer could run a script in formgrader, as the person who grades it.
    """
    try:
        page = MarkdownWithMath(renderer=IPythonRenderer(escape=True, allow_harmful_protocols=False)).render(source)
    except Exception:  # an image that is not there, brackets without end: the text as it is
        page = f"<pre>{escape(source)}</pre>"
    tags = "a abbr b blockquote br code del div em h1 h2 h3 h4 h5 h6 hr i img li ol p pre span strong sub sup table tbody td th thead tr ul"
    return bleach.clean(page, tags=tags.split(), attributes=_attribute, protocols=["http", "https", "mailto", "data"])


c.HTMLExporter.filters = {"markdown2html": _harmless}
c.HTMLExporter.sanitize_html = True  # the same for what a notebook's cells put out
