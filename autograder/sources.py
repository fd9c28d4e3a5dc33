"""Reads Python modules as text: their definitions, what each needs, and where a function's body stands."""

import ast
from functools import cached_property
from pathlib import Path

from autograder.errors import CourseError

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader's own markers


class ModuleSource:
    """The source of one module. Definitions are looked up by name, and come back as the text that stands in the file."""

    def __init__(self, path: Path):
        """Read and parse `path`. Raises CourseError where it is missing or is not Python."""
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
            self.tree = ast.parse(self.text)
        except FileNotFoundError:
            raise CourseError(f"{path.parent.name}/{path.name} is missing; every chapter has one") from None
        except SyntaxError as error:
            raise CourseError(f"{path.parent.name}/{path.name}, line {error.lineno}, is not valid Python: {error.msg}") from None
        self.lines = self.text.splitlines()

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        """Name -> the function, class or assignment at module level that binds it, in the order of the file."""
        found: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, Definition):
                found[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update({name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)})
        return found

    @cached_property
    def imports(self) -> dict[str, str]:
        """Name -> the import statement that binds it."""
        found: dict[str, str] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    single = ast.Import([alias]) if isinstance(node, ast.Import) else ast.ImportFrom(node.module, [alias], node.level)
                    found[alias.asname or alias.name.partition(".")[0]] = ast.unparse(single)
        return found

    def segment(self, node: ast.stmt, decorators: bool = True) -> str:
        """The lines of a statement, with its decorators unless told otherwise, and the comments between them."""
        first = node.lineno
        if decorators and getattr(node, "decorator_list", None):
            first = min(decorator.lineno for decorator in node.decorator_list)
        return "\n".join(self.lines[first - 1 : node.end_lineno])

    def needs(self, *names: str) -> tuple[list[str], list[str]]:
        """What the named definitions use of their module, directly or not: (import statements, names of definitions).

        The named ones are among the definitions; both lists are in the order of the file.
        """
        wanted, seen, imports = list(names), set(), set()
        while wanted:
            name = wanted.pop()
            if name in self.imports:
                imports.add(name)
            elif name in self.definitions and name not in seen:
                seen.add(name)
                wanted += [node.id for node in ast.walk(self.definitions[name]) if isinstance(node, ast.Name)]
        lines = dict.fromkeys(self.imports[name] for name in self.imports if name in imports)
        return merge_imports(list(lines)), [name for name in self.definitions if name in seen]

    def with_markers(self, name: str, method: str | None = None) -> str:
        """The text of a function or class with nbgrader's solution markers around its bodies; signature and docstring stay outside.

        A class: around the body of each of its methods, or of `method` alone.
        """
        node = self.definitions[name]
        functions = [node] if not isinstance(node, ast.ClassDef) else [child for child in node.body if isinstance(child, ast.FunctionDef)]
        functions = [function for function in functions if method in (None, function.name)]
        lines = self.segment(node).splitlines()
        offset = node.end_lineno - len(lines)  # the segment's first line is line offset + 1 of the file
        for function in reversed(functions):
            body = function.body[1:] if ast.get_docstring(function) is not None else function.body
            if not body:
                continue  # a docstring only: nothing to take away
            last_of_head = function.body[0].end_lineno if body is not function.body else _end_of_signature(function, self.lines)
            if body[0].lineno <= last_of_head:
                raise CourseError(f"{self.path.name}, line {function.lineno}: the body of {function.name} must start on a line of its own")
            indent = " " * body[0].col_offset
            lines.insert(function.end_lineno - offset, indent + END)
            lines.insert(last_of_head - offset, indent + BEGIN)
        return "\n".join(lines)

    def body_lines(self, function: ast.FunctionDef) -> list[tuple[int, str]]:
        """(line number, text) of every line of a function's body, docstring left out."""
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        if not body:
            return []
        return [(number, self.lines[number - 1]) for number in range(body[0].lineno, function.end_lineno + 1)]


def _end_of_signature(function: ast.FunctionDef, lines: list[str]) -> int:
    """The line of the colon that ends the signature of a function without a docstring."""
    nodes = [node for node in ast.walk(function.args) if hasattr(node, "end_lineno")] + [function.returns or function.args]
    last = max([function.lineno, *(getattr(node, "end_lineno", 0) for node in nodes)])
    while not lines[last - 1].partition("#")[0].rstrip().endswith(":"):
        last += 1
    return last


def merge_imports(statements: list[str]) -> list[str]:
    """The same imports, with one line for each module that names are taken from."""
    plain, names = [], {}
    for statement in statements:
        if statement.startswith("from "):
            module, _, imported = statement.removeprefix("from ").partition(" import ")
            names.setdefault(module, []).append(imported)
        else:
            plain.append(statement)
    return plain + [f"from {module} import {', '.join(dict.fromkeys(imported))}" for module, imported in names.items()]
