"""SAP S/4HANA's OData V2 services as their documentation has them: batches, stock, material documents, inspection lots.

Codes that begin with TEST are ours, where SAP's are not known. CSRF tokens with their cookie, ETags (428 without If-Match, 412 with an old one), RequestID that is taken once.
"""

import base64
import itertools
import re
from typing import Any

from tests.contracts.server import Answered, Asked, System, serve

USER, PASSWORD = "LOTGATE", "s4-secret"
BASE = "/sap/opu/odata/sap"
#: Transfer postings: from, to (types of stock: 01 unrestricted, 02 quality inspection, 07 blocked).
MOVES = {"321": ("02", "01"), "322": ("01", "02"), "343": ("07", "01"), "344": ("01", "07"), "349": ("07", "02"),
         "350": ("02", "07")}  # fmt: skip


class Refused(Exception):
    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.status, self.code, self.words = status, code, words


class S4(System):
    name = "sap"

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.batches: dict[str, dict[str, Any]] = {}
        self.stock: list[dict[str, Any]] = []
        self.documents: list[dict[str, Any]] = []
        self.done: set[str] = set()
        self.inspections: dict[str, dict[str, Any]] = {}
        self.decisions: list[dict[str, Any]] = []
        self.ticket = "ticket-0"
        self.tickets = 0
        self.locked = 0
        self.pages = 0

    def answer(self, asked: Asked) -> Answered:
        said = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {said}":
            return Answered(401, "<html><body>Anmeldung fehlgeschlagen</body></html>")
        try:
            if asked.method in ("GET", "HEAD"):
                return self._fetch(asked)
            if asked.headers.get("x-csrf-token") != self.ticket or f"SAP_SESSION={self.ticket}" not in asked.headers.get("cookie", ""):
                return Answered(403, "CSRF token validation failed", {"x-csrf-token": "Required"})
            return self._write(asked)
        except Refused as refused:
            words = {"lang": "en", "value": refused.words}
            return Answered(refused.status, {"error": {"code": refused.code, "message": words}})

    # -- reads -----------------------------------------------------------------------------------------------------

    def _fetch(self, asked: Asked) -> Answered:
        headers, cookies = {}, ()
        if asked.headers.get("x-csrf-token", "").lower() == "fetch":
            self.tickets += 1
            self.ticket = f"ticket-{self.tickets}-secret"
            headers["x-csrf-token"] = self.ticket
            cookies = (f"SAP_SESSION={self.ticket}; path=/; HttpOnly", "sap-usercontext=sap-client=100; path=/")
        found = self._read(asked)
        if self.pages and "results" in found.get("d", {}):
            self.pages -= 1
            found["d"]["__next"] = "https://s4.example/next?$skiptoken=1"
        if "__metadata" in found.get("d", {}):
            headers["ETag"] = found["d"]["__metadata"]["etag"]
        return Answered(200, found, headers, *cookies)

    def _read(self, asked: Asked) -> dict[str, Any]:
        service, _, rest = asked.path.removeprefix(f"{BASE}/").partition("/")
        match service, rest.partition("(")[0]:
            case "API_BATCH_SRV", "":
                return {"d": {"EntitySets": ["Batch"]}}
            case "API_MATERIAL_DOCUMENT_SRV" | "API_INSPECTIONLOT_SRV", "":
                return {"d": {"EntitySets": []}}
            case "API_BATCH_SRV", "Batch":
                return {"d": self._batch(rest)}
            case "API_MATERIAL_STOCK_SRV", "A_MatlStkInAcctMod":
                return {"d": {"results": [row for row in self.stock if _filtered(row, asked.query["$filter"])]}}
            case "API_INSPECTIONLOT_SRV", "A_InspectionLot":
                lots = [row for row in self.inspections.values() if _filtered(row, asked.query["$filter"])]
                return {"d": {"results": lots}}
            case "API_INSPECTIONLOT_SRV", "A_InspLotUsageDecision":
                lots = [row for row in self.decisions if _filtered(row, asked.query["$filter"])]
                return {"d": {"results": lots}}
        raise Refused(404, "/IWFND/CM_BEC/026", f"Resource not found for segment {rest}")

    def _batch(self, rest: str) -> dict[str, Any]:
        found = re.fullmatch(r"Batch\(Material='((?:[^']|'')*)',BatchIdentifyingPlant='((?:[^']|'')*)',Batch='((?:[^']|'')*)'\)", rest)
        if found is None:
            raise Refused(400, "/IWFND/CM_BEC/007", "Malformed key predicate")
        material, plant, batch = (text.replace("''", "'") for text in found.groups())
        record = self.batches.get(batch)
        if record is None or (record["Material"], record["BatchIdentifyingPlant"]) != (material, plant):
            raise Refused(404, "/IWBEP/CM_MGW_RT/020", "Resource not found")
        return {**record, "__metadata": {"etag": f'W/"{record["changes"]}"'}}

    # -- writes ----------------------------------------------------------------------------------------------------

    def _write(self, asked: Asked) -> Answered:
        service, _, rest = asked.path.removeprefix(f"{BASE}/").partition("/")
        match asked.method, service, rest.partition("(")[0]:
            case "PATCH", "API_BATCH_SRV", "Batch":
                return self._patch(asked, rest)
            case "POST", "API_MATERIAL_DOCUMENT_SRV", "A_MaterialDocumentHeader":
                return self._post(asked)
            case "POST", "API_INSPECTIONLOT_SRV", "A_InspLotUsageDecision":
                return self._decide(asked.json())
        raise Refused(405, "/IWFND/CM_BEC/000", f"{asked.method} {rest} is not allowed")

    def _patch(self, asked: Asked, rest: str) -> Answered:
        seen = self._batch(rest)
        if "if-match" not in asked.headers:
            raise Refused(428, "/IWFND/CM_MGW/549", "Precondition required")
        if asked.headers["if-match"] != seen["__metadata"]["etag"]:
            raise Refused(412, "/IWFND/CM_MGW/550", "Precondition failed")
        given = asked.json()
        if not isinstance(given.get("MatlBatchIsInRstrcdUseStock"), bool):
            raise Refused(400, "/IWFND/CM_BEC/007", "Property MatlBatchIsInRstrcdUseStock has the wrong type")
        record = self.batches[seen["Batch"]]
        record |= {**given, "changes": record["changes"] + 1}
        return Answered(204)

    def _post(self, asked: Asked) -> Answered:
        request = asked.headers.get("requestid", "")
        if re.fullmatch(r"[0-9A-F]{32}", request) is None or "repeatabilitycreation" not in asked.headers:
            raise Refused(400, "/IWBEP/CM_COS/001", "RequestID and RepeatabilityCreation are needed")
        if request in self.done:
            raise Refused(400, "/IWBEP/CM_COS/005", "RequestID is outdated")
        given = asked.json()
        if given.get("GoodsMovementCode") != "04" or not str(given.get("PostingDate", "")).startswith("/Date("):
            raise Refused(400, "TEST/7", "Check the table entries: movement code and posting date")
        items = given["to_MaterialDocumentItem"]
        for item in items:
            if self.locked:
                self.locked -= 1
                raise Refused(400, "M3/897", f"Plant data of material {item['Material']} is locked by the user MEIER")
            self._check(item)
        for item in items:
            self._transfer(item)
        self.done.add(request)
        self.documents.append({"text": given.get("MaterialDocumentHeaderText"), "items": items})
        document = {"MaterialDocument": f"49{next(self._numbers):08d}", "MaterialDocumentYear": "2026"}
        return Answered(201, {"d": document}, {"RepeatabilityResult": "accepted"})

    def _check(self, item: dict[str, Any]) -> None:
        if item["GoodsMovementType"] not in MOVES:
            raise Refused(400, "TEST/6", f"Movement type {item['GoodsMovementType']} is not allowed")
        if not isinstance(item["QuantityInEntryUnit"], str):
            raise Refused(400, "/IWFND/CM_BEC/007", "Property QuantityInEntryUnit has the wrong type")
        there = self._row(item, MOVES[item["GoodsMovementType"]][0])
        if there is None or float(there["MatlWrhsStkQtyInMatlBaseUnit"]) < float(item["QuantityInEntryUnit"]):
            raise Refused(400, "M7/021", "Deficit of stock")

    def _row(self, item: dict[str, Any], kind: str) -> dict[str, Any] | None:
        names = ("Material", "Plant", "StorageLocation", "Batch")
        return next((row for row in self.stock if row["InventoryStockType"] == kind
                     and all(row[name] == item[name] for name in names)), None)  # fmt: skip

    def _transfer(self, item: dict[str, Any]) -> None:
        source, sink = MOVES[item["GoodsMovementType"]]
        quantity = float(item["QuantityInEntryUnit"])
        there = self._row(item, source)
        assert there is not None
        there["MatlWrhsStkQtyInMatlBaseUnit"] = f"{float(there['MatlWrhsStkQtyInMatlBaseUnit']) - quantity:g}"
        other = self._row(item, sink)
        if other is None:
            other = {**there, "InventoryStockType": sink, "MatlWrhsStkQtyInMatlBaseUnit": "0"}
            self.stock.append(other)
        other["MatlWrhsStkQtyInMatlBaseUnit"] = f"{float(other['MatlWrhsStkQtyInMatlBaseUnit']) + quantity:g}"

    def _decide(self, given: dict[str, Any]) -> Answered:
        lot = self.inspections.get(given.get("InspectionLot", ""))
        if lot is None:
            raise Refused(404, "TEST/1", "Inspection lot does not exist")
        if lot["InspectionLotHasUsageDecision"] == "X":
            raise Refused(400, "TEST/2", "Usage decision has already been made")
        if given.get("ChangedDateTime") != lot["ChangedDateTime"]:
            raise Refused(400, "TEST/3", "Inspection lot was changed in the meantime")
        if (given.get("InspLotUsageDecisionLevel"), given.get("InspLotUsageDecisionCatalog")) != ("L", "3"):
            raise Refused(400, "TEST/4", "Level or catalogue is wrong")
        if given.get("InspectionLotUsageDecisionCode") not in ("A1", "R1"):
            raise Refused(400, "TEST/5", "Code is not in the selected set")
        lot["InspectionLotHasUsageDecision"] = "X"
        self.decisions.append(given)
        return Answered(201, {"d": given})

    def door(self, verb: str, given: dict[str, Any]) -> Any:
        if verb == "receive":
            key = {"Material": given["item"], "Batch": given["lot"]}
            self.batches[given["lot"]] = {
                **key, "BatchIdentifyingPlant": given.get("plant", ""), "MatlBatchIsInRstrcdUseStock": False, "changes": 1,
            }  # fmt: skip
            for place in given.get("places", ["0001"]):
                self.stock.append({
                    **key, "Plant": given.get("stock_plant", "1010"), "InventorySpecialStockType": given.get("special", ""), "StorageLocation": place, "InventoryStockType": "02",
                    "MatlWrhsStkQtyInMatlBaseUnit": str(given["quantity"]), "MaterialBaseUnit": "PC",
                })  # fmt: skip
            number = f"01{next(self._numbers):010d}"
            self.inspections[number] = {
                **key, "InspectionLot": number, "InspectionLotHasUsageDecision": "", "ChangedDateTime": "/Date(1795766400000)/",
            }  # fmt: skip
        elif verb == "expire":
            self.ticket = "ticket-nobody-has"
        elif verb == "change":
            self.batches[given["lot"]] |= {**given["to"], "changes": self.batches[given["lot"]]["changes"] + 1}
        elif verb == "pages":
            self.pages = given["times"]
        elif verb == "locked":
            self.locked = given["times"]
        return {
            "batches": self.batches, "stock": self.stock, "documents": self.documents, "decisions": self.decisions,
            "inspections": self.inspections, "tickets": self.tickets,
        }  # fmt: skip


def _filtered(row: dict[str, Any], text: str) -> bool:
    """``A eq 'x' and B eq 'y'``."""
    for name, value in re.findall(r"(\w+) eq '((?:[^']|'')*)'", text):
        if name not in row:
            raise Refused(400, "/IWFND/CM_BEC/005", f"Property {name} not found")
        if row[name] != value.replace("''", "'"):
            return False
    return True


if __name__ == "__main__":
    serve(S4)
