"""The table of operations, continued: shipments, recalls, inspection records, reference data."""

from typing import Any

from msgspec import Raw

from actors.lookup import Elsewhere
from api.archive import RunArchive
from api.audit import SignedLine, UnderWay
from api.epcis import Capture
from api.holds import HeldLots, LiftHold
from api.parameters import (
    AFTER_LINE,
    CONCESSION,
    CURSOR,
    DRY_RUN,
    HOLD,
    IDEMPOTENCY_KEY,
    KEY,
    KIND,
    LIMIT,
    LOT,
    NUMBER,
    OPERATION,
    ORDER,
    PAGES,
    RECALL,
    Operation,
    Parameter,
    reading,
)
from api.readiness import Orders, OrdersAnswered
from api.recalls import CloseRecall, OpenRecall, RecalledLots
from api.reference_import import Imported, LineOutcome
from api.reference_rows import Line
from api.roles import SENDING
from api.signing import Sign
from api.views import Page
from engine.answer import Decision
from engine.archive import ArchiveRun, ArchiveState
from engine.checkpoints import Checkpoint, PublicKey
from engine.concession_lists import ConcessionLine, ConcessionView
from engine.installation_checkpoints import InstallationCheckpoint
from engine.kpi import Kpi
from engine.operation_gate import OperationGate, OperationLine, OrderGate
from engine.quality_lists import RecordLine
from engine.readiness import Question, ShipmentReadiness
from engine.readiness_record import Answered, KeptAnswer
from engine.recalls import Extent, Recall, RecallView, Selection
from engine.reference import Kept, Record, Wanted
from engine.scorecards import ChartLine, Ordered, OrderSampling, ScorecardLine, SetLimits
from engine.signals import Signalled
from engine.store.reading import ResultLine
from engine.wide_holds import LiftMany, Look, OpenHold, Preview, WideHold, WideHoldView

