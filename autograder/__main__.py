"""The command line: python -m autograder COMMAND."""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from autograder.errors import CourseError
from autograder.exports import Row, export
from autograder.layout import ROOT, Chapter, chapter, chapters, course
from autograder.lock import folder_lock
from autograder.verdict import Limits, Verdict
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
if TYPE_CHECKING:
    from autograder.proof import Proof
    from autograder.recorded import Recorded
ChapterName = Annotated[str, typer.Argument(metavar="CHAPTER", help="A folder of chapters/, such as 02_ngrams.")]
ChapterNames = Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="Chapters, such as 02_ngrams; all of them if none.")]
Database = Annotated[str | None, typer.Option("--db", help="The gradebook: postgresql://USER@HOST/NAME. See the guide first.")]
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    with folder_lock(course()):
        changed = make_release(wanted, force)
    for one in wanted:
        out.print(f"{one.name}: {'made' if one.name in changed else 'unchanged'}  {one.release.relative_to(ROOT)}")


@app.command("check")
def check_command(
    names: ChapterNames = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the notebooks, which are graded like a class's.")] = False,
    every: Annotated[bool, typer.Option("--every", help="Hand in every variant in a notebook; takes twice as long.")] = False,
) -> None:
    """Prove the checks: references and right variants pass, wrong ones fail where they must, also across the bridge.

    Every variant is checked directly. Three wrong ones and a right one of each exercise are handed in, too, in notebooks that are
    graded like a class's: what their checks say across the bridge must be the same. With --every all of them are handed in.
    With --quick a chapter is left out where nothing has changed that its last proof depended on.
    """
    from autograder.assemble import make_release
    from autograder.proof import is_proven

    wanted = _chapters(names)
    proven = [one for one in wanted if quick and is_proven(one)]
    for one in proven:
        out.print(f"{one.name}: unchanged since its checks were proven")
    wanted = [one for one in wanted if one not in proven]
    if not quick:
        with folder_lock(course()):
            make_release(wanted)
    problems = 0
    for proof in _proofs(wanted, quick, every):
        _print_proof(proof)
        problems += proof.problems
    if problems:
        raise CourseError(f"{problems} lines above are not as they must be; they are the red ones")
    out.print("all as it must be")


def _proofs(wanted: list[Chapter], quick: bool, every: bool) -> Iterator["Proof"]:
    """Prove one chapter with two processes, or several side by side; show meanwhile how far it is."""
    from autograder.proof import prove, prove_all

    together = prove_all(wanted, quick, every, jobs=max(2, min(CPUS, 4))) if len(wanted) > 1 else None
    for done, one in enumerate(wanted):
        with _progress() as progress:
            if together:
                progress.add_task(f"{len(wanted)} chapters, side by side; {one.name} comes next", total=len(wanted), completed=done)
                proof = next(together)
            else:
                task = progress.add_task(f"{one.name}: variants, then notebooks", total=None)
                proof = prove(one, quick, every, lambda row, progress=progress, task=task: progress.advance(task), jobs=2)
        yield proof


def _print_proof(proof: "Proof") -> None:
    """The tables of a chapter's proof; what is not as it must be is red."""
    name = proof.chapter.name
    table = _table(f"{name}: the checks", "exercise", "subject", "kind", "what the checks say", "seconds")
    for row in proof.rows:
        outcome = f"[red]{_plain(row.problem)}[/red]" if row.problem else _plain(row.outcome)
        table.add_row(row.exercise, row.subject, row.kind, outcome, f"{row.seconds:.2f}")
    out.print(table)
    if not proof.notebooks:
        return
    table = _table(f"{name}: whole notebooks", "notebook", "must score", "scores", "seconds", "")
    for row in proof.notebooks:
        points = "none" if row.points is None else f"{row.points:g}"
        table.add_row(row.student, f"{row.expected:g}", points, f"{row.seconds:.0f}", f"[red]{_plain(row.problem)}[/red]")
    out.print(table)


