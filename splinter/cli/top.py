"""The live view of ``splinter top``: one section at a time in a table that is sorted and scrolled, a line above it for all.

It needs Textual, which comes with the extra ``cli``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import DataTable, Footer

from splinter.cli import frames

if TYPE_CHECKING:
    from splinter.cli.stats import Look


class Line(Widget):
    """A line of text, cut to whatever width there is."""

    DEFAULT_CSS = "Line { height: 1; width: 100%; }"
    text = reactive("")

    def render(self) -> Text:
        """What is shown."""
        return Text(frames.cut(self.text, self.size.width))


class Looked(Message):
    """A look, or what went wrong with it."""

    def __init__(self, look: Look | None, error: BaseException | None) -> None:
        super().__init__()
        self.look, self.error = look, error


class Top(App[None]):
    """``look`` is called each ``interval`` seconds, in a thread; the view ends after ``count`` looks (0: never) or by a key."""

    CSS = "DataTable { height: 1fr; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("tab", "section(1)", "Next", priority=True),
        Binding("shift+tab", "section(-1)", show=False, priority=True),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "sort(-1)", show=False),
        Binding("space", "pause", "Pause"),
    ]

    def __init__(self, look: Callable[[], Look], interval: float, count: int = 0, sort: str | None = None) -> None:
        super().__init__()
        self._look, self._interval, self._count, self._by = look, interval, count, sort
        self._looks = 0
        self._head = ""
        self._sections: list[frames.Section] = []
        self._name = ""  # of the section that is shown; none yet: the first that has rows
        self._is_paused = self._is_looking = False
        self._error: BaseException | None = None

    def show(self) -> None:
        """Run until it ends. Raises what a look raised."""
        self.run()
        if self._error is not None:
            raise self._error

    def compose(self) -> ComposeResult:
        """A line for all, one that names the section, the table, the keys."""
        yield Line(id="head")
        yield Line(id="title")
        yield DataTable[Text](cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(self._interval, self.refresh_look)

    def refresh_look(self) -> None:
        """Ask for another look, unless one is under way: a server that is slow is not asked twice."""
        if not self._is_paused and not self._is_looking:
            self._is_looking = True
            # A thread that nobody waits for at the end, as is done for those of an executor: a server may hang.
            threading.Thread(target=self._look_once, daemon=True).start()

    def _look_once(self) -> None:
        try:
            looked = Looked(self._look(), None)
        except BaseException as error:
            looked = Looked(None, error)
        with contextlib.suppress(RuntimeError):  # the view's loop has ended
            self.post_message(looked)

    def on_looked(self, event: Looked) -> None:
        """A look is there, or failed."""
        self._is_looking = False
        try:
            if event.look is None:
                raise event.error or AssertionError
            self.take(event.look)
        except BaseException as error:
            self._error = error
            self.exit()
            return
        self._looks += 1
        if self._looks == self._count:
            self._end_when_painted()

    def _end_when_painted(self) -> None:
        """Exit once the last look is on the terminal: after the table's own layout, and after the paint that it asks for."""
        table = self.query_one(DataTable)
        table.call_after_refresh(table.call_after_refresh, self.exit)

    def take(self, look: Look) -> None:
        """Show a look."""
        self._sections, self._head = look.sections(), look.head()
        self._draw()

    def action_section(self, step: int) -> None:
        """Show another section."""
        if self._sections:
            names = [section.name for section in self._sections]
            here = names.index(self._name) if self._name in names else 0
            self._name = names[(here + step) % len(names)]
            self._draw(moved=True)

    def action_sort(self, step: int) -> None:
        """Sort by another column."""
        section = self._section()
        if section is not None:
            names = [column.name for column in section.columns]
            here = names.index(self._by) if self._by in names else names.index(section.sort)
            self._by = names[(here + step) % len(names)]
            self._draw(moved=True)

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column that was clicked."""
        section = self._section()
        if section is not None:
            self._by = section.columns[event.column_index].name
            self._draw(moved=True)

    def action_pause(self) -> None:
        """Keep what is shown, or go on."""
        self._is_paused = not self._is_paused
        self._draw_lines()

    def _section(self) -> frames.Section | None:
        named = [section for section in self._sections if section.name == self._name]
        return next(iter(named or self._sections), None)

    def _sorted_by(self, section: frames.Section) -> str:
        return self._by if self._by in [column.name for column in section.columns] else section.sort

    def _draw(self, *, moved: bool = False) -> None:
        """Fill the table; ``moved``: other rows or another order, so it begins at the top."""
        self._draw_lines()
        section, table = self._section(), self.query_one(DataTable)
        if section is None:
            return
        self._name = section.name
        row, left, above = table.cursor_row, table.scroll_x, table.scroll_y
        table.clear(columns=True)
        for column in section.columns:
            mark = " ▾" if column.name == self._sorted_by(section) else ""
            table.add_column(Text(column.name + mark))
        named = section.columns
        for values in section.sorted_rows(self._by):
            table.add_row(*(_cell(column, value) for column, value in zip(named, values, strict=True)))
        if not moved:
            table.move_cursor(row=min(row, table.row_count - 1), animate=False, scroll=False)
            table.scroll_to(left, above, animate=False)

    def _draw_lines(self) -> None:
        section = self._section()
        self.query_one("#head", Line).text = self._head
        if section is not None:
            names = [section.name, *(each.name for each in self._sections if each is not section)]
            state = "paused, " if self._is_paused else ""
            told = (
                f"[{names[0]}] {state}{len(section.rows):,} rows, by {self._sorted_by(section)}; also: {', '.join(names[1:])}"
            )
            self.query_one("#title", Line).text = told


def _cell(column: frames.Column, value: frames.Value) -> Text:
    return Text(column.show(value), justify="left" if column.kind == "text" else "right")
