"""Plans: the works of a config are the jobs of its graph, and shards: auto follows from them."""

import copy
import math
import os
import re
from collections import Counter

import pandas as pd
import pytest
import yaml
from configs import read
from job_graph import graph, scripted
from snakemake_runs import NEEDS, ROOT, copy_project, default_config, plan, snakemake, write_config

from varc.costs.closed_form import Shape, var_parameters
from varc.costs.memory import finetune_bytes
from varc.data.classes import data_set_classes
from varc.data.manifest import manifest
from varc.models.architectures import ARCHITECTURES
from varc.planning import PROCESS_BYTES, given, plan_rows
from varc.seal import read_json, write_json
from workflow.config.data import Digits, ImageFolder
from workflow.config.entry import ConfigError
from workflow.gpu import START
from workflow.plan import Plan
from workflow.run import Run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("plan") / "project")


def read_config(name):
    return yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())


def planned(project, config):
    """tables/plan.csv of a config with a given rate: no data, no weights."""
    name = write_config(project, {"gflops_per_second": 20000, **config})
    run = snakemake(project, "plan", "--configfile", name)
    assert run.code == 0, run.output
    return pd.read_csv(project / "results" / config["run"] / "tables" / "plan.csv"), run.output


PLANNED = ("encode", "tokenize", "score", "score_adaptive", "score_baseline", "finetune")


@pytest.mark.long
@pytest.mark.parametrize("name", ["digits", "digits_adaptive", "imagenet100", "study_quick"])
def test_the_planned_jobs_are_those_of_the_graph(project, name):
    config = read_config(name)
    table, _ = planned(project, config)
    jobs = plan(project, "--configfile", f"config/{name}.yaml").jobs
    assert table["jobs"].iloc[-1] == sum(jobs[rule] for rule in PLANNED)
    assert table["passes"].iloc[-1] > 0


def test_each_planned_job_has_its_seconds(tmp_path):
    """Those of the plan together; rivals have none before they are counted."""
    config = yaml.safe_load((ROOT / "tests/workflow/resumed.yaml").read_text())
    assert Plan(Run(read(config))).seconds_per_job(1) == {}
    (tmp_path / "rated.yaml").write_text(yaml.safe_dump(config | {"gflops_per_second": 4.0}))
    with graph(tmp_path / "rated.yaml", tmp_path) as workflow:
        known = workflow.globals["PLAN"]
        seconds = known.seconds_per_job(1)
        jobs = Counter((job.rule.name, os.path.dirname(job.output[0])) for job in scripted(workflow))
        rules = {"score_certified", *PLANNED} - {"score_baseline"}
        assert set(seconds) == {job for job in jobs if job[0] in rules}
        works = [work for work in known.shared(1) if work.model in known.run.config.models]
        total = plan_rows(works, known.shapes(), known.images(), known.run.shards, given(4.0))[-1]
    assert sum(seconds[job] * jobs[job] for job in seconds) == pytest.approx(3600 * total["device_hours"])


def test_imagenet_is_planned_at_d16_and_d30_with_nothing_at_hand(project):
    hours = {}
    for depth in ("var_d16", "var_d30"):
        config = read_config("imagenet1k")
        for model in config["models"].values():
            model["architecture"] = depth
        table, output = planned(project, config | {"run": depth})
        assert "| imagenet1k | varc | stage1 |" in output  # printed as well
        table = table.set_index(["classifier", "stage"])
        assert (table["images"] == 50_000).all()
        hours[depth] = table["device_hours"]
    expected = 50_000 * (1000 * 139.97113344) / 20_000 / 3600
    assert hours["var_d16"]["varc", "stage1"] == pytest.approx(expected, rel=1e-6)
    assert hours["var_d16"]["varc", "total"] / hours["var_d16"]["a_varc_plus", "total"] == pytest.approx(6.6, abs=0.1)
    assert hours["var_d30"]["varc", "stage1"] / hours["var_d16"]["varc", "stage1"] == pytest.approx(6.5, abs=0.1)


@pytest.mark.long
def test_rivals_are_planned_by_their_counted_costs(project):
    table, _ = planned(project, read_config("rivals_imagenet100"))
    table = table.set_index(["classifier", "stage"])
    assert table.loc[("dc", "total"), "passes"] == 5000 * 3625
    assert table.loc[("dc", "total"), "gflops"] == pytest.approx(5000 * 415056.0, rel=1e-4)  # the published figure
    assert table.loc[("dc", "stage2"), "device_hours"] == pytest.approx(
        5000 * 5 * 225 * 114.46 / 20000 / 3600, rel=1e-3
    )
    assert table.loc[("vit", "total"), "gflops"] == pytest.approx(5000 * 16.87, rel=1e-3)


