"""Students' folders of odd names: they are graded under their own name, or refused in a sentence, and harm nobody."""

from autograder.tests.attacks.desk import Desk, attack
from autograder.verdict import GRADED, MALFORMED

IMAGE = "<img src=x onerror=attacked()>"


@attack(student="-rf")
def option_as_a_name(desk: Desk) -> None:
    """A folder called like an option of the shell."""


@attack(student="a b 'quoted' \"twice\" & co; $(id) `id` %s {{7+7}}")
def quotes_as_a_name(desk: Desk) -> None:
    """Quotes, blanks, and what shells, templates and formats expand."""


@attack(student="=1+cmd|'C calc'!A0")
def formula_as_a_name(desk: Desk) -> None:
    """A formula of a spreadsheet."""


@attack(student="zoë 🦉 李")
def letters_of_the_world(desk: Desk) -> None:
    """Accents, an emoji and Chinese: names like any other."""


@attack(student=IMAGE, page_hides=IMAGE)
def handler_as_a_name(desk: Desk) -> None:
    """HTML with a handler, which must not run in the page."""


@attack(student="' or 1=1; drop table grade; --")
def sql_as_a_name(desk: Desk) -> None:
    """A piece of SQL."""


@attack(student="x" * 100)
def long_name(desk: Desk) -> None:
    """A name as long as the class list allows."""


@attack(MALFORMED, student="x" * 250)
def too_long_name(desk: Desk) -> None:
    """A name longer than that."""


@attack(MALFORMED, student="*")
def pattern_as_a_name(desk: Desk) -> None:
    """A pattern, which nbgrader takes for every student."""


@attack(MALFORMED, student="[a-z]*")
def other_pattern_as_a_name(desk: Desk) -> None:
    """Another pattern."""


@attack(MALFORMED, student="two\nlines")
def two_lines_as_a_name(desk: Desk) -> None:
    """A name of two lines, which would be two rows of an export."""


@attack(MALFORMED, student="\x1b[2Jclear")
def codes_as_a_name(desk: Desk) -> None:
    """Codes of the terminal."""


@attack(MALFORMED, student="ada\u202egnp.exe")
def backwards_as_a_name(desk: Desk) -> None:
    """A mark that turns the direction of writing."""


@attack((MALFORMED, GRADED), student="zoe\u0308")
def letter_in_two_parts(desk: Desk) -> None:
    """A letter and its accent as two characters: it would be another student's name once composed."""


@attack(MALFORMED, student="a000-1-bystander ")
def blank_at_the_end(desk: Desk) -> None:
    """Another student's name with a blank behind it: it must not become that student's work."""


@attack(student="A000-1-BYSTANDER")
def same_name_in_capitals(desk: Desk) -> None:
    """Another student's name in capital letters: two students, two grades."""
