"""Every kind of problem an answer may carry: stable code, constant title, status, meaning, what to do next.

The code is the last part of the problem ``type`` (``/problems/<code>``) and never changes its meaning; a
caller may branch on it. What may not enter: the making of answers (api/problems.py), HTTP, requests.
"""

from msgspec import Struct

from api.runbook import HELP, of_problem
from engine.answer import TITLES
from engine.errors import ArchiveUnavailable, HistoryArchived
from engine.wide_holds import Outdated, WrongRole


class ProblemType(Struct, frozen=True):
    """One row of the catalogue, and one page under ``/problems/``."""

    code: str
    #: Constant per code (RFC 9457 section 3.1.3); what differs goes into ``detail``.
    title: str
    #: HTTP status code.
    status: int
    meaning: str
    #: What the caller does next.
    remedy: str


_ROWS = (
    ProblemType(
        "malformed",
        "The request is not well formed",
        400,
        "The bytes are not JSON, not UTF-8, nested too deeply, or a CloudEvents header is not valid.",
        "Correct the sender. Nothing was kept, so the same event id can be used again.",
    ),
    ProblemType(
        "parameter-invalid",
        "A parameter cannot be used",
        400,
        "A query parameter, a cursor or a path part has a value outside its range.",
        "See `errors`: each names the parameter and the values it takes.",
    ),
    ProblemType(
        "header-invalid",
        "A request header cannot be used",
        400,
        "A header that Lotgate acts on is repeated or has a value it cannot read.",
        "Send the header once, in the form that `detail` shows.",
    ),
    ProblemType(
        "idempotency-key-required",
        "This call needs an Idempotency-Key",
        400,
        "A command changes a lot; without a key a retry after a lost answer could do it twice.",
        "Send `Idempotency-Key: <up to 255 characters>`, new for each intention, the same for each retry.",
    ),
    ProblemType(
        "reference-conflict",
        "The record does not fit beside those there are",
        409,
        "Another revision is in force on some of the days, or another inspection plan is for the same lots.",
        "`detail` names the other one: end it, revise it, or begin after it.",
    ),
    ProblemType(
        "not-system-of-record",
        "Another system owns this",
        403,
        "The record, or the field of it that would change, has a system of record, and the key is not that system's.",
        "Change it in the system that `detail` names; it tells Lotgate. Who owns what is `LOTGATE_RECORD_OWNERS`.",
    ),
    ProblemType(
        "unauthenticated",
        "An API key is needed",
        401,
        "No key was sent, or the key is unknown, expired or revoked.",
        "Send `Authorization: Bearer <key>` or `X-API-Key: <key>`. `lotgate keys` makes and lists keys.",
    ),
    ProblemType(
        "forbidden",
        "This key may not do that",
        403,
        "The key has none of the roles that this call needs, or is limited to other sources or plants.",
        "`detail` names what is missing. Use a key that has it, or ask an administrator for one.",
    ),
    ProblemType(
        "not-found",
        "There is nothing here",
        404,
        "No lot, event, delivery or page has this address. Lot ids in a path must be percent-encoded.",
        "Check the spelling; `/` inside a lot id is written `%2F`.",
    ),
    ProblemType(
        "method-not-allowed",
        "This address does not take that method",
        405,
        "The address exists, the method does not.",
        "Use one of the methods in the `Allow` header.",
    ),
    ProblemType(
        "body-timeout",
        "The request body did not arrive in time",
        408,
        "The body stood still for longer than Lotgate waits.",
        "Send the request again; nothing of it was kept.",
    ),
    ProblemType(
        "event-id-reused",
        TITLES["event-id-reused"],
        409,
        "The same (source, id) was accepted before with other content. The first one stands.",
        "Give the new event an id of its own. If it was meant as a retry, send exactly what was sent before.",
    ),
    ProblemType(
        "rule-set-refused",
        "This step is not possible for the rule set",
        409,
        "The set is not approved, its author wants to approve it, or its tests or checks fail; see `detail`.",
        "Do what `detail` says. `lotgate rules show` lists what stands between a set and its approval.",
    ),
    ProblemType(
        "journal-behind",
        "The journal ends before what was signed",
        409,
        "Entries that a checkpoint was signed over are not in the journal any more: nothing can be signed behind them.",
        "Keep the database as it is and run `lotgate verify`; somebody with access to it has to say what was done.",
    ),
    ProblemType(
        "transition-not-allowed",
        TITLES["transition-not-allowed"],
        409,
        "The event asks for a step that the lot cannot take from where it is; see `state` and `allowed`.",
        "Take one of the steps in `allowed` first.",
    ),
    ProblemType(
        "gate-failed",
        TITLES["gate-failed"],
        409,
        "At least one rule of the gate fails, or something it needs is missing; see `rules`.",
        "Bring what is missing, or decide otherwise. `GET /v1/lots/{lot}/explain` shows every condition.",
    ),
    ProblemType(
        "lot-exists",
        TITLES["lot-exists"],
        409,
        "A receipt or a production completion names a lot id that is already in use.",
        "Give the new lot an id of its own.",
    ),
    ProblemType(
        "lot-closed",
        TITLES["lot-closed"],
        409,
        "The lot was shipped, consumed, scrapped, returned or split; `detail` says which.",
        "Nothing more can be done with it. A hold still lands, and shipped goods can come back.",
    ),
    ProblemType(
        "hold-not-active",
        TITLES["hold-not-active"],
        409,
        "The hold was lifted before.",
        "See `GET /v1/lots/{lot}/holds` for the holds that stand.",
    ),
    ProblemType(
        "lift-role",
        WrongRole.title,
        409,
        "The hold names the role in which it must be lifted; this was said in another one. The attempt is kept.",
        "Have somebody with that role lift it, who says so with `role`.",
    ),
    ProblemType(
        "preview-outdated",
        Outdated.title,
        409,
        "The lots that the filter finds are not those of the look whose `digest` was sent.",
        "Look again, and decide on what is there now.",
    ),
    ProblemType(
        "fact-invalid",
        TITLES["fact-invalid"],
        409,
        "A stated fact has a kind, a field or a value that the vocabulary of the rules in force does not know.",
        "Do what `detail` says, or have the kind added to `vocabulary.yaml` of the rule set.",
    ),
    ProblemType(
        "history-archived",
        HistoryArchived.title,
        410,
        "What is asked for reaches back to entries that are archived, and this call does not read the archive.",
        "`detail` says from when on it can be asked; `/v1/changes` and `/v1/lots/{lot}/journal` read the archive, too.",
    ),
    ProblemType(
        "precondition-failed",
        TITLES["precondition-failed"],
        412,
        "`If-Match` names a version that is not the lot's present one.",
        "Read the lot again, look at what changed, and decide again.",
    ),
    ProblemType(
        "body-too-large",
        "The body is too large",
        413,
        "An event may have 1 MiB, a JSON batch 4 MiB, a line of NDJSON 1 MiB.",
        "Divide it: an inspection may be recorded in several events; a batch may be streamed as NDJSON.",
    ),
    ProblemType(
        "unsupported-media-type",
        "This media type is not read here",
        415,
        "The `Content-Type` is none of those that this address reads.",
        "Send `application/cloudevents+json`, or binary mode: `ce-*` headers and a JSON body.",
    ),
    ProblemType(
        "unsupported-content-encoding",
        "Compressed bodies are not read",
        415,
        "The request has a `Content-Encoding`.",
        "Send the body as it is. To move much data, stream NDJSON to /v1/events/batch.",
    ),
    ProblemType(
        "rule-files-invalid",
        "The rule files cannot be used",
        422,
        "At least one file is not a rule file, or names what does not exist; nothing was stored.",
        "See `errors`: each names file, line and column. `lotgate rules lint` shows them with the line.",
    ),
    ProblemType(
        "event-invalid",
        "The event does not fit its schema",
        422,
        "A field is missing, unknown, of the wrong type or out of range; `errors` has a JSON pointer for it.",
        "Correct the field. Nothing was kept, so the same event id can be used again.",
    ),
    ProblemType(
        "outbound-refused",
        "This address may not be called from here",
        422,
        "A URL for calls that Lotgate makes leads to a machine that is not public, or cannot be read safely.",
        "Use an http or https address. For one inside the plant, an operator names its network in "
        "`LOTGATE_OUTBOUND_ALLOW`.",
    ),
    ProblemType(
        "trigger-unknown",
        "There is no such trigger",
        422,
        "`explain` was asked about a step that the lifecycle does not have.",
        "Use one of the triggers that `detail` lists.",
    ),
    ProblemType(
        "headers-too-large",
        "The request headers are too large",
        431,
        "All headers together may have 32 KiB.",
        "Send fewer or shorter headers.",
    ),
    ProblemType(
        "idempotency-key-reused",
        "This Idempotency-Key was used for something else",
        422,
        "A key belongs to one command with one body; it was sent before with another. The first one stands.",
        "Make a new key for a new intention. If it was meant as a retry, send exactly what was sent before.",
    ),
    ProblemType(
        "rate-limited",
        "This principal sends too fast",
        429,
        "The bucket of this principal is empty: it sent more requests and events than it may. Nothing was kept.",
        "Wait as long as `Retry-After` says and send the same again; `RateLimit` says how much is left.",
    ),
    ProblemType(
        "internal-error",
        TITLES["internal-error"],
        500,
        "A fault of Lotgate, not of the request. The log has it under `correlation_id`.",
        "Send the same event again: if it was committed you get its first answer. Report the correlation id.",
    ),
    ProblemType(
        "rule-set-changed",
        "A stored rule set was changed",
        500,
        "Stored rule files do not have the digest they are stored under: somebody changed the database.",
        "Restore the table `rule_sets` from a backup, and find out who has access to the database.",
    ),
    ProblemType(
        "setting-invalid",
        "A setting cannot be used",
        500,
        "The service was started with a setting that it cannot use.",
        "The log names the variable, its value and the form it should have.",
    ),
    ProblemType(
        "checkpoint-not-kept",
        "A checkpoint could not be kept",
        500,
        "A checkpoint could not be written to the folder of `LOTGATE_CHECKPOINT_DIR`; it is written again later.",
        "The log of the clock process and a task say why; mend the folder.",
    ),
    ProblemType(
        "notice-not-sent",
        "The message was not taken",
        500,
        "A mail server or a webhook did not take a message about open tasks; it is sent again later.",
        "The log of the clock process and `lotgate_notices_waiting` say so; look after the mail server.",
    ),
    ProblemType(
        "target-not-read",
        "The target could not be read back",
        500,
        "A target did not answer when it was read back, or its connector file does not say how.",
        "`lotgate reconcile` says why. Nothing is concluded from a reading that was broken off.",
    ),
    ProblemType(
        "connector-invalid",
        "A connector file cannot be used",
        500,
        "A target's connector file has a mistake; its deliveries wait until it is mended.",
        "`lotgate connectors check` names the file, the line and the column.",
    ),
    ProblemType(
        "route-invalid",
        "Which lots a target takes cannot be read",
        500,
        "The file of a target says in `kind` or `takes` what cannot be read; Lotgate does not start with it.",
        "Mend the place that `detail` names; `lotgate connectors check` reads the file again.",
    ),
    ProblemType(
        "archive-unavailable",
        ArchiveUnavailable.title,
        503,
        "A lot's older entries are in a file of the archive that is missing or damaged. Everything else works: a hold"
        " lands on the lot all the same.",
        "Put the segment that `detail` names back from the backup; `lotgate archive verify` says what else is wrong.",
    ),
    ProblemType(
        "overloaded",
        "More waits than Lotgate accepts",
        503,
        "The queue to the database is full. Nothing of this event was kept.",
        "Wait as long as `Retry-After` says and send the same event again.",
    ),
    ProblemType(
        "store-unavailable",
        "The database could not commit",
        503,
        "Nothing was kept; nothing half-done is left behind.",
        "Wait as long as `Retry-After` says and send the same event again.",
    ),
    ProblemType(
        "store-not-migrated",
        "The database belongs to another release",
        503,
        "The schema revision of the database is not the one that this release works with.",
        "Start the release that belongs to the database, or let `lotgate up` migrate it.",
    ),
)

#: code -> type, in order of status.
CATALOGUE: dict[str, ProblemType] = {row.code: row for row in _ROWS}


def page(row: ProblemType, runbook: str = f"{HELP}/runbook") -> str:
    """The page of one problem type, as Markdown; ``runbook`` is where that document is."""
    return (
        f"## {row.code}\n\n**{row.title}** (HTTP {row.status})\n\n{row.meaning}\n\n"
        f"*What to do:* {row.remedy} More in the [runbook]({runbook}#{of_problem(row.code)}).\n"
    )


def handbook() -> str:
    """All pages as one document: the text of ``docs/problems.md``."""
    head = (
        "# Problems\n\nEvery answer with a status of 400 or above is `application/problem+json`\n"
        "(RFC 9457): `type` (`/problems/<code>`), `title`, `status`, `detail`, `instance`,\n"
        "`correlation_id` and, where something in\n"
        "the request is at fault, `errors` with a JSON pointer each. Codes never change their meaning.\n"
    )
    return "\n".join([head, *(page(row, "runbook.md") for row in CATALOGUE.values())])
