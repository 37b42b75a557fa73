"""Tables in a terminal."""

from collections.abc import Collection, Iterator, Sequence

from varc.errors import in_one_line


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """The lines of a table of texts, its columns as wide as they need; right: those that are set to the right."""
    shown = [[in_one_line(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(head))]
    for row in shown:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def number(value: float, digits: int = 4) -> str:
    """A number with so many significant digits, and none for one that is not there."""
    return "" if value != value else f"{value:.{digits}g}"
