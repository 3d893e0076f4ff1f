"""Charts of findings as SVG: one per scenario, understood at a glance, and the waterfall."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from eventdemo.lab.compare.findings import OURS, Finding
from eventdemo.lab.compare.scenarios import Scenario

WIDTH, BAR = 520, 18
#: Room for a reader's fonts, which may be wider than those that the chart was laid out with.
PADDING = {"left": 70, "right": 40, "top": 4, "bottom": 4}
#: Placeholders of the theme's colours, which the page puts in: SVG's attributes take no variables.
INK, GRID, BLUE, GREY = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {INK: "--ink", GRID: "--grid", BLUE: "--ours", GREY: "--others"}


def scenario_chart(
    scenario: Scenario, findings: Sequence[Finding], titles: Mapping[str, str]
) -> str:
    """Returns bars of the scenario's figure, best first, a group for each point."""
    rows = [
        {
            "contender": finding.label(titles),
            "point": finding.point,
            "figure": finding.figure,
            "ours": finding.contender == OURS,
        }
        for finding in findings
        if finding.figure is not None
    ]
    if not rows:
        return ""
    order = "-x" if scenario.more else "x"
    bars = alt.Chart({"values": rows}).encode(
        y=alt.Y("contender:N", sort=order, title=None),
        x=alt.X("figure:Q", title=scenario.unit, axis=alt.Axis(tickCount=5, format="~s")),
    )
    colour = alt.condition("datum.ours", alt.value(BLUE), alt.value(GREY))
    chart = bars.mark_bar(height=BAR - 5).encode(color=colour) + bars.mark_text(
        align="left", dx=4, color=INK
    ).encode(text=alt.Text("figure:Q", format=",.4~g"))
    one = chart.properties(width=WIDTH, height=alt.Step(BAR))
    if len(scenario.points) == 1:
        return _svg(one)
    names = [point.label for point in scenario.points]
    facet = alt.Facet("point:N", sort=names, title=None, header=alt.Header(labelAnchor="start"))
    return _svg(one.facet(facet, columns=1).resolve_scale(y="independent"))


def waterfall(steps: Sequence[tuple[str, float]]) -> str:
    """Returns the way from the first figure to the last, with the factor of each step."""
    rows = [
        {"step": f"{number}. {title}", "figure": figure, "factor": factor}
        for number, ((title, figure), (_, before)) in enumerate(
            zip(steps, [steps[0], *steps], strict=False), 1
        )
        if (factor := f"{figure / before:.1f} times" if number > 1 else "as people write it")
    ]
    bars = alt.Chart({"values": rows}).encode(
        y=alt.Y("step:N", sort=None, title=None),
        x=alt.X("figure:Q", title="decided/s, one hot product", axis=alt.Axis(tickCount=5)),
    )
    chart = bars.mark_bar(height=BAR - 5, color=GREY) + bars.mark_text(
        align="left", dx=4, color=INK
    ).encode(text="factor:N")
    return _svg(chart.properties(width=WIDTH, height=alt.Step(BAR)))


def _svg(chart: Any) -> str:
    styled = (
        chart.configure(background="transparent", font="system-ui, sans-serif", padding=PADDING)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            labelLimit=280,
            labelFontSize=12,
        )
        .configure_header(labelColor=INK, labelFontSize=13, labelFontWeight="bold")
        .configure_text(fontSize=12)
    )
    svg: str = vl_convert.vegalite_to_svg(styled.to_dict())
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f'fill="{colour}"', f'style="fill:var({variable})"')
        svg = svg.replace(f'stroke="{colour}"', f'style="stroke:var({variable})"')
    return svg