def _warn(sentence: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[yellow]warning:[/yellow] {sentence}")


def _plain(text: str) -> str:
    """Text for a rich table: no markup, one line."""
    from rich.markup import escape

    from autograder.plain import one_line

    return escape(one_line(text, 5000))


@app.command("demo")
def demo_command(
    name: ChapterName,
    students: Annotated[int, typer.Option("--students", min=1, help="How many submissions to invent.")] = 6,
) -> None:
    """Invent a class: submissions made of reference solutions, variants and blanks, and the points that they must get."""
    from autograder.assemble import make_release
    from autograder.demo import make_class

    one = chapter(name)
    with folder_lock(course()):
        make_release([one])
        made = make_class(one, students)
    table = _table(f"{name}: a class of {students}", "student", "must score")
    for planned in made:
        table.add_row(planned.student, f"{planned.points:g}")
    out.print(table)
    out.print(f"The submissions are in {course().relative_to(ROOT)}/submitted. Grade them: python -m autograder grade {name}")


@app.command("students")
def students_command(
    file: Annotated[Path, typer.Argument(metavar="CLASS.csv", help="A class list: id, first_name, last_name; or Canvas's, Moodle's.")],
    db: Database = None,
) -> None:
    """Read the class list into the gradebook, so that who handed in nothing stands in the tables as missing."""
    from autograder.gradebook import gradebook
    from autograder.roster import import_roster, read_roster

    listed = read_roster(file)
    with folder_lock(course()), gradebook(course(), db) as book:
        import_roster(book, listed)
    out.print(f"{len(listed)} students are in the gradebook")


@app.command("collect")
def collect_command(
    source: Annotated[Path, typer.Argument(metavar="FOLDER|ZIP", help="What Canvas or Moodle exported, or a folder of notebooks.")],
    name: ChapterName,
    layout: Annotated[str, typer.Option("--layout", help="auto, canvas, moodle or plain: the rules of the file names.")] = "auto",
    roster: Annotated[Path | None, typer.Option("--class", help="The class list, to find and check ids by.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take newer files; the old ones go to course/submitted-before.")] = False,
) -> None:
    """Put the submissions that Canvas or Moodle exported where they are graded."""
    from autograder import collect
    from autograder.roster import read_roster

    one = chapter(name)
    with folder_lock(course()):
        items = collect.plan(source, course(), one.name, read_roster(roster) if roster else None, layout)
        if not dry_run:
            items = collect.collect(items, source, course(), one.name, replace)
    table = _table(f"{name}: {'would collect' if dry_run else 'collected'}", "student", "status", "file", "")
    for item in items:
        table.add_row(_plain(item.student), item.status, _plain(item.member), _plain(item.sentence))
    out.print(table)
    refused = sum(item.status == "refused" for item in items)
    if refused:
        raise CourseError(f"{refused} of {len(items)} files were refused; the table says why")


@contextlib.contextmanager
def _resumable(name: str) -> Iterator[None]:
    """Answer Ctrl-C with a sentence."""
    try:
        yield
    except KeyboardInterrupt:
        raise CourseError(f"stopped; what is graded stands, and this goes on: python -m autograder grade {name} --resume") from None


@app.command("grade")
def grade_command(
    name: ChapterName,
    student: Annotated[list[str] | None, typer.Option("--student", help="Only this student; may be given several times.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="How many submissions to grade at once.")] = CPUS,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after an interrupted run: keep the verdicts that still hold.")] = False,
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="A Dask scheduler to grade with: tcp://HOST:8786.")] = None,
    db: Database = None,
    sandbox: Annotated[bool, typer.Option("--sandbox/--no-sandbox", help="Without it, the students' code runs as you, unguarded.")] = True,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="What one submission may take.")] = Limits.seconds,
    call_seconds: Annotated[float, typer.Option("--call-seconds", min=1, help="What a cell or a check may take.")] = Limits.call_seconds,
    memory: Annotated[int, typer.Option("--memory", min=64, help="MiB that one submission may take.")] = Limits.memory >> 20,
    to: Annotated[Path | None, typer.Option("--to", help="Where to write the CSV file.", show_default="course/CHAPTER.csv")] = None,
) -> None:
    """Grade a class: judge every submission in a sandbox, fill the gradebook, write feedback, print a table, export a CSV file."""
    from autograder.assemble import make_release
    from autograder.grade import grade, students_of
    from autograder.pool import LocalPool, dask_pool
    from autograder.report import summary_table

    one = chapter(name)
    limits = replace(Limits(), seconds=seconds, call_seconds=call_seconds, cell_seconds=call_seconds, memory=memory << 20)
    if not sandbox:
        _warn("--no-sandbox: every submission runs as you and can read and change what you can; grade only people whom you trust")
    with _resumable(name), folder_lock(course()):
        make_release([one])
        everyone = students_of(one)
        unknown = sorted(set(student or []) - set(everyone))
        if unknown:
            raise CourseError(f"{unknown[0]} has no submission of {name} in {course().relative_to(ROOT)}/submitted")
        if not everyone:
            raise CourseError(f"there is no submission of {name}; put them in {course().relative_to(ROOT)}/submitted/STUDENT/{name}/")
        wanted = list(dict.fromkeys(student or everyone))
        with _progress() as progress, dask_pool(scheduler) if scheduler else LocalPool(jobs) as pool:
            task = progress.add_task(f"{name}: grading", total=len(wanted))

            def report(verdict: Verdict) -> None:
                progress.update(task, advance=1, description=f"{name}: {_plain(verdict.student):.40} {verdict.status}")

            verdicts = grade(one, wanted, limits=limits, pool=pool, sandboxed=sandbox, resume=resume, db_url=db, report=report)
        rows, recorded = _rows(one, db)
    path = to or course() / f"{name}.csv"
    export(rows, path)
    out.print(summary_table(verdicts, recorded, f"{name}: grades"))
    missing = sum(row.status == "missing" for row in rows)
    if missing and not student:
        out.print(f"{missing} of the class list handed in nothing")
    out.print(f"Export: {path}\nFeedback: {course().relative_to(ROOT)}/feedback/STUDENT/{name}\nMore: python -m autograder report {name}")
    ungraded = [verdict for verdict in verdicts if not verdict.has_points]
    if ungraded:
        told = "; ".join(f"{verdict.student}: {verdict.message}" for verdict in ungraded[:5])
        raise CourseError(f"{len(ungraded)} of {len(verdicts)} submissions could not be graded: {told}{' …' if len(ungraded) > 5 else ''}")


