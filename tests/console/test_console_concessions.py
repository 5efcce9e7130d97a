"""What somebody who is limited to plants sees of concessions, which are of all plants."""

from typing import Any
from urllib.parse import quote

from tests.console.test_console_lots import Make, page_of, reader, rejected


def test_a_key_of_one_plant_reads_of_its_concessions_what_it_needs_to_decide(service: Any, receipt: Make) -> None:
    """The refusal, its journal, the lot, why, and the page: nothing of the lots of another plant but their sum."""
    theirs = rejected(service, receipt, "of-south", plant="SOUTH")
    mine, next_ = rejected(service, receipt, "of-north", plant="NORTH"), rejected(service, receipt, "too-much", plant="NORTH")
    said = {"number": "CN-BOTH", "valid_until": "2099-12-31", "quantity": {"value": "130", "unit": "ea"}}
    body = {"decision": "use_as_is", "reason": {"code": "X"}, "concession": said}

    def dispose(http: Any, lot: str, key: str) -> Any:
        path = f"/v1/lots/{quote(lot, safe='')}/dispose"
        return http.post(path, json=body, headers={"Idempotency-Key": key})

    assert dispose(service.http, theirs, "both-1").status_code == 201
    with service.client(reader(service, "console-north", '["release", "read"]', '["NORTH"]')) as http:
        assert dispose(http, mine, "both-2").status_code == 201
        refusal = dispose(http, next_, "both-3")
        assert refusal.status_code == 409
        words = f"120 ea are used by {mine} (60 ea), others (60 ea); 10 ea are left, not 60"
        assert words in refusal.text
        path = f"/v1/lots/{quote(next_, safe='')}"
        journal = http.get(path + "/journal").text
        assert words in journal
        assert theirs not in journal + refusal.text
        line = {"number": "CN-BOTH", "unit": "ea", "used": "60", "permitted": "130", "left": "10", "plants": ["NORTH"]}
        own = f"/v1/lots/{quote(mine, safe='')}"
        assert http.get(own).json()["concession"] == line
        assert http.get(own + "/explain").json()["concessions"] == [line]
        page = http.get(page_of(mine)).text
        assert "lots of NORTH use 60 of 130 ea, 10 left" in page
        assert "all lots together" not in page
        # The decision of a record offers its concession at the form.
        lot = rejected(service, receipt, "by-record", plant="NORTH")
        path = f"/v1/lots/{quote(lot, safe='')}"
        steps = [("open-record", {"record": "NC", "kind": "nonconformance", "severity": "major", "text": "t", "quantity":
                                  {"value": "10", "unit": "ea"}}),
                 ("change-record", {"record": "NC", "step": "investigate", "text": "t"}),
                 ("change-record", {"record": "NC", "step": "decide", "text": "t", "dispositions": [
                     {"decision": "use_as_is", "quantity": {"value": "10", "unit": "ea"}, "concession": said}]})]  # fmt: skip
        for number, (command, data) in enumerate(steps):
            key = {"Idempotency-Key": f"nc-{number}"}
            assert http.post(f"{path}/{command}", json=data, headers=key).status_code == 201
        assert '<option value="CN-BOTH">lots of NORTH use 60 of 130 ea, 10 left</option>' in http.get(page_of(lot)).text
        assert http.get(path + "/explain").json()["concessions"] == [line]
    whole = {key: value for key, value in line.items() if key != "plants"} | {"used": "120"}
    assert service.http.get(own).json()["concession"] == whole
    assert service.http.get(own + "/explain").json()["concessions"] == [whole]
    assert "all lots together use 120 of 130 ea, 10 left" in service.http.get(page_of(mine)).text
