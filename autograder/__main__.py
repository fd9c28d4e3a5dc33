"""The command line: python -m autograder COMMAND."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from autograder.errors import CourseError
from autograder.layout import ROOT, Chapter, chapter, chapters, course
from lmkit.cache import write_whole
from lmkit.errors import LmkitError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Assemble, prove, hand out and grade the exercises of [bold]Language Models by Hand[/bold], and build the book.\n\n"
    "A first tour:  [cyan]assemble[/cyan] makes the notebooks;  [cyan]demo[/cyan] --students 6 02_ngrams invents a class;  "
    "[cyan]grade[/cyan] 02_ngrams grades it.",
)
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)  # a log is wider than a terminal
ChapterName = Annotated[str, typer.Argument(metavar="CHAPTER", help="A folder of chapters/, such as 02_ngrams.")]
ChapterNames = Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="Chapters, such as 02_ngrams; all of them if none.")]


def _chapters(names: list[str] | None) -> list[Chapter]:
    return [chapter(name) for name in names] if names else chapters()


def _progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left")


@app.command("assemble")
def assemble_command(
    names: ChapterNames = None,
    force: Annotated[bool, typer.Option("--force", help="Also remake releases whose sources are as they were.")] = False,
) -> None:
    """Make nbgrader's source and release notebooks from chapters, solutions and checks."""
    from autograder.assemble import make_release

    wanted = _chapters(names)
    changed = make_release(wanted, force)
    for one in wanted:
        out.print(f"{one.name}: {'made' if one.name in changed else 'unchanged'}  {one.release.relative_to(ROOT)}")


@app.command("check")
def check_command(
    names: ChapterNames = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the notebooks, which nbgrader runs.")] = False,
) -> None:
    """Prove the checks: references and right variants pass, wrong ones fail where they must, also through nbgrader."""
    from autograder.assemble import assemble, make_release
    from autograder.proof import planned_answers, prove_checks, prove_notebooks

    problems = 0
    for one in _chapters(names):
        with _progress() as progress:
            task = progress.add_task(f"{one.name}: checks", total=None)
            rows = prove_checks(one, lambda row, task=task, progress=progress: progress.advance(task))
        table = _table(f"{one.name}: the checks", "exercise", "subject", "kind", "what the checks say", "seconds")
        for row in rows:
            outcome = f"[red]{_plain(row.problem)}[/red]" if row.problem else _plain(row.outcome)
            table.add_row(row.exercise, row.subject, row.kind, outcome, f"{row.seconds:.2f}")
        out.print(table)
        problems += sum(bool(row.problem) for row in rows)
        if quick:
            continue
        make_release([one])
        with _progress() as progress:
            task = progress.add_task(f"{one.name}: notebooks, graded by nbgrader", total=len(planned_answers(one, assemble(one))))
            graded = prove_notebooks(one, lambda row, task=task, progress=progress: progress.advance(task))
        table = _table(f"{one.name}: whole notebooks", "notebook", "must score", "scores", "seconds", "")
        for row in graded:
            points = "none" if row.points is None else f"{row.points:g}"
            table.add_row(row.student, f"{row.expected:g}", points, f"{row.seconds:.0f}", f"[red]{_plain(row.problem)}[/red]")
        out.print(table)
        problems += sum(bool(row.problem) for row in graded)
    if problems:
        raise CourseError(f"{problems} lines above are not as they must be; they are the red ones")
    out.print("all as it must be")


def _plain(text: str) -> str:
    """Text for a rich table: no markup, one line."""
    from rich.markup import escape

    return escape(" ".join(text.split()))


@app.command("demo")
def demo_command(
    name: ChapterName,
    students: Annotated[int, typer.Option("--students", min=1, help="How many submissions to invent.")] = 6,
) -> None:
    """Invent a class: submissions made of reference solutions, variants and blanks, and the points that they must get."""
    from autograder.assemble import make_release
    from autograder.demo import make_class

    one = chapter(name)
    make_release([one])
    table = _table(f"{name}: a class of {students}", "student", "must score")
    for planned in make_class(one, students):
        table.add_row(planned.student, f"{planned.points:g}")
    out.print(table)
    out.print(f"The submissions are in {course().relative_to(ROOT)}/submitted. Grade them: python -m autograder grade {name}")


@app.command("grade")
def grade_command(
    name: ChapterName,
    student: Annotated[list[str] | None, typer.Option("--student", help="Only this student; may be given several times.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Where to write the CSV file.", show_default="course/CHAPTER.csv")] = None,
) -> None:
    """Grade a class: autograde every submission, write feedback, print a table, export a CSV file."""
    from autograder.assemble import make_release
    from autograder.grade import Grade, export, grade, students_of, whole_class

    one = chapter(name)
    make_release([one])
    everyone = students_of(one)
    unknown = sorted(set(student or []) - set(everyone))
    if unknown:
        raise CourseError(f"{unknown[0]} has no submission of {name} in {course().relative_to(ROOT)}/submitted")
    if not everyone:
        raise CourseError(f"there is no submission of {name}; put them in {course().relative_to(ROOT)}/submitted/STUDENT/{name}/")
    wanted = student or everyone
    with _progress() as progress:
        task = progress.add_task(f"{name}: grading", total=len(wanted))

        def report(grade: Grade) -> None:
            progress.update(task, advance=1, description=f"{name}: {grade.student} {grade.status}")

        grades = grade(one, wanted, report=report)
    path = to or course() / f"{name}.csv"
    export(whole_class(one, grades), path)
    table = _table(f"{name}: grades", "student", "status", "points", "of", "")
    for row in grades:
        points = "" if row.points is None else f"{row.points:g}"
        note = row.message or ("a written answer waits for a person" if row.needs_person else "")
        table.add_row(row.student, row.status, points, f"{row.max_points:g}", _plain(note))
    out.print(table)
    out.print(f"Export: {path}\nFeedback: {course().relative_to(ROOT)}/feedback/STUDENT/{name}")
    ungraded = [row for row in grades if row.points is None]
    if ungraded:
        raise CourseError(f"{len(ungraded)} of {len(grades)} submissions could not be graded: {'; '.join(row.message for row in ungraded)}")


@app.command("work")
def work_command() -> None:
    """Copy the exercise notebooks to course/work, where you do them; a notebook that is there already stays as it is."""
    from autograder.assemble import make_release

    make_release(chapters())
    for one in chapters():
        mine = course() / "work" / one.name / one.release.name
        if not mine.exists():
            write_whole(mine, one.release.read_bytes())
        out.print(mine.relative_to(ROOT))


@app.command("book")
def book_command(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show all that Sphinx says.")] = False,
) -> None:
    """Build the book: make the releases, run every page, check links and leaks, and print the page to open."""
    from autograder.assemble import make_release
    from autograder.book import build

    start = time.perf_counter()
    make_release(chapters())
    index = build(ROOT, verbose=verbose)
    out.print(f"built in {time.perf_counter() - start:.0f} s; open this page in a browser:\n{index.as_uri()}")


def main(run: Callable[[], None] = app) -> None:
    """Run the command line; what goes wrong is one sentence on standard error and exit status 2, never a traceback."""
    try:
        run()
    except (LmkitError, OSError) as error:
        if isinstance(error, OSError):
            error = f"{error.filename or 'a file'} cannot be used ({error.strerror}); mend that and run the command again"
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]error:[/red] {_plain(str(error))}")
        sys.exit(2)


if __name__ == "__main__":
    main()