@app.command("report")
def report_command(
    name: ChapterName,
    json_too: Annotated[bool, typer.Option("--json", help="As JSON, for other programs.")] = False,
) -> None:
    """Say what the class misunderstood: for each exercise the mean, and the share of submissions that failed each check."""
    from autograder.grade import read_verdicts
    from autograder.report import render, report

    verdicts = read_verdicts(course(), chapter(name).name)
    if not verdicts:
        raise CourseError(f"nothing of {name} is graded yet; run: python -m autograder grade {name}")
    made = report(verdicts)
    print(made.to_json()) if json_too else out.print(render(made))


@app.command("export")
def export_command(
    name: ChapterName,
    to: Annotated[Path, typer.Option("--to", help="The CSV file to write.")],
    layout: Annotated[str, typer.Option("--layout", help="plain (ours), canvas or moodle.")] = "plain",
    partial: Annotated[bool, typer.Option("--partial", help="Also where written answers still wait for a person.")] = False,
    db: Database = None,
) -> None:
    """Write the grades, those of persons included, as a CSV file for a spreadsheet, Canvas or Moodle."""
    rows, _ = _rows(chapter(name), db)
    export(rows, to, layout, name, partial)
    out.print(f"{len(rows)} students: {to}")


@app.command("feedback")
def feedback_command(name: ChapterName, db: Database = None) -> None:
    """Write the feedback pages again, with the points and comments that persons gave since."""
    from autograder.feedback import write_feedback
    from autograder.grade import read_verdicts
    from autograder.gradebook import read_grades

    one = chapter(name)
    with folder_lock(course()):
        recorded = read_grades(course(), one.name, db)
        verdicts = read_verdicts(course(), one.name)
        for verdict in verdicts:
            write_feedback(course(), one.name, verdict, recorded.get(verdict.student))
    out.print(f"{len(verdicts)} pages: {course().relative_to(ROOT)}/feedback/STUDENT/{name}")


def _rows(one: Chapter, db: str | None) -> tuple[list[Row], dict[str, "Recorded"]]:
    """The lines of an export, and what the gradebook holds: of the class list, of all who were graded, of all who handed in."""
    from autograder.exports import rows
    from autograder.grade import read_verdicts
    from autograder.gradebook import read_grades, roster_of

    recorded = read_grades(course(), one.name, db)
    return rows(roster_of(course(), db), read_verdicts(course(), one.name), recorded), recorded


