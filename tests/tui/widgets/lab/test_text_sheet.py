"""Words and tables on a sheet: whole, wrapped between words, and scrolled."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from edge.lab.claim import Number
from tests.edge.report.example_lab import made_effect
from tests.tui.app_driver import lines_of
from tests.tui.single_widget import assert_whole, single_widget
from tui.widgets.lab.text_sheet import EffectTable, NumberTable, Paragraph, TextSheet, wrap_cells

few = settings(max_examples=60)
NAN = float("nan")


@few
@given(st.text(max_size=200), st.integers(2, 60))
def test_wrapped_text_keeps_its_letters_and_its_width(text: str, cells: int) -> None:
    lines = wrap_cells(text, cells)
    assert all(cell_len(line) <= cells for line in lines), f"{lines} are wider than {cells}"
    assert not any(ord(letter) < 32 for line in lines for letter in line), "a control byte was left"


def test_text_is_wrapped_between_words() -> None:
    assert wrap_cells("one two three", 8) == ["one two", "three"]
    assert wrap_cells("extraordinary", 6) == ["extrao", "rdinar", "y"]
    assert wrap_cells("", 8) == [""]


async def test_a_table_shows_value_unit_baseline_and_meaning_whole() -> None:
    numbers = (
        Number("a_share", "a share of something that takes many words to say what it is", 0.4207, "share", 0.5),
        Number("b_bits", "moved", -0.4258, "bits", 0.125),
        Number("c", "nothing found", NAN, "tokens"),
    )
    async with single_widget(TextSheet(), (50, 12)) as (sheet, pilot):
        sheet.blocks = (Paragraph("found [bold]this"), NumberTable(numbers))
        await pilot.pause()
        assert_whole(sheet)
        text = lines_of(sheet)
        for reported in ("found [bold]this", "42.1%", "50.0%", "−0.426 bits", "0.125 bits", "–", "baseline"):
            assert reported in text, f"'{reported}' is not in\n{text}"
        assert "…" not in text and "what it is" in " ".join(text.split())


async def test_a_narrow_table_has_its_labels_below_the_numbers_and_names_percentage_points() -> None:
    effect = replace(made_effect(0.34, 0.14), unit="share_difference", label="a label whose words stay whole")
    async with single_widget(TextSheet(), (46, 12)) as (sheet, pilot):
        sheet.blocks = (EffectTable((effect,)),)
        await pilot.pause()
        text = lines_of(sheet)
        for line in ("34.0 pp  [20.0, 48.0]  above 10.0 pp", "a label whose words stay whole", "pp: percentage points"):
            assert line in text, f"'{line}' is not in\n{text}"


async def test_a_long_sheet_scrolls_and_begins_at_its_top_again() -> None:
    async with single_widget(TextSheet(), (40, 6)) as (sheet, pilot):
        sheet.blocks = tuple(Paragraph(f"paragraph {n}") for n in range(20))
        await pilot.pause()
        await pilot.press(*["down"] * 5)
        await pilot.pause()
        assert "paragraph 0" not in lines_of(sheet)
        sheet.blocks = tuple(Paragraph(f"other {n}") for n in range(20))
        await pilot.pause()
        assert "other 0" in lines_of(sheet)