QUALITY: tuple[Operation, ...] = (
    Operation(
        method="post", path="/v1/shipments/readiness", id="shipment_readiness", answers={200: ShipmentReadiness},
        summary="May this shipment leave now? Every reason; nothing is changed.",
        body={"application/json": Question}, problems=(408, 413, 415, 422),
    ),
    reading("/v1/shipments/{order}/readiness", "order_readiness", "May this order leave now? The answer is kept.",
            Answered, ORDER),
    Operation(
        method="post", path="/v1/shipments/readiness/batch", id="orders_readiness", answers={200: OrdersAnswered},
        summary="May these orders leave now? As for one order, for many.",
        body={"application/json": Orders}, problems=(408, 413, 415, 422),
    ),
    Operation(
        method="post", path="/v1/shipments/{order}/signal", id="signal_order", role="release", parameters=(ORDER,),
        summary="Tell the warehouse whether an order may leave; taken back by itself when that changes.",
        answers={200: Signalled}, problems=(404, 422),
    ),
    reading("/v1/shipments/{order}/answers", "order_answers", "What was answered about an order, oldest first.",
            Page[KeptAnswer], ORDER, CURSOR, LIMIT),
    Operation(
        method="post", path="/v1/epcis/capture", id="epcis_capture", role=SENDING, answers={200: Capture},
        summary="Take a GS1 EPCIS 2.0 document: each of its events is decided, or refused with the reason.",
        body={"application/json": dict[str, Any], "application/ld+json": dict[str, Any]},
        problems=(408, 413, 415, 422),
    ),
    reading(
        "/v1/epcis/events", "epcis_events", "Our journal as GS1 EPCIS 2.0 events, oldest first.", dict[str, Any],
        Parameter("eventType", "`ObjectEvent` or `TransformationEvent`."),
        Parameter("EQ_bizStep", "Only this business step."),
        Parameter("MATCH_anyEPCClass", "Only events that name this EPC class."),
        Parameter("GE_recordTime", "Only what was recorded from then on."),
        Parameter("nextPageToken", "From the `Link` header of the page before."), LIMIT, more=(503,),
    ),
    reading("/v1/recalls", "recalls", "Recalls, the newest first.", Page[Recall], *PAGES),
    Operation(
        method="post", path="/v1/recalls", id="open_recall", role="admin", answers={201: Recall, 200: Recall},
        summary="Hold the lots that a selection names, and everything that was made of them.",
        body={"application/json": OpenRecall}, problems=(408, 413, 415, 422),
    ),
    Operation(
        method="post", path="/v1/recalls/preview", id="preview_recall", answers={200: Extent},
        summary="What a recall would touch: a mock recall, which changes nothing.",
        body={"application/json": Selection}, problems=(408, 413, 415, 422, 503),
    ),
    reading("/v1/recalls/{recall}", "recall", "How far a recall is, and what it touches.", RecallView, RECALL,
            more=(503,)),
    reading("/v1/recalls/{recall}/lots", "recalled_lots", "Lots of a recall.", RecalledLots, RECALL,
            Parameter("format", "`json` (default) or `csv`: one line a lot; `Link` leads to the next page."), *PAGES,
            more=(503,)),
    Operation(
        method="post", path="/v1/recalls/{recall}/close", id="close_recall", role="admin", answers={200: Recall},
        summary="End a recall: its holds are lifted.", parameters=(RECALL,),
        body={"application/json": CloseRecall}, problems=(404, 408, 413, 415, 422),
    ),
    reading("/v1/holds", "holds", "Holds on many lots, the newest first.", Page[WideHold], *PAGES),
    Operation(
        method="post", path="/v1/holds", id="open_hold", role="hold", answers={201: WideHold, 200: WideHold},
        summary="Hold all lots of a scope, later ones too, or what a filter finds.",
        body={"application/json": OpenHold}, problems=(408, 409, 413, 415, 422),
    ),
    Operation(
        method="post", path="/v1/holds/preview", id="preview_hold", answers={200: Look},
        summary="Which lots would be held, or lifted; nothing is changed.",
        body={"application/json": Preview}, problems=(408, 413, 415, 422),
    ),
    Operation(
        method="post", path="/v1/holds/lift", id="lift_many", role=SENDING, answers={201: WideHold, 200: WideHold},
        summary="Lift one named hold from the lots that a filter finds.",
        body={"application/json": LiftMany}, problems=(408, 409, 413, 415, 422),
    ),
    reading("/v1/holds/{hold}", "wide_hold", "How far a hold on many lots is, and what was done to it.", WideHoldView,
            HOLD),
    reading("/v1/holds/{hold}/lots", "held_lots", "Lots of such a hold.", HeldLots, HOLD,
            Parameter("format", "`json` (default) or `csv`: one line a lot; `Link` leads to the next page."), *PAGES),
    Operation(
        method="post", path="/v1/holds/{hold}/lift", id="lift_wide_hold", role=SENDING, answers={200: WideHold},
        summary="End a hold on many lots: on its scope at once, then on its lots.", parameters=(HOLD,),
        body={"application/json": LiftHold}, problems=(404, 408, 409, 413, 415, 422),
    ),
    Operation(
        method="get", path="/v1/lots/{lot}/audit", id="export_lot", answers={200: Raw}, problems=(404, 503),
        summary="The complete evidence of a lot as a zip archive.", parameters=(LOT,),
        answer_media_type="application/zip",
    ),
    Operation(
        method="get", path="/v1/archive", id="archive", role="admin", answers={200: ArchiveState},
        summary="What left the journal: every segment, and whether its file is there.",
    ),
    Operation(
        method="post", path="/v1/archive/run", id="run_archive", role="admin", answers={200: ArchiveRun},
        summary="Archive lots that are closed for long; or say which, and why others stay.",
        body={"application/json": RunArchive}, problems=(408, 413, 415, 422, 503),
    ),
    reading("/v1/lots/{lot}/checkpoint", "checkpoint", "The head of a lot's journal, signed by this installation.",
            Checkpoint, LOT),
    Operation(
        method="post", path="/v1/checkpoints", id="make_checkpoint", role="sign",
        problems=(404, 409, 503),
        answers={201: InstallationCheckpoint, 200: InstallationCheckpoint, 202: UnderWay},
        summary="Sign every entry that no checkpoint is over yet; the newest where there is none.",
    ),
    reading("/v1/checkpoints", "checkpoints", "Checkpoints of everything, newest first.",
            Page[InstallationCheckpoint], CURSOR, LIMIT),
    reading("/v1/checkpoints/{number}", "one_checkpoint", "A checkpoint of everything.", InstallationCheckpoint,
            NUMBER),
    reading("/v1/checkpoints/{number}/lines", "checkpoint_lines", "The entries that a checkpoint is over, in order.",
            Page[SignedLine], NUMBER, CURSOR, LIMIT),
    reading("/v1/checkpoints/key", "checkpoint_key", "The public key that verifies checkpoints.", PublicKey),
    reading("/v1/lots/{lot}/systems", "ask_systems", "What ERP, WMS and the others say of a lot now.", Elsewhere, LOT,
            more=(404, 503)),
    reading("/v1/lots/{lot}/operations", "lot_operations", "Operations of a lot: those reported, and those to come.",
            Page[OperationLine], LOT),
    reading("/v1/lots/{lot}/operations/{operation}/gate", "operation_gate", "May this operation of the lot start now?",
            OperationGate, LOT, OPERATION),
    reading("/v1/lots/{lot}/operations/{operation}/results", "operation_results",
            "Results of the inspection in process of an operation, oldest first.", Page[ResultLine], LOT, OPERATION,
            CURSOR, LIMIT),
    reading("/v1/production-orders/{order}/operations/{operation}/gate", "order_operation_gate",
            "May this operation start for every lot of the order that is in production?", OrderGate,
            Parameter("order", "Number of the production order.", {"type": "string", "minLength": 1}, "path", True),
            OPERATION),
    reading("/v1/kpi", "kpi", "Business numbers: backlog, blocked stock, orders, yield, lead times, delays.", Kpi,
            more=(503,)),
    reading("/v1/quality/scorecards", "scorecards", "How items from suppliers have done.", Page[ScorecardLine],
          Parameter("item", "Only this item."), Parameter("supplier", "Only this supplier; empty: our own."),
            *PAGES),
    reading("/v1/quality/charts", "charts", "Control charts of an item: the newest lots, as rules see them.",
          Page[ChartLine], Parameter("item", "Which item.", required=True),
          Parameter("supplier", "Only this supplier; empty: our own production."),
          Parameter("characteristic", "Only this characteristic."), *PAGES, more=(422,)),
    Operation(
        method="post", path="/v1/quality/limits", id="set_limits", role="edit-rules", answers={200: ChartLine},
        summary="Hold new lots of a chart against limits that are set, or clear them.",
        body={"application/json": SetLimits}, problems=(404, 408, 413, 415, 422),
    ),
    reading("/v1/quality/records", "quality_records", "Nonconformances, deviations and corrective actions.",
            Page[RecordLine], Parameter("kind", "nonconformance, deviation or corrective_action."),
            Parameter("status", "One status; left out: those under way."), Parameter("lot", "Only of this lot."),
            CURSOR, LIMIT),
    reading("/v1/concessions", "concessions", "What is used under concessions by all lots together, and what is left.",
            Page[ConcessionLine], CURSOR, LIMIT),
    reading("/v1/concessions/{number}", "concession", "A concession, with the lots that count under it.",
            ConcessionView, CONCESSION, CURSOR, LIMIT),
    Operation(
        method="post", path="/v1/lots/{lot}/sign", id="sign", role="sign", answers={201: Decision, 200: Decision},
        summary="Sign a lot as it is, with the signer's key entered again.", parameters=(LOT, IDEMPOTENCY_KEY),
        body={"application/json": Sign}, problems=(408, 409, 413, 415, 422, 503),
    ),
    Operation(
        method="post", path="/v1/quality/sampling", id="order_sampling", role="approve-rules", answers={202: Ordered},
        summary="Say how hard lots of an item from a supplier are inspected from now on.",
        body={"application/json": OrderSampling}, problems=(408, 413, 415, 422),
    ),
    reading("/v1/reference/{kind}", "records", "Reference data in force on a day.", Page[Record], KIND,
          Parameter("on", "The day; left out: today."), Parameter("item", "Only about this item."), CURSOR, LIMIT),
    reading("/v1/reference/{kind}/{key}", "record", "Every revision of a record.", Page[Record], KIND, KEY),
    Operation(
        method="put", path="/v1/reference/{kind}/{key}", id="put_record", role="edit-reference",
        summary="Keep a revision of a record; the same again changes nothing.", parameters=(KIND, KEY, DRY_RUN),
        body={"application/json": Wanted}, answers={200: Kept, 201: Kept}, problems=(404, 408, 409, 413, 415, 422),
    ),
    Operation(
        method="post", path="/v1/reference/{kind}/import", id="import_records", role="edit-reference",
        summary="Keep many revisions, a line each; a bad line spoils only itself.",
        parameters=(KIND, DRY_RUN, AFTER_LINE), body={"application/x-ndjson": Line, "text/csv": str},
        answers={200: Imported}, answer_line=LineOutcome,
        problems=(404, 408, 413, 415, 422),
    ),
)