@app.command("attacks")
def attacks_command(
    only: Annotated[str, typer.Option("--only", help="One attack, or one family of them; all if none.")] = "",
    plain: Annotated[bool, typer.Option("--plain", help="Grade them with plain nbgrader, in a room of its own, for comparison.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="How many submissions to grade at once.")] = CPUS,
) -> None:
    """Grade the corpus of hostile, broken and odd submissions, and compare what each got with what it must get."""
    from autograder.tests.attacks.corpus import choose
    from autograder.tests.attacks.plain import run_plain
    from autograder.tests.attacks.runner import our_grader, prove_walls, run_corpus

    chosen = choose(only)
    with _progress() as progress:
        task = progress.add_task("attacks", total=len(chosen) if plain else 2 * len(chosen) + 1)
        if plain:
            found = run_plain(chosen, jobs, lambda outcome: progress.advance(task))
        else:
            grader = our_grader(jobs)
            prove_walls(grader)
            found = run_corpus(chosen, grader, lambda verdict: progress.advance(task))
    if plain:
        table = _table("plain nbgrader", "attack", "what became of it", "detail", "seconds")
        for one in found:
            table.add_row(one.attack.name, one.status, _plain(one.detail), f"{one.seconds:.0f}")
        counts = Counter(one.status for one in found)
        out.print(table, ", ".join(f"{count} {status}" for status, count in counts.most_common()))
        return
    table = _table("the grader", "family", "attack", "must get", "got", "seconds", "")
    for one in found:
        problem = f"[red]{_plain(one.problem)}[/red]"
        table.add_row(one.family, one.attack.name, _plain(one.expected), _plain(one.got), f"{one.seconds:.1f}", problem)
    out.print(table)
    wrong = sum(bool(one.problem) for one in found)
    if wrong:
        raise CourseError(f"{wrong} of {len(found)} attacks did not end as they must; they are the red ones")
    out.print(f"{len(found)} attacks: all as it must be")


@app.command("bench")
def bench_command(
    name: Annotated[str, typer.Option("--chapter", help="The chapter whose demonstration class is graded.")] = "02_ngrams",
    students: Annotated[int, typer.Option("--students", min=1, help="How many submissions.")] = 40,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each way grades the class, in turn.")] = 1,
) -> None:
    """Time one class graded by plain nbgrader, and by this grader with one job and with two, as ratios."""
    from autograder.bench import bench

    different = bench(chapter(name), students, rounds, out)
    if different:
        raise CourseError(f"{different} grades differ from those of plain nbgrader; they are listed above")


@app.command("bench-word2vec")
def bench_word2vec_command(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds; the means over them are compared.")] = 3,
    width: Annotated[int, typer.Option("--width", min=1, help="Numbers in a vector.")] = 50,
    window: Annotated[int, typer.Option("--window", min=1, help="The largest distance of a pair.")] = 5,
    sample: Annotated[float, typer.Option("--sample", min=0.0, help="Threshold of subsampling.")] = 1e-3,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="How often the text is read.")] = 5,
    rate: Annotated[float, typer.Option("--rate", min=0.0, help="Learning rate at the start.")] = 0.05,
) -> None:
    """Train word vectors by hand and with gensim, same text and settings, and print quality and words a second side by side."""
    from autograder.bench_word2vec import Settings, compare, tables

    settings = Settings(width=width, window=window, sample=sample, epochs=epochs, learning_rate=rate)
    found = compare(seeds, settings, lambda line: out.print(line, style="dim"))
    out.print(*tables(found))


@app.command("work")
def work_command() -> None:
    """Copy the exercise notebooks to course/work, where you do them; a notebook that is there already stays as it is."""
    from autograder.assemble import make_release
    from autograder.bundle import VALIDATE

    with folder_lock(course()):
        make_release(chapters())
    write_whole(course() / "work" / "nbgrader_config.py", VALIDATE.read_bytes())
    for one in chapters():
        mine = course() / "work" / one.name / one.release.name
        if not mine.exists():
            write_whole(mine, one.release.read_bytes())
        out.print(mine.relative_to(ROOT))


