"""The table of operations: one row a call, from which the OpenAPI document is made.

What may not enter: handlers. A test holds this table against the routes of the application.
"""

from typing import Any

from msgspec import Raw

from api.batch import Result
from api.commands import COMMANDS
from api.feed import Changes
from api.parameters import (
    CURSOR,
    DELIVERY,
    DIGEST,
    FIELDS,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    LIMIT,
    LOT,
    PREFER,
    STATE,
    SUBSCRIPTION,
    TARGET,
    TARGET_NAME,
    TASK,
    WANTED,
    Operation,
    Parameter,
    reading,
)
from api.quality_operations import QUALITY
from api.roles import SENDERS, SENDING
from api.rulesets import Activate, Approve, Difference, RollBack, Stage
from api.subscriptions import Disable, Recover, Recovered, Rotate, Subscribe, Subscribed
from api.targets import DriftPage, Pause, TargetLine
from api.tasks import Remark
from api.views import DeliveryPage, LotView, Page, Readiness, Replay, Replayed
from engine.answer import Decision, Notice
from engine.as_decided import AsDecided
from engine.delivery_lines import DeliveryLine
from engine.drift import Reading
from engine.events import TYPES, AnyEvent
from engine.explaining import Certificates, Explanation
from engine.holds import HoldLine
from engine.journal import Entry
from engine.rulesets import RuleSetLine, RuleSetView, Staged
from engine.store.reading import EventLine, LotLine, ParkedLine, ResultLine
from engine.subscriptions import Subscription
from engine.targets import TargetState
from engine.tasks import TaskLine
from engine.tracing import Trace

_DECIDED: dict[int, Any] = {201: Decision, 200: (Decision, Notice), 202: Notice}
_DECISION_PROBLEMS = (404, 408, 409, 412, 413, 415, 422, 503)


def _decide(*, role: tuple[str, ...] = SENDING, **what: Any) -> Operation:
    return Operation(method="post", role=role, answers=_DECIDED, problems=_DECISION_PROBLEMS, **what)


def _command(name: str) -> Operation:
    return _decide(
        # A hold may name another role that lifts it.
        role=SENDING if name == "lift-hold" else tuple(sorted(SENDERS[COMMANDS[name]])),
        path=f"/v1/lots/{{lot}}/{name}",
        id=name.replace("-", "_"),
        summary=f"{name.capitalize()}: the event {COMMANDS[name]} in one call.",
        parameters=(LOT, IDEMPOTENCY_KEY, IF_MATCH, PREFER),
        body={"application/json": TYPES[COMMANDS[name]].__annotations__["data"]},
        body_required=name != "release",
    )


def _step(path: str, name: str, summary: str, body: Any, *parameters: Parameter) -> Operation:
    return Operation(
        method="post",
        path=path,
        id=name,
        role="approve-rules",
        summary=summary,
        parameters=parameters,
        body={"application/json": body},
        body_required=False,
        answers={200: RuleSetLine},
        problems=(404, 408, 409, 413, 415, 422),
    )


def _remark(step: str, summary: str) -> Operation:
    return Operation(
        method="post",
        path=f"/v1/tasks/{{task}}/{step}",
        id=f"{step}_task",
        role=SENDING,
        summary=summary,
        parameters=(TASK,),
        body={"application/json": Remark},
        body_required=False,
        answers={200: TaskLine},
        problems=(404, 408, 413, 415, 422),
    )


def _subscription(step: str, summary: str, answer: Any, body: Any, *more: int) -> Operation:
    return Operation(
        method="post",
        path=f"/v1/subscriptions/{{subscription}}/{step}",
        id=f"{step}_subscription",
        role="admin",
        summary=summary,
        parameters=(SUBSCRIPTION,),
        body={} if body is None else {"application/json": body},
        body_required=step != "rotate",
        answers={200: answer},
        problems=(404,) if body is None else (404, 408, *more, 413, 415, 422),
    )