@pytest.mark.long
def test_auto_and_needs_know_measured_rivals(project):
    config = default_config(project) | {"run": "measured_rivals", "shards": "auto"}
    config["baselines"] = {"memory": {"family": "knn", "shape": {"image_size": 8, "memory": 50}}}
    config["baselines"]["memory"]["train"] = {"data": "digits_train"}
    config["classifiers"] = {"varc": config["classifiers"]["varc"], "knn": {"baseline": "memory", "stages": [{"k": 3}]}}
    config["evaluate"] = [{"datasets": ["digits"], "classifiers": ["varc", "knn"]}]
    name = write_config(project, config)
    run = snakemake(project, "plan", "--configfile", name)
    assert run.code == 0, run.output
    table = pd.read_csv(project / "results/measured_rivals/tables/plan.csv").set_index(["classifier", "stage"])
    assert table.loc[("knn", "stage1"), "gflops"] == pytest.approx(454 * 50 * 3 * 64 / 1e9)
    assert table.loc[("knn", "stage1"), "device_hours"] > 0
    assert plan(project, "--configfile", name).jobs["score_baseline"] == 1
    rates = project / "results/measured_rivals/rates.json"
    record = read_json(rates)
    for entry in record["rates"]:
        if entry["kind"][0] == "score_baseline":  # an hour: three jobs of 20 minutes
            entry["speed"] = [454 * 50 * 3 * 64 / 1e9 / 3599, 0.0]
    write_json(rates, record)
    assert plan(project, "--configfile", name).jobs["score_baseline"] == 3
    ((memory, minutes),) = asked(project, config)["score_baseline"]
    write_json(rates, record | {"counted": {}})
    run = snakemake(project, "--dry-run", "--configfile", name)
    assert run.code != 0 and "rates.json has no cost of memory all k3 of 10; delete it, and plan again" in run.output
    assert memory == str(NEEDS["score_baseline"][0]) and int(minutes) == START[1] + math.ceil(2 * 3599 * 152 / 454 / 60)


def test_auto_takes_the_shards_of_the_plan_and_keeps_them(project):
    config = read_config("imagenet100") | {"run": "auto", "shards": "auto", "gflops_per_second": 20000}
    config["evaluate"][0]["classifiers"] = ["varc"]
    found = plan(project, "--configfile", write_config(project, config)).jobs
    assert found["encode"] == found["score"] == 3  # 5,000 x 14,000 GFLOPs at 20,000 a second are 58 minutes
    (project / "results" / "auto").mkdir(parents=True, exist_ok=True)
    write_json(project / "results" / "auto" / "shards.json", {"shards": 5})
    config["gflops_per_second"] = 1
    assert plan(project, "--configfile", write_config(project, config)).jobs["encode"] == 5


def asked(project, config, *options):
    """rule -> the resources that a dry run says of its jobs."""
    run = snakemake(project, "--dry-run", "--configfile", write_config(project, config), *options)
    assert run.code == 0, run.output
    found = {}
    for rule, text in re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)", run.output, re.MULTILINE):
        if rule in NEEDS:
            asked_for = tuple(re.search(rf"\b{key}=(\d+)", text)[1] for key in ("mem_mb", "runtime"))
            found.setdefault(rule, set()).add(asked_for)
    return found


def test_jobs_ask_for_what_the_plan_says(project):
    config = read_config("imagenet100") | {"run": "needs", "shards": 10, "gflops_per_second": 5000}
    config["evaluate"][0]["classifiers"] = ["varc"]
    table, _ = planned(project, config)
    largest = table[table["stage"] == "stage1"].iloc[0]
    memory = START[0] + math.ceil(2 * largest["memory_bytes"] / 1e6)
    minutes = START[1] + math.ceil(2 * largest["minutes_per_job"])
    found = asked(project, config)
    assert found["score"] == {(str(memory), str(minutes))}
    assert minutes == START[1] + math.ceil(2 * 500 * 100 * 139.97113344 / 5000 / 60)
    del config["gflops_per_second"]
    assert asked(project, config)["score"] == {tuple(map(str, NEEDS["score"]))}  # nothing is known of the device


@pytest.mark.long
def test_fine_tuning_asks_for_its_node_what_its_processes_take(project):
    config = read_config("cca_imagenet") | {"run": "finetune", "gflops_per_second": 100_000}
    table, _ = planned(project, config)
    row = table[table["stage"] == "finetune"].iloc[0]
    assert row["memory_bytes"] == round(finetune_bytes(Shape.of(ARCHITECTURES["var_d16"]), 64, "bf16", True))
    assert row["passes"] == 5004 * 256 * 8
    weights, tokens = 4 * var_parameters(Shape.of(ARCHITECTURES["var_d16"]), 1000), 2 * 1_281_167 * 680
    for processes, options in ((1, []), (8, ["--set-resources", "finetune:processes=8"])):
        node = processes * (PROCESS_BYTES + 2 * weights + 3 * tokens) + 5 * weights
        minutes = row["minutes_per_job"] / processes
        expected = (str(START[0] + math.ceil(2 * node / 1e6)), str(START[1] + math.ceil(2 * minutes)))
        assert asked(project, config, *options)["finetune"] == {expected}