@app.command("bundle")
def bundle_command(
    to: Annotated[Path | None, typer.Option("--to", help="The zip file to write.", show_default="build/NAME-VERSION.zip")] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="Also write the same content into this empty folder.")] = None,
) -> None:
    """Make the student bundle: the exercise notebooks, lmkit as a wheel, and the files by which conda or pip install it.

    A student with this one file can open, run, check and validate every notebook. It holds no solution and no hidden check, and
    the same commit makes the same file, byte for byte.
    """
    from autograder.assemble import make_release
    from autograder.bundle import bundle

    with folder_lock(course()), _progress() as progress:
        task = progress.add_task("making the releases", total=2)
        make_release(chapters())
        progress.update(task, advance=1, description="searching for answers, building the wheel")
        made = bundle(to, folder)
    out.print(f"{made}  {made.stat().st_size / 1e6:.1f} MB")


@app.command("publish")
def publish_command(
    folder: Annotated[Path, typer.Option("--folder", help="The empty folder to write into; it is made where it is not.")],
) -> None:
    """Write what a branch named release must hold: the student bundle, as files and as a zip, with a cell that installs on Colab.

    The Colab and Binder buttons of the book open the notebooks of that branch. The repository's address stands in
    book/_config.yml; the environment variable COURSE_REPOSITORY overrides it. This command pushes nothing: the workflow
    .github/workflows/course.yml does, or you do.
    """
    from autograder.assemble import make_release
    from autograder.publish import publish, repository

    with folder_lock(course()), _progress() as progress:
        task = progress.add_task("making the releases", total=2)
        make_release(chapters())
        progress.update(task, advance=1, description="searching for answers, building the wheel")
        made = publish(folder)
    out.print(f"{made}: for the branch release of {repository()}")


@app.command("book")
def book_command(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show all that Sphinx says.")] = False,
) -> None:
    """Build the book: make the releases, run every page, check links and leaks, and print the page to open."""
    from autograder.assemble import make_release
    from autograder.book import build

    start = time.perf_counter()
    with folder_lock(course()):
        make_release(chapters())
    index = build(ROOT, verbose=verbose)
    out.print(f"built in {time.perf_counter() - start:.0f} s; open this page in a browser:\n{index.as_uri()}")


@app.command("review")
def review_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PAGE]...", help="Pages, such as 02_ngrams/lesson; all if none.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="A folder for a picture of every page in every state, to look at.")] = None,
    only_problems: Annotated[bool, typer.Option("--only-problems", help="Leave out the pages that are as they must be.")] = False,
) -> None:
    """Look at the built book in a browser: each page on a wide screen, a tablet and a phone, light and dark.

    Says what does not fit or is cut, figures with letters too small, images that fail, what axe-core calls serious, errors of
    scripts, requests to other machines, pages that weigh or wait too much, and, where no page is named, terms of the glossary that
    the search does not find. Links to other places are listed in book/_build/external-links.txt at every build.
    """
    from autograder import review

    wanted = review.pages(review.HTML, names or [])
    table = _table("The book in a browser", "page", "MB", "seconds", "where", "what is wrong")
    with _progress() as progress:
        task = progress.add_task("pages", total=len(wanted))
        seen = review.review(review.HTML, wanted, shots=to, report=lambda one: progress.update(task, advance=1, description=one.page))
    for one in seen:
        about = [one.page, f"{one.size / 1e6:.2f}", f"{one.paint:.2f}"]
        if not one.problems and not only_problems:
            table.add_row(*about)
        for problem in one.problems:
            table.add_row(*about, ", ".join(problem.states), f"[red]{_plain(f'{problem.kind}: {problem.sentence}')}[/red]")
            about = ["", "", ""]
    out.print(table)
    problems = sum(len(one.problems) for one in seen)
    if problems:
        raise CourseError(f"{problems} problems on {sum(bool(one.problems) for one in seen)} of {len(seen)} pages; the table lists them")
    if not names:
        with review.chromium() as browser:
            lost = review.unfound(browser, review.HTML)
        if lost:
            raise CourseError(f"the search finds {len(lost)} terms of the glossary not at all: {', '.join(lost)}")
    out.print(f"{len(seen)} pages: all as it must be")


@app.command("pdf")
def pdf_command(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show all that Sphinx says.")] = False,
) -> None:
    """Typeset the whole book as one PDF for paper, from the pages that `book` built last; takes some minutes.

    Needs LuaLaTeX and a few more packages of Debian; where one is missing it says how to install them. Folded code and the checks of
    the exercises stay on the screen.
    """
    from autograder.print_book import print_book

    start = time.perf_counter()
    pdf = print_book(ROOT, verbose=verbose)
    out.print(f"typeset in {time.perf_counter() - start:.0f} s; the book for paper:\n{pdf}")


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
