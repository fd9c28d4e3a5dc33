"""A notebook's kernel without a kernel: IPython's shell, whose output is collected and bounded."""

import io
import sys

from autograder.bridge.errors import told


class _Text(io.TextIOBase):
    """Standard output or error of a cell: keeps the first `limit` characters, and counts the rest."""

    def __init__(self, limit: int):
        self._limit, self._parts, self._size, self.lost = limit, [], 0, 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        keep = str(text)[: max(0, self._limit - self._size)]
        self._parts.append(keep)
        self._size += len(keep)
        self.lost += len(text) - len(keep)
        return len(text)

    def getvalue(self) -> str:
        lost = f"\n… {self.lost:,} characters more\n" if self.lost else ""
        return "".join(self._parts) + lost


class Shell:
    """IPython's shell with bounded output. Made before the student's process is forked, so that it costs nothing then."""

    def __init__(self, output: int = 64 << 10):
        from IPython.core.displaypub import CapturingDisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        class _Shell(InteractiveShell):
            def enable_gui(self, gui: str | None = None) -> None:
                """Figures go to the notebook; there is no window."""

        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "NoColor"
        config.InteractiveShell.xmode = "Plain"
        config.InteractiveShell.cache_size = 0
        self._shell = _Shell.instance(config=config)
        self._shell.display_pub = self._published = CapturingDisplayPublisher()
        self._output = output
        self.namespace = self._shell.user_ns

    def run_cell(self, source: str) -> dict:
        """Run a cell as a notebook does; returns its text, what it displayed, and how it failed."""
        text = _Text(self._output)
        hook, results = sys.displayhook, []
        self._published.outputs.clear()
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = text
        self._shell.displayhook.write_output_prompt = lambda: None
        self._shell.displayhook.write_format_data = lambda data, md_dict=None: results.append(data)
        self._shell.displayhook.finish_displayhook = lambda: None
        try:
            outcome = self._shell.run_cell(source, store_history=False)
        finally:
            sys.stdout, sys.stderr = before
            sys.displayhook = hook
        error = outcome.error_before_exec or outcome.error_in_exec
        shown = [_picked(data) for data in ([one.get("data", {}) for one in self._published.outputs] + results)][:20]
        return {"text": text.getvalue(), "shown": shown, "error": None if error is None else told(error)}


def _picked(data: dict) -> dict:
    """Of what a cell displayed: its plain text, and a picture if it is small."""
    picked = {"text": str(data.get("text/plain", ""))[:10_000]}
    png = data.get("image/png")
    if isinstance(png, bytes):
        import base64

        png = base64.b64encode(png).decode("ascii")
    if isinstance(png, str) and len(png) <= 400_000:
        picked["png"] = png
    return picked