def test_validations_are_planned_with_their_fine_tuning(project):
    table, _ = planned(project, default_config(project) | {"run": "validated"})
    row = table[table["stage"] == "validation"].iloc[0]
    assert row["passes"] == 185 * 10 * (1 + 80 // 10) and row["jobs"] == 0
    assert (table["stage"] == "finetune").sum() == 1


@pytest.mark.long
def test_a_plan_for_a_card_that_is_too_small_says_so(project):
    config = default_config(project) | {"run": "small_card"}
    name = write_config(project, config)
    run = snakemake(project, "plan", "--configfile", name)
    assert run.code == 0 and "raise accumulate" not in run.output, run.output
    rates = project / "results/small_card/rates.json"
    record = read_json(rates)
    assert record["gpu_memory_bytes"] is None  # measured on the CPU
    write_json(rates, record | {"gpu_memory_bytes": 2**20})
    run = snakemake(project, "plan", "--configfile", name)
    assert run.code == 0, run.output
    assert "models: cca: accumulate 1, precision float32: fine-tuning takes" in run.output
    assert "raise accumulate, or take precision bf16" in run.output


@pytest.mark.long
def test_jobs_ask_for_measured_needs_and_survive_damaged_rates(project):
    config = default_config(project) | {"run": "measured"}
    rates = project / "results" / "measured" / "rates.json"
    run = snakemake(project, "plan", "--configfile", write_config(project, config))
    assert run.code == 0, run.output
    found = asked(project, config)
    assert {int(minutes) for _, minutes in found["score"]} == {START[1] + 1}
    assert found["train_var"] == {tuple(map(str, NEEDS["train_var"]))}
    record = read_json(rates)
    fewer = record | {"rates": [r for r in record["rates"] if r["kind"][0] != "score"]}
    for damage in (lambda: rates.write_text("{"), lambda: rates.write_text("[]"), lambda: write_json(rates, fewer)):
        damage()
        assert asked(project, config)["score"] == {tuple(map(str, NEEDS["score"]))}


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_auto_beside_a_damaged_note_plans_but_does_not_run(project, text):
    config = default_config(project) | {"run": "damaged", "shards": "auto", "gflops_per_second": 10}
    (project / "results" / "damaged").mkdir(parents=True, exist_ok=True)
    (project / "results" / "damaged" / "shards.json").write_text(text)
    name = write_config(project, config)
    assert plan(project, "--configfile", name).jobs["score"]
    run = snakemake(project, "--configfile", name)
    assert run.code != 0 and "results/damaged/shards.json: damaged; delete it, and set" in run.output


def test_auto_without_a_rate_plans_but_does_not_run(project):
    config = default_config(project) | {"run": "no_rate", "shards": "auto"}
    name = write_config(project, config)
    assert plan(project, "--configfile", name).jobs["score"] == 16
    run = snakemake(project, "--configfile", name)
    assert run.code != 0 and "shards: auto needs a rate; run `snakemake plan`" in run.output


def test_images_are_counted_from_the_config(project):
    for split, count in Digits.COUNTS.items():
        spec = {"reader": "digits", "split": split}
        assert len(manifest(spec, data_set_classes(spec))[0]) == count == Digits(**spec).count()
        assert Digits(**spec, per_class=3).count() == 30
        assert Digits(**spec, ids="some.txt").count() is None
    folder = {"reader": "image_folder", "root": "x", "size": 256, "classes": f"{ROOT}/config/classes/imagenet100.csv"}
    assert ImageFolder(**folder).count() is None
    assert ImageFolder(**folder, per_class=50).count() == 5000
    assert ImageFolder(**folder, images=7).count() == 7


def test_auto_names_what_the_config_does_not_tell():
    config = read_config("imagenet100") | {"shards": "auto", "gflops_per_second": 1e4}
    for spec in config["datasets"].values():
        spec["classes"] = str(ROOT / spec["classes"])
    unknown = copy.deepcopy(config)
    del config["datasets"]["imagenet100"]["images"]
    with pytest.raises(ConfigError, match="datasets: imagenet100: images is missing"):
        Plan(Run(read(config))).auto_shards()
    for model in unknown["models"].values():
        del model["architecture"]
    with pytest.raises(ConfigError, match=r"models: .*: architecture is missing"):
        Plan(Run(read(unknown))).auto_shards()
