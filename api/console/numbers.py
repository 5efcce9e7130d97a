"""Business numbers in the browser, as /v1/kpi says them. What may not enter: counting, SQL."""

from collections.abc import Sequence

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from api.console.render import AnyRequest, Pages, amount, plural, thousands
from api.queries import read_query
from api.slowly import slowly
from engine.business import Business, Remembered
from engine.kpi import Age, Kpi
from engine.runtime import Front

_HOME = "/console/numbers"
#: Suppliers of the table: the worst.
_MAX_SUPPLIERS = 12
#: Length of the longest bar.
_BAR = 180.0
_TITLES = {"inspection": "For inspection", "release": "For release", "blocked": "Blocked stock"}
_STEPS = {"total": "in all", "inspection": "inspection", "release": "release"}


class Bar(Struct, frozen=True):
    """One bar of a chart."""

    words: str
    value: str
    width: str
    #: new, mid, old
    weight: str


class Chart(Struct, frozen=True):
    """A chart of bars, with its place on the page and the words for whoever does not see it."""

    name: str
    title: str
    total: str
    bars: list[Bar]


def number_pages(engine: Front, pages: Pages) -> list[HTTPRouteHandler]:
    """The route, for Litestar."""
    # Shared by whoever looks, for the page looks again every second.
    business = Remembered(Business(engine.store, engine.clock))

    @get(_HOME)
    async def show(request: AnyRequest) -> Response[bytes]:
        """What waits, what it is worth, how good and how fast lots come through."""
        read_query(request.scope, (), blank=True)
        seen = await slowly(business.numbers, engine.today())
        worst = seen.suppliers[:_MAX_SUPPLIERS]
        return pages.page(request, "numbers.html", kpi=seen, charts=charts(seen), suppliers=worst)

    return [show]


def charts(kpi: Kpi) -> list[Chart]:
    """Every chart of the page."""
    found = []
    for queue in kpi.queues:
        bars = _aged([(_span(age), thousands(age.lots), age.lots) for age in queue.ages])
        found.append(Chart(queue.name, _TITLES[queue.name], plural(queue.lots, "lot"), bars))
    spans = [_span(age) for age in kpi.queues[-1].ages]
    for value in kpi.blocked_value:
        lines = [(words, amount(one), float(one)) for words, one in zip(spans, value.by_age, strict=True)]
        title, total = "Value of blocked stock", f"{amount(value.value)} {value.currency}"
        found.append(Chart(f"value-{value.currency}", title, total, _aged(lines)))
    leads = [(f"{_STEPS[lead.step]}, {name}", hours) for lead in kpi.lead_times
             for name, hours in (("median", lead.median_hours), ("p95", lead.p95_hours))]  # fmt: skip
    bars = _bars([(words, "–" if hours is None else f"{hours:g} h", hours or 0.0, "new") for words, hours in leads])
    found.append(Chart("lead", "Lead time to release", plural(kpi.lead_times[0].lots, "lot"), bars))
    delays = kpi.delays
    causes = [("quality", delays.by_quality), ("interfaces", delays.by_interfaces), *delays.interfaces.items()]
    bars = _bars([(words, thousands(number), number, "mid") for words, number in causes])
    found.append(Chart("delays", "Delayed, by cause", plural(delays.shipments, "shipment"), bars))
    return found


def _aged(lines: Sequence[tuple[str, str, float]]) -> list[Bar]:
    weights = ("new", "new", "new", "mid", "mid", "old", "old")
    return _bars([(*line, weight) for line, weight in zip(lines, weights, strict=True)])


def _bars(lines: Sequence[tuple[str, str, float, str]]) -> list[Bar]:
    most = max((number for _, _, number, _ in lines), default=0.0) or 1.0
    return [Bar(words, value, f"{number / most * _BAR:.0f}", weight) for words, value, number, weight in lines]


def _span(age: Age) -> str:
    if age.to_hours is None:
        return f"over {_time(age.from_hours)}"
    return f"{_time(age.from_hours)} to {_time(age.to_hours)}" if age.from_hours else f"under {_time(age.to_hours)}"


def _time(hours: int) -> str:
    return f"{hours // 24} d" if hours >= 24 else f"{hours} h"
