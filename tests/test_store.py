from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpuplan.errors import UserError
from gpuplan.model import Ending, Evidence, Gpu, Measurement, Outcome, Provenance, Run, RunRecord, Sample
from gpuplan.store import Store
from gpuplan.store.database import APPLICATION_ID
from gpuplan.store.schema import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from gpuplan.model import Run, RunRecord
from gpuplan.store import Store
store = Store(Path(sys.argv[1]))
for number in range(5):
    run = Run(name=f"r{number}", key="k", settings={}, point={}, command="true")
    store.save(RunRecord(experiment="e", run=run, folder=f"/f/{number}", state="running", attempt=1))
if len(sys.argv) > 2:
    connection = store.database.connection
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE runs SET state = 'lost'")
os.kill(os.getpid(), signal.SIGKILL)
"""


def record(name: str = "a", *, key: str = "k1", **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "experiment": "e",
        "run": Run(name=name, key=key, settings={"lr": 5e-4, "text": "ü\n\"'"}, point={}, command="true {lr}"),
        "folder": f"/runs/{name}",
        "state": "running",
        "attempt": 1,
        "devices": (0, 2),
    }
    return RunRecord(**(values | changes))


def full(**changes: Any) -> RunRecord:
    return record(
        state="finished",
        started_at=1.5,
        ended_at=2.5,
        ending=Ending(exit_code=0, started_at=1.5, ended_at=2.5, cpu_s=0.25),
        outcome=Outcome(status="finished", because="exit code 0", advice="none", tail=("last line",)),
        measurement=Measurement(steps=10, final={"loss": 0.1}, samples_per_epoch_by_rank=(1.0, 2.0)),
        provenance=Provenance(argv=("true", "a b"), workdir="/w", versions={"torch": "2.13.0", "python": "3.11.7"}),
        **changes,
    )


def sample(at: float, *, host_bytes: int = 100, device_bytes: int | None = None) -> Sample:
    return Sample(at=at, processes=1, host_bytes=host_bytes, cpu_s=at, device_bytes=device_bytes)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "state" / "store.db") as opened:
        yield opened


# ---------------------------------------------------------------- runs


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    for written in (record(), full()):
        store.save(written)
        assert store.record("e", "a") == written
    assert store.records("e") == store.records() == (full(),)
    assert store.record("e", "b") is None
    assert store.records("other") == ()
    assert [(one.name, one.key, one.state) for one in store.history("e")] == [("a", "k1", "finished")]


def test_runs_keep_their_order_and_experiments_are_apart(store: Store) -> None:
    for name in ("b", "a"):
        store.save(record(name))
    store.save(record("a", experiment="f"))
    store.save(record("b", state="finished"))
    assert [one.run.name for one in store.records("e")] == ["b", "a"]
    assert [(one.experiment, one.run.name) for one in store.open_records()] == [("e", "a"), ("f", "a")]


def test_many_are_saved_at_once_or_not_at_all(store: Store) -> None:
    runs = [record(name, attempt=0, state="waiting") for name in "abc"]
    store.save_all(runs)
    assert store.records() == tuple(runs)
    assert store.attempts("e", "a") == ()
    broken = record("e").model_copy(update={"folder": None})
    with pytest.raises(sqlite3.IntegrityError):
        store.save_all([record("d"), broken])
    assert store.records() == tuple(runs)


def test_attempts_are_kept_each(store: Store) -> None:
    lost = Outcome(status="lost", because="nobody saw the end", advice="none")
    store.save(record(attempt=1, state="lost", outcome=lost, ending=Ending()))
    store.save(record(attempt=2, state="starting"))
    store.save(record(attempt=2, state="lost", outcome=lost, ending=Ending(), devices=(1,)))
    attempts = store.attempts("e", "a")
    assert [(one.attempt, one.state, one.devices) for one in attempts] == [(1, "lost", (0, 2)), (2, "lost", (1,))]
    assert attempts[1].outcome == lost
    assert attempts[1].ending == Ending()


def test_losses_are_counted_up_to_the_newest_end(store: Store) -> None:
    def ended(attempt: int, status: Any) -> None:
        outcome = Outcome(status=status, because="", advice="")
        store.save(record(attempt=attempt, state=status, outcome=outcome))

    assert store.lost_in_a_row("e", "a") == 0
    ended(1, "lost")
    ended(2, "preempted")
    ended(3, "lost")
    ended(5, "lost")
    store.save(record(attempt=6, state="starting"))
    assert store.lost_in_a_row("e", "a") == 2
    ended(6, "finished")
    assert store.lost_in_a_row("e", "a") == 0


def test_an_archived_run_stays_with_all_that_is_known_of_it(store: Store) -> None:
    store.save(full())
    store.add_samples("e", {"a": sample(1.0)})
    store.archive("/runs/a", to="/archive/a.1")
    assert store.record("e", "a") is None
    store.save(record(key="k2"))
    assert [one.run.key for one in store.records("e")] == ["k2"]
    assert store.records("e", archived=True) == (full(folder="/archive/a.1"),)
    assert store.samples("e", "a") == ()
    assert [one.state for one in store.attempts("e", "a")] == ["running"]


def test_another_key_never_overwrites(store: Store) -> None:
    store.save(full())
    store.save(record(key="k2", attempt=0, state="waiting"))
    assert [one.run.key for one in store.records("e")] == ["k2"]
    assert store.records("e", archived=True) == (full(),)


def test_versions_are_stored_once(store: Store) -> None:
    for number in range(3):
        store.save(full().model_copy(update={"run": record(f"r{number}").run}))
    assert len(store.database.rows("SELECT * FROM versions")) == 1
    assert {one.provenance.versions["torch"] for one in store.records() if one.provenance} == {"2.13.0"}


def test_what_happened_is_kept_in_order(store: Store) -> None:
    store.save(record(), what="attempt 1")
    store.note("e", "stopped by the user")
    store.note("other", "not ours")
    first, second = store.events("e")
    assert [(one.run, one.what) for one in (first, second)] == [("a", "attempt 1"), (None, "stopped by the user")]
    assert store.events("e", after=first.id) == (second,)


def test_nothing_of_a_failed_save_is_kept(store: Store) -> None:
    store.save(record())
    with pytest.raises(sqlite3.IntegrityError):
        store.save(record(attempt=2, state="lost").model_copy(update={"folder": None}), what="never")
    assert store.record("e", "a") == record()
    assert store.events("e") == ()


# ---------------------------------------------------------------- samples, evidence, probes


def test_samples_belong_to_the_present_attempt(store: Store) -> None:
    store.save(record())
    store.add_samples("e", {"a": sample(1.0), "unknown": sample(1.0)})
    store.save(record(attempt=2))
    store.add_samples("e", {"a": sample(2.0)})
    store.add_samples("e", {})
    assert store.samples("e", "a", attempt=1) == (sample(1.0),)
    assert store.samples("e", "a") == (sample(1.0), sample(2.0))


def test_many_samples_are_thinned_but_peaks_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuplan.store.store.MOST_SAMPLES", 100)
    store.save(record())
    count = 350
    for number in range(count):
        peak = {"host_bytes": 999} if number == 77 else {"device_bytes": 888} if number == 101 else {}
        store.add_samples("e", {"a": sample(float(number), **peak)})
    kept = store.samples("e", "a")
    assert 50 <= len(kept) <= 100
    assert max(one.host_bytes for one in kept) == 999
    assert max(one.device_bytes or 0 for one in kept) == 888
    assert kept[-1].at == count - 1
    assert kept[0].at == 0


def test_a_fact_is_kept_once(store: Store) -> None:
    fact = Evidence(
        id="x1",
        kind="run",
        experiment="e",
        run="a",
        settings={"lr": 0.1},
        gpu="A100",
        measurement=Measurement(steps=3),
        taken="2026-11-20",
    )
    assert store.add_evidence([fact, fact.model_copy(update={"id": "x2", "experiment": "f"})]) == 2
    assert store.add_evidence([fact]) == 0
    assert store.evidence("e") == (fact,)
    assert len(store.evidence()) == 2


def fact(number: int, **changes: Any) -> Evidence:
    return Evidence(
        id=f"x{number}", kind="log", experiment="e", run="a", settings={}, gpu="A100", taken="2026-11-20",
        measurement=Measurement(steps=number), **changes,
    )  # fmt: skip


def kept(store: Store) -> set[str]:
    return {one.id for one in store.evidence()}


def test_what_is_learned_anew_takes_the_place_of_what_was_read_from_the_same_log(store: Store) -> None:
    assert store.learn_evidence([fact(1), fact(2)], {"x1": ["log a"], "x2": ["log b"]}) == frozenset()
    assert store.learn_evidence([fact(3)], {"x3": ["log a"]}) == {"x3"}
    assert kept(store) == {"x2", "x3"}
    assert store.learn_evidence([fact(4)], {"x4": ["a and b", "log b", "log a"]}) == {"x4"}
    assert kept(store) == {"x4"}
    assert store.learn_evidence([fact(5)], {"x5": ["log a"]}) == frozenset()
    assert kept(store) == {"x4", "x5"}


def test_two_runs_of_one_log_are_both_kept(store: Store) -> None:
    sources = {"x1": ["log a"], "x2": ["log a"]}
    assert store.learn_evidence([fact(1), fact(2)], sources) == frozenset()
    assert store.learn_evidence([fact(2), fact(1, command="told later")], sources) == frozenset()
    assert {one.id: one.command for one in store.evidence()} == {"x1": "told later", "x2": ""}


def test_what_came_without_a_log_is_left_alone(store: Store) -> None:
    store.add_evidence([fact(1)])
    assert store.learn_evidence([fact(2), fact(3)], {"x2": ["log a"], "x3": []}) == frozenset()
    assert kept(store) == {"x1", "x2", "x3"}


def test_probes_are_of_one_machine(store: Store) -> None:
    gpu = Gpu(name="cpu", kind="cpu", memory_bytes=1, peak_flops={"fp32": 1e11}, source="probe", checked="measured")
    better = gpu.model_copy(update={"memory_bytes": 2})
    store.put_gpus("m1", [gpu])
    store.put_gpus("m1", [better])
    assert store.gpus("m1") == (better,)
    assert store.gpus("m2") == ()


# ---------------------------------------------------------------- the file


def test_it_is_durable_and_readable_beside_a_writer(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "state" / "store.db"
    assert store.database.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert store.database.rows("PRAGMA synchronous")[0][0] == 2
    store.save(record())
    with store.database.transaction() as connection:
        connection.execute("UPDATE runs SET state = 'lost'")
        with contextlib.closing(Store.to_read(path)) as reader:
            assert [one.state for one in reader.records()] == ["running"]


@pytest.mark.parametrize("inside_a_transaction", [False, True])
def test_what_was_committed_survives_a_kill(tmp_path: Path, *, inside_a_transaction: bool) -> None:
    path = die_writing(tmp_path, inside_a_transaction=inside_a_transaction)
    with Store(path) as store:
        assert [one.state for one in store.records()] == ["running"] * 5


def die_writing(folder: Path, *, inside_a_transaction: bool = False) -> Path:
    path = folder / "store.db"
    arguments = [sys.executable, "-c", WRITE_AND_DIE, str(path), *["inside"] * inside_a_transaction]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0
    return path


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(content)
    for opens in (Store, Store.to_read):
        with pytest.raises(UserError, match=r"store\.db is damaged or not a store") as raised:
            opens(path)
        assert "move it away" in (raised.value.hint or "")
    assert path.read_bytes() == content


def test_damage_inside_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        for number in range(50):
            store.save(full().model_copy(update={"run": record(f"r{number}").run}))
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    with Store.to_read(path) as store, pytest.raises(UserError, match="damaged"):
        store.records()


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE runs (id)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="database of another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    for opens in (Store, Store.to_read):
        with pytest.raises(UserError, match="newer gpuplan"):
            opens(path)


def test_a_step_of_the_schema_is_taken_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    with Store(path) as store:
        store.save(record())
    monkeypatch.setattr("gpuplan.store.database.STEPS", (*STEPS, ("CREATE TABLE extra (a)", "CREATE TABLE runs (a)")))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Store(path)
    with Store.to_read(path) as store:
        assert store.records() == (record(),)
    monkeypatch.setattr("gpuplan.store.database.READABLE_FROM", len(STEPS) + 1)
    with pytest.raises(UserError, match="older gpuplan"):
        Store.to_read(path)
    monkeypatch.setattr("gpuplan.store.database.STEPS", (*STEPS, ("CREATE TABLE extra (a)",)))
    with Store(path) as store:
        assert store.records() == (record(),)
        assert store.database.version() == len(STEPS) + 1
        assert store.database.rows("PRAGMA application_id")[0][0] == APPLICATION_ID


def test_a_store_of_an_older_gpuplan_is_read_as_it_is_and_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    monkeypatch.setattr("gpuplan.store.database.STEPS", STEPS[:1])
    with Store(path) as store:
        store.save(record())
        store.database.connection.execute(
            "INSERT INTO evidence (id, experiment, run, gpu, taken, body) VALUES ('x1', 'e', 'a', 'A100', '', ?)",
            (fact(1).model_dump_json(),),
        )
    monkeypatch.undo()
    with Store.to_read(path) as store:
        assert store.database.version() == 1
        assert (store.records(), store.evidence()) == ((record(),), (fact(1),))
    with Store(path) as store:
        assert store.database.version() == len(STEPS)
        assert store.learn_evidence([fact(2)], {"x2": ["log a"]}) == frozenset()
        assert kept(store) == {"x1", "x2"}


def test_a_noun_of_another_version_is_named(store: Store) -> None:
    store.save(full())
    with store.database.transaction() as connection:
        connection.execute("""UPDATE runs SET outcome = '{"status": "exploded"}'""")
    with pytest.raises(UserError, match="RunRecord that this gpuplan cannot read"):
        store.records()


def test_no_store_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no store"):
        Store.to_read(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
