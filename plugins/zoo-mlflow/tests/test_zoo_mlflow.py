"""What MLflow keeps, in its SQLite store, of runs that zoo trained, and of runs made up here."""

import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

import zoo
from zoo.cli import main

pytest.importorskip("mlflow", reason="mlflow is not installed")
pytest.importorskip("sqlalchemy", reason="sqlalchemy, which MLflow's SQLite store needs, is not installed")

import zoo_mlflow
from mlflow import MlflowClient

EPOCHS = 2
KEY = zoo.RunKey(spec="a" * 64, seed=3, dataset="b" * 64, source="c" * 64, precision="fp32")
SPEC = {"training": {"epochs": 2, "shuffle": True}, "reference": None, "many": list(range(150)), "long": "x" * 7000}
RUN = zoo.Run(KEY, "mine/wide", SPEC, "digits", provenance={"command": "zoo benchmark", "torch": "2.15"})


def command(*arguments, **variables):
    return CliRunner().invoke(main, arguments, prog_name="zoo", env=variables, catch_exceptions=False)


def epoch(number):
    return zoo.EpochRecord(number, 0.5, 1.0, 0.5, {"test": zoo.Evaluation(((8, 2), (0, 10)))})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder that MLflow keeps its runs in; making its data base takes seconds, so that all tests share it."""
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.delenv(zoo_mlflow.EXPERIMENT_VARIABLE, raising=False)
        patch.chdir(folder)
        yield folder


def runs(experiment):
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["attributes.start_time"])


@pytest.fixture(scope="module")
def trained(store):
    """MLflow's record of one real run, and zoo's own results of it."""
    ledger = ("--ledger", str(store / "zoo.sqlite"))
    ended = command(
        *("benchmark", "starter/default", "--epochs", str(EPOCHS), "--seeds", "1", "--jobs", "1", *ledger),
        **{zoo_mlflow.EXPERIMENT_VARIABLE: "trained"},
    )
    assert ended.exit_code == 0, ended.stderr
    assert "raised" not in ended.stderr
    (row,) = json.loads(command("results", *ledger, "--json").stdout)
    (run,) = runs("trained")
    return run, row


def test_the_run_is_finished_and_named(trained):
    run, _ = trained
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "starter/default seed 0"
    assert run.data.tags["zoo.status"] == "finished"
    assert run.data.tags["zoo.device"] == "cpu"
    assert run.data.tags["mlflow.source.name"]
    assert run.data.tags["mlflow.note.content"].startswith("Three convolutions for the 8x8 digits")


def test_the_parameters_are_the_spec_s_values(trained):
    run, _ = trained
    assert run.data.params["seed"] == "0"
    assert run.data.params["training.epochs"] == str(EPOCHS)
    assert run.data.params["network.features.0.filter.size"] == "5"
    assert run.data.params["network.features.0.activation.name"] == "relu"


def test_the_metrics_end_in_zoo_s_own_figures(trained):
    run, row = trained
    history = MlflowClient().get_metric_history(run.info.run_id, "recall/test")
    assert [metric.step for metric in history] == list(range(1, EPOCHS + 1))
    assert run.data.metrics["recall/test"] == pytest.approx(row["test_recall"])
    assert run.data.metrics["recall/train"] == pytest.approx(row["train_recall"])
    assert run.data.metrics["parameters"] == row["parameters"]
    assert run.data.metrics["flops"] == row["flops"]


def test_the_data_set_is_an_input(trained):
    run, _ = trained
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "digits"
    assert run.data.tags["zoo.dataset"].startswith(used.dataset.digest)


def test_the_artifacts(trained, tmp_path):
    run, _ = trained
    fetched = Path(MlflowClient().download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert json.loads((fetched / "spec.json").read_text())["training"]["epochs"] == EPOCHS
    table = json.loads((fetched / "confusion/test.json").read_text())
    counts = [row[1:] for row in table["data"]]
    assert table["columns"] == ["true class", *(f"predicted {index}" for index in range(10))]
    assert sum(map(sum, counts)) == 355, "all test images of digits"
    right = sum(counts[i][i] for i in range(10)) / 355
    assert right == pytest.approx(run.data.metrics["accuracy/test"])


@pytest.mark.parametrize(
    ("status", "expected"), [("finished", "FINISHED"), ("diverged", "FINISHED"), ("failed", "FAILED")]
)
def test_how_a_run_ended_is_said(store, monkeypatch, status, expected):
    monkeypatch.setenv(zoo_mlflow.EXPERIMENT_VARIABLE, f"ended {status}")
    zoo_mlflow.zoo_run_started(RUN)
    zoo_mlflow.zoo_epoch_finished(RUN, epoch(1))
    zoo_mlflow.zoo_run_finished(attrs.evolve(RUN, status=status, reason="it did"))
    (run,) = runs(f"ended {status}")
    assert run.info.status == expected
    assert (run.data.tags["zoo.status"], run.data.tags["zoo.reason"]) == (status, "it did")


def test_a_spec_beyond_mlflow_s_limits_is_kept(store, monkeypatch):
    monkeypatch.setenv(zoo_mlflow.EXPERIMENT_VARIABLE, "limits")
    zoo_mlflow.zoo_run_started(RUN)
    zoo_mlflow.zoo_run_finished(attrs.evolve(RUN, status="failed"))
    (run,) = runs("limits")
    assert run.data.params["many.149"] == "149", "more than one batch of parameters"
    assert run.data.params["long"] == "x" * 6000
    assert "reference" not in run.data.params


def test_a_run_that_is_lost_begins_anew(store):
    zoo_mlflow.zoo_run_started(RUN)
    zoo_mlflow.zoo_run_started(RUN)
    zoo_mlflow.zoo_run_finished(attrs.evolve(RUN, status="finished"))
    lost, again = runs(zoo_mlflow.DEFAULT_EXPERIMENT)
    assert [lost.info.status, again.info.status] == ["KILLED", "FINISHED"]


def test_what_could_not_be_reached_is_left_alone(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://there")
    with pytest.raises(Exception, match="nothing://there"):
        zoo_mlflow.zoo_run_started(RUN)
    zoo_mlflow.zoo_epoch_finished(RUN, epoch(1))
    zoo_mlflow.zoo_run_finished(attrs.evolve(RUN, status="finished"))


def test_a_run_is_trained_though_mlflow_cannot_be_reached(tmp_path):
    ended = command(
        *("benchmark", "starter/default", "--epochs", "1", "--seeds", "1", "--jobs", "1"),
        *("--ledger", str(tmp_path / "zoo.sqlite")),
        MLFLOW_TRACKING_URI="nothing://there",
    )
    assert ended.exit_code == 0, ended.stderr
    (line,) = (line for line in ended.stderr.splitlines() if " raised " in line)
    assert line.startswith("plugin zoo_mlflow: its hook zoo_run_started ")
    assert "starter/default" in ended.stdout


def test_stored_runs_are_written_afterwards_once(trained, store, monkeypatch):
    live, row = trained
    monkeypatch.setenv(zoo_mlflow.EXPERIMENT_VARIABLE, "afterwards")
    uri = f"sqlite:///{store / 'mlflow.db'}"
    for new, there in (("1 run", "0 were"), ("0 runs", "1 was")):
        result = command("results", "--ledger", str(store / "zoo.sqlite"), "--to", f"mlflow:{uri}")
        assert result.exit_code == 0
        assert f"MLflow: {new} written to {uri}; {there} there already.\n" in result.stderr
    (run,) = runs("afterwards")
    assert run.info.status == "FINISHED"
    assert run.data.params == live.data.params
    assert run.data.metrics["recall/test"] == row["test_recall"]
    history = MlflowClient().get_metric_history(run.info.run_id, "recall/test")
    assert [metric.step for metric in history] == list(range(1, EPOCHS + 1))
