"""In which order the lines of a page are read."""

from podkit_sandbox.shims.ocr import Line, rows


def line(text: str, x: float, y: float, width: float) -> Line:
    return Line(x, x + width, y, 20, text)


def test_two_columns_are_read_one_after_the_other() -> None:
    columns = []
    for n in range(4):
        columns.append(line(f"l{n}", 50, 100 + 30 * n, 380))
        columns.append(line(f"r{n}", 530, 100 + 30 * n, 380))
    title = line("title", 100, 50, 700)
    foot = line("foot", 300, 400, 400)
    assert " ".join(rows([*columns, foot, title], 500)) == "title l0 l1 l2 l3 r0 r1 r2 r3 foot"


def test_a_table_is_read_row_by_row() -> None:
    table = []
    for n in range(5):
        table.append(line(f"{n}0", 100, 100 + 30 * n, 80))
        table.append(line(f"{n}1", 600, 101 + 30 * n, 80))
    assert rows(table, 500) == ["00 01", "10 11", "20 21", "30 31", "40 41"]
