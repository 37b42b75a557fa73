"""A rule that uses a GPU is a cluster's job with its needs; every other one runs beside snakemake."""

import re
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string
from snakemake_runs import NEEDS, ROOT, RULES, copy_project, snakemake

from workflow.gpu import START, needs

TEXT = {rule[1]: rule[0] for rule in re.finditer(r"^rule (\w+):\n(?:[ \n].*\n?)*", RULES, re.MULTILINE)}
DIGITS = ("--configfile", "config/digits.yaml")
PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())


def computing():
    """The rules whose scripts ask for a device, but for the controls, which compute nothing on it."""
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py") if "compute_device(" in path.read_text()}
    return scripts - {"job", "control", "mean_mask"} | {"finetune"}


def test_a_rule_whose_script_computes_is_a_job_on_a_gpu():
    assert NEEDS.keys() == computing() and len(TEXT) > 20
    assert all(f'**gpu_job("{rule}"' in TEXT[rule] for rule in NEEDS)


def test_the_other_rules_are_local():  # tests/slurm/study.py sees that they are
    snakefile = (ROOT / "workflow/Snakefile").read_text()
    last = snakefile.rindex("include:")
    assert (
        snakefile.index("workflow.localrules(*(rule.name for rule in workflow.rules if rule.name not in ON_GPU))")
        > last
    )


@pytest.mark.parametrize("rule", NEEDS)
def test_a_second_attempt_gets_twice_as_much(rule):
    once, twice = (
        {key: need(None, attempt) for key, need in needs(rule, *NEEDS[rule], dict).items()} for attempt in (1, 2)
    )
    assert once == dict(zip(("mem_mb", "runtime"), NEEDS[rule], strict=True))
    assert twice == {key: 2 * value for key, value in once.items()}
    assert PROFILE["retries"] == 1


def test_needs_follow_the_plan_where_it_tells():
    ask = {key: need(None, 2) for key, need in needs("score", 1, 1, lambda: {"score": (3e9, 600.5)}).items()}
    assert ask == {"mem_mb": 2 * (START[0] + 6000), "runtime": 2 * (START[1] + 21)}


def resources(output):
    """(rule, the resources that a dry run says of a job), of all jobs."""
    return re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)", output, re.MULTILINE)


def test_jobs_ask_for_a_gpu_memory_and_time():
    run = snakemake(ROOT, "--dry-run", "--profile", "slurm", *DIGITS, "--config", "run=not_there", "--forceall")
    assert run.code == 0, run.output
    found = [(rule, words) for rule, words in resources(run.output) if rule in NEEDS]
    assert {"score", "encode", "train_var"} <= {rule for rule, _ in found}
    for rule, words in found:
        memory, minutes = NEEDS[rule]
        assert {f"mem_mb={memory}", f"runtime={minutes}", "gpu=1"} <= set(words.split(", ")), (rule, words)


def test_a_site_says_in_one_place_how_gpus_are_asked_for(tmp_path):
    project = copy_project(tmp_path / "project")
    profile = project / "workflow/profiles/slurm/config.yaml"
    text = profile.read_text()
    assert "  gpu: 1 " in text
    profile.write_text(text.replace("  gpu: 1 ", "  gpu: 0\n  gres: \"'gpu:a100:1'\" "))
    run = snakemake(project, "--dry-run", "--profile", "slurm")
    assert run.code == 0, run.output
    for rule, words in resources(run.output):
        if rule in NEEDS:
            assert "gres=gpu:a100:1" in words and "gpu=1" not in words.split(", "), (rule, words)


class Asked(dict):
    """The resources of a job, also by name."""

    __getattr__ = dict.__getitem__


def asked_of_sbatch(rule, *options):
    """The sbatch call of a rule's first job for the digits, as the Slurm plugin makes it from a dry run."""
    overridden = ("--config", "run=not_there", "--forceall", *options)
    run = snakemake(ROOT, "--dry-run", "--profile", "slurm", *DIGITS, *overridden)
    assert run.code == 0, run.output
    (job,) = re.findall(rf"^rule {rule}:\n((?:    .*\n)*)", run.output, re.MULTILINE)[:1]
    resources = dict(word.split("=") for word in re.search(r"resources: (.*)", job)[1].split(", "))
    resources = {key: int(value) if value.isdigit() else value for key, value in resources.items()}
    threads = re.search(r"threads: (\d+)", job)
    job = SimpleNamespace(resources=Asked(resources), threads=int(threads[1]) if threads else 1)
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    return get_submit_command(job, dict.fromkeys(names, "")) + set_gres_string(job)


def test_processes_of_a_job_are_on_one_node_with_a_gpu_and_cores_for_each():
    options = ["--set-resources", "finetune:gpu=8", "finetune:processes=8", "--set-threads", "finetune=16"]
    words = asked_of_sbatch("finetune", "--cores", "16", *options).split()
    assert {"--nodes=1", "--gpus=8", "--cpus-per-task=16"} <= set(words)
    assert not [word for word in words if word.startswith("--ntasks")]  # one task, which starts the processes


def test_no_site_is_named_outside_the_profile():
    for path in (ROOT / "workflow/Snakefile", *(ROOT / "workflow").rglob("*.smk"), *(ROOT / "workflow").rglob("*.py")):
        assert not re.search(r"slurm_|gres\b|(?<![.r])partition|constraint=", path.read_text()), path
