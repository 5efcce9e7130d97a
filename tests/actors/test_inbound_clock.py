"""The clock process takes what is dropped, and stops in time whatever it fetches."""

import socket
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.actors.conftest import clock_process, seconds_to_stop

DATA = 'data: {item: RING-74, revision: A, supplier: ACME, receipt: "GR-${lot}", quantity: {value: "5", unit: ea}}'
EVENT = f'columns: {{lot: text}}\nevent:\n  type: lot.received.v1\n  source: gate\n  subject: "${{lot}}"\n  {DATA}\n'


def test_the_clock_process_takes_files_while_a_system_hangs_and_stops_in_time(store: Any, tmp_path: Path) -> None:
    (tmp_path / "inbound").mkdir()
    (tmp_path / "lab").mkdir()
    (tmp_path / "crm").mkdir()
    customers = "inbound: 1\nname: crm\nkind: drop\nevery_s: 0.2\ndrop: {folder: ../crm, settle_s: 0.2}\n"
    content = "record: {kind: customer, key: '${name}', content: {remaining_days: '${days}'}}\n"
    (tmp_path / "inbound" / "crm.yaml").write_text(f"{customers}columns: {{name: text, days: integer}}\n{content}")
    (tmp_path / "crm" / "c.csv").write_text("name,days\nBOLT-CO,0\n")
    drop = "inbound: 1\nname: lab\nkind: drop\nevery_s: 0.2\ndrop: {folder: ../lab, settle_s: 0.2}\n"
    (tmp_path / "inbound" / "lab.yaml").write_text(drop + EVENT)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pull = f"pull: {{base_url: 'http://127.0.0.1:{silent.getsockname()[1]}', path: /x, timeout_s: 60}}\n"
        (tmp_path / "inbound" / "slow.yaml").write_text(f"inbound: 1\nname: slow\nkind: pull\n{pull}{EVENT}")
        (tmp_path / "lab" / "a.csv").write_text("lot\nCLOCK-1\n")
        with clock_process(tmp_path, LOTGATE_INBOUND=str(tmp_path / "inbound"), LOTGATE_RECORD_OWNERS="customer=erp") as clock:
            deadline = time.monotonic() + 60
            while not list((tmp_path / "lab").glob("archive/a-*.csv")) or not list((tmp_path / "crm").glob("*/c-*.csv")):
                assert time.monotonic() < deadline, "the file was not taken"
                time.sleep(0.05)
            assert seconds_to_stop(clock) < 9, "it waited for the system that hangs"
    with store.reads.connect() as connection:
        found = connection.execute(text("SELECT id, state FROM lots")).all()
        assert connection.execute(text("SELECT count(*) FROM reference")).scalar_one() == 0
        by = connection.execute(text("SELECT DISTINCT principal FROM journal WHERE kind = 'event'")).scalars().all()
    (why,) = (tmp_path / "crm" / "rejected").glob("*.errors.csv")
    assert "The system of record for the customer BOLT-CO is erp; inbound/crm may not change it." in why.read_text()
    assert found == [("CLOCK-1", "quarantined")]
    assert by == ["inbound/lab"]