def _text(path: str, name: str, summary: str, *parameters: Parameter) -> Operation:
    return Operation(
        method="get",
        path=path,
        id=name,
        summary=summary,
        role=None,
        parameters=parameters,
        answers={200: str},
        problems=(404,),
        answer_media_type="text/markdown",
    )


OPERATIONS: tuple[Operation, ...] = (
    _decide(
        path="/v1/events",
        id="submit_event",
        summary="Submit one CloudEvent; the answer is the committed decision.",
        parameters=(IF_MATCH, PREFER),
        body={"application/cloudevents+json": AnyEvent, "application/json": AnyEvent},
    ),
    Operation(
        method="post",
        path="/v1/events/batch",
        id="submit_batch",
        role=SENDING,
        summary="Submit many CloudEvents; one result each, in order.",
        parameters=(PREFER,),
        body={"application/cloudevents-batch+json": list[AnyEvent], "application/x-ndjson": AnyEvent},
        answers={200: list[Result]},
        answer_line=Result,
        problems=(408, 413, 415, 422, 503),
    ),
    Operation(
        method="get",
        path="/v1/feed",
        id="feed",
        summary="Every change as it happens, as server-sent events; `data` is a change as `/v1/changes` has it.",
        parameters=(
            *WANTED,
            Parameter("after", "The id of a change, or `start`; without it only what comes."),
            Parameter("Last-Event-ID", "As `after`, and before it.", place="header"),
            Parameter("heartbeat", "Seconds between signs of life.",
                      {"type": "integer", "minimum": 1, "maximum": 60, "default": 15}),
        ),
        answers={200: str},
        problems=(503,),
        answer_media_type="text/event-stream",
    ),
    Operation(
        method="get",
        path="/v1/changes",
        id="changes",
        summary="The changes after one; waits for the first.",
        parameters=(
            *WANTED,
            Parameter("after", "`next` of the answer before, a change's id, or `start`; without it only what comes."),
            Parameter("wait", "Seconds to wait for the first.",
                      {"type": "integer", "minimum": 0, "maximum": 30, "default": 0}),
            LIMIT,
        ),
        answers={200: Changes},
        problems=(503,),
    ),
    reading(
        "/v1/lots/{lot}/genealogy",
        "genealogy",
        "What was made of a lot, or what it was made of.",
        Trace,
        LOT,
        Parameter("direction", "`forward` (default) or `backward`."),
        Parameter("depth", "Steps at most.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}),
        Parameter("nodes", "Lots and orders at most.",
                  {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 10_000}),
        Parameter("format", "`json` (default) or `csv`: one line a lot."),
        more=(503,),
    ),
    reading(
        "/v1/events/{key}",
        "event",
        "An event as it was answered.",
        EventLine,
        Parameter("key", "Last part of the `Location` of an answer.", place="path", required=True),
    ),
    reading(
        "/v1/lots",
        "lots",
        "Lots, by id.",
        Page[LotLine],
        STATE,
        *(Parameter(n, f"Only this {n}.") for n in ("item", "supplier", "order", "plant")),
        FIELDS,
        CURSOR,
        LIMIT,
    ),
    Operation(
        method="get",
        path="/v1/lots/{lot}",
        id="lot",
        summary="One lot: what it is, what can happen next.",
        parameters=(
            LOT, FIELDS, IF_NONE_MATCH,
            Parameter("as_of", "An instant: the lot as it was known then.", {"type": "string", "format": "date-time"}),
        ),
        answers={200: LotView, 304: None},
        problems=(404,),
    ),
    reading(
        "/v1/lots/{lot}/journal",
        "lot_journal",
        "Everything that happened to the lot, oldest first.",
        Page[Entry],
        LOT,
        CURSOR,
        LIMIT,
        more=(503,),
    ),
    reading(
        "/v1/lots/{lot}/results",
        "lot_results",
        "Recorded inspection results.",
        Page[ResultLine],
        LOT,
        CURSOR,
        LIMIT,
    ),
    reading("/v1/lots/{lot}/certificates", "lot_certificates", "Certificates of its supplier, beside our results.",
            Certificates, LOT),
    reading("/v1/lots/{lot}/holds", "lot_holds", "Holds that stand or stood.", Page[HoldLine], LOT),
    reading(
        "/v1/lots/{lot}/deliveries",
        "lot_deliveries",
        "What each target was told.",
        Page[DeliveryLine],
        LOT,
        CURSOR,
        LIMIT,
        more=(503,),
    ),
    reading(
        "/v1/lots/{lot}/explain",
        "lot_explain",
        "Why, or why not: every guard of a step with its values.",
        (Explanation, AsDecided),
        LOT,
        Parameter("trigger", "The step to explain.", {"type": "string", "default": "release"}),
        Parameter("as_decided", "`last`, or the journal version of a decision: explained as it was decided then."),
        more=(422, 503),
    ),
    *(_command(name) for name in COMMANDS),
    reading(
        "/v1/deliveries",
        "deliveries",
        "The delivery ledger, in the order it was written.",
        DeliveryPage,
        Parameter("state", "pending, sending, delivered, superseded, dead or compensated."),
        TARGET,
        Parameter("lot", "Only this lot."),
        CURSOR,
        LIMIT,
    ),
    reading("/v1/deliveries/{delivery}", "delivery", "One delivery.", DeliveryLine, DELIVERY),
    Operation(
        method="post",
        path="/v1/deliveries/{delivery}/replay",
        id="replay_delivery",
        role="replay",
        summary="Send one delivery again.",
        answers={200: Replayed},
        problems=(404,),
        parameters=(DELIVERY,),
    ),
    Operation(
        method="post",
        path="/v1/deliveries/replay",
        id="replay_deliveries",
        role="replay",
        summary="Send again every delivery that matches; or count them.",
        body={"application/json": Replay},
        answers={200: Replayed},
        problems=(413, 415, 422),
    ),
    reading("/v1/targets", "targets", "How each target system does, and what it is owed.", Page[TargetLine]),
    Operation(
        method="post",
        path="/v1/targets/{target}/pause",
        id="pause_target",
        role="admin",
        summary="Tell a target nothing until it is resumed; nothing is lost.",
        body={"application/json": Pause},
        answers={200: TargetState},
        problems=(404, 413, 415, 422),
        parameters=(TARGET_NAME,),
    ),
    Operation(
        method="post",
        path="/v1/targets/{target}/resume",
        id="resume_target",
        role="admin",
        summary="Tell a paused target again.",
        answers={200: TargetState},
        problems=(404,),
        parameters=(TARGET_NAME,),
    ),
    reading(
        "/v1/targets/{target}/drift",
        "drift",
        "Lots of which a target says something else than it agreed to.",
        DriftPage,
        TARGET_NAME,
        Parameter("lot", "Only this lot."),
        Parameter("kind", "differs, changed-by-hand, left-while-blocked or unknown-lot."),
        CURSOR,
        LIMIT,
    ),
    Operation(
        method="post",
        path="/v1/targets/{target}/reconcile",
        id="reconcile_target",
        role="replay",
        summary="Have a target read back soon.",
        answers={202: Reading},
        problems=(404,),
        parameters=(TARGET_NAME,),
    ),
    reading(
        "/v1/parked", "parked", "Events that wait for what they depend on.", Page[ParkedLine], CURSOR, LIMIT
    ),
    reading(
        "/v1/tasks",
        "tasks",
        "What somebody has to look at.",
        Page[TaskLine],
        Parameter("state", "open, acknowledged or closed; left out: everything that is not closed."),
        Parameter("kind", "Only this kind."),
        Parameter("subject", "Only about this lot or target."),
        CURSOR,
        LIMIT,
    ),
    reading("/v1/tasks/{task}", "task", "One task.", TaskLine, TASK),
    _remark("acknowledge", "Say that somebody has seen it: nobody is told of it again."),
    _remark("close", "Say that it is done."),
    Operation(
        method="get", path="/v1/subscriptions", id="subscriptions", role="admin", answers={200: Page[Subscription]},
        summary="Who is told every journal entry by webhook.",
    ),
    Operation(
        method="post", path="/v1/subscriptions", id="subscribe", role="admin", answers={201: Subscribed},
        summary="Tell an address every journal entry from now on; the answer has the secret that signs.",
        body={"application/json": Subscribe}, problems=(408, 413, 415, 422),
    ),
    Operation(
        method="get", path="/v1/subscriptions/{subscription}", id="subscription", role="admin",
        answers={200: Subscription}, summary="One subscription.", parameters=(SUBSCRIPTION,), problems=(404,),
    ),
    Operation(
        method="delete", path="/v1/subscriptions/{subscription}", id="unsubscribe", role="admin",
        answers={200: Subscription}, summary="End a subscription.", parameters=(SUBSCRIPTION,), problems=(404,),
    ),
    _subscription("rotate", "A new secret; for a while messages are signed with both.", Subscribed, Rotate),
    _subscription("disable", "Tell it nothing until it is enabled; nothing is lost.", Subscription, Disable),
    _subscription("enable", "Tell it again, from where it was disabled.", Subscription, None),
    _subscription("recover", "Tell it everything again since an instant; or count it.", Recovered, Recover, 410),
    *QUALITY,
    reading("/v1/rules", "rule_sets", "Rule sets, the newest first.", Page[RuleSetLine]),
    reading("/v1/rules/{digest}", "rule_set", "One rule set, whole.", RuleSetView, DIGEST),
    reading(
        "/v1/rules/{digest}/diff",
        "rule_set_diff",
        "What is different in a rule set, in words.",
        Difference,
        DIGEST,
        Parameter("against", "The set it is compared with.", {"type": "string", "default": "active"}),
    ),
    Operation(
        method="post",
        path="/v1/rules/stage",
        id="stage_rule_set",
        role="edit-rules",
        summary="Store rule files as a set; the answer says what an examination finds.",
        body={"application/json": Stage},
        answers={201: Staged},
        problems=(408, 413, 415, 422),
    ),
    _step("/v1/rules/{digest}/approve", "approve_rule_set", "Approve a set of somebody else's.", Approve, DIGEST),
    _step("/v1/rules/{digest}/activate", "activate_rule_set", "Put an approved set in force.", Activate, DIGEST),
    _step("/v1/rules/{digest}/withdraw", "withdraw_rule_set", "Take a set back.", Approve, DIGEST),
    _step("/v1/rules/rollback", "roll_back_rule_set", "Put the set before the present one in force again.", RollBack),
    Operation(
        method="get",
        path="/healthz",
        id="healthz",
        summary="The process answers.",
        role=None,
        answers={200: str},
        answer_media_type="text/plain",
    ),
    Operation(
        method="get",
        path="/readyz",
        id="readyz",
        summary="The process can take events.",
        role=None,
        answers={200: Readiness, 503: Readiness},
    ),
    Operation(
        method="get",
        path="/metrics",
        id="metrics",
        summary="Prometheus metrics.",
        answers={200: str},
        answer_media_type="text/plain",
    ),
    Operation(
        method="get", path="/schema/openapi.json", id="openapi", summary="This document.",
        answers={200: Raw, 304: None}, parameters=(IF_NONE_MATCH,),
        answer_media_type="application/vnd.oai.openapi+json",
    ),
    Operation(
        method="get", path="/schema/asyncapi.json", id="asyncapi", summary="What goes in and out, as AsyncAPI 3.",
        answers={200: Raw, 304: None}, parameters=(IF_NONE_MATCH,),
        answer_media_type="application/vnd.aai.asyncapi+json",
    ),
    Operation(
        method="get", path="/schema/events/{type}", id="event_schema", summary="JSON Schema of one event type.",
        answers={200: Raw, 304: None}, problems=(404,), answer_media_type="application/schema+json",
        parameters=(Parameter("type", "CloudEvents type.", place="path", required=True), IF_NONE_MATCH),
    ),
    _text("/problems", "problem_index", "All problem types."),
    _text(
        "/problems/{code}",
        "problem_page",
        "What one problem type means and what to do.",
        Parameter("code", "Last part of a problem's `type`.", place="path", required=True),
    ),
)
