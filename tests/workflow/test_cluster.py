"""Every rule is a cluster's job with its needs, or local; the profile knows all jobs that use a GPU."""

import re

import pytest
import yaml
from snakemake_runs import ROOT, snakemake

from workflow.needs import NEEDS, START, needs

RULES = "".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
TEXT = {rule[1]: rule[0] for rule in re.finditer(r"^rule (\w+):\n(?:[ \n].*\n?)*", RULES, re.MULTILINE)}
PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())


def test_a_rule_uses_a_gpu_or_is_local():
    local = set(re.findall(r"^    (\w+),$", re.search(r"^localrules:.*\n(?:    .*\n)+", RULES, re.MULTILINE)[0], re.M))
    on_gpu = {name for name, text in TEXT.items() if "        gpu=1,\n" in text}
    assert len(TEXT) > 20 and on_gpu
    assert local == TEXT.keys() - on_gpu
    assert NEEDS.keys() == on_gpu == PROFILE["set-resources"].keys()


@pytest.mark.parametrize("rule", NEEDS)
def test_a_rule_asks_for_its_own_needs_and_a_second_attempt_for_twice_as_much(rule):
    assert f'**needs("{rule}"),' in TEXT[rule]
    once, twice = ({key: need(None, attempt) for key, need in needs(rule, dict).items()} for attempt in (1, 2))
    assert twice == {key: 2 * value for key, value in once.items()} and once.keys() == {"mem_mb", "runtime"}
    assert PROFILE["retries"] == 1


def test_needs_follow_the_plan_where_it_tells():
    ask = {key: need(None, 2) for key, need in needs("score_guided", lambda: {"score": (3e9, 600.5)}).items()}
    assert ask == {"mem_mb": 2 * (START[0] + 6000), "runtime": 2 * (START[1] + 21)}


def test_the_profile_gives_a_gpu_memory_and_time_to_jobs():
    run = snakemake(ROOT, "--dry-run", "--profile", "slurm", "--config", "run=not_there", "--forceall")
    assert run.code == 0, run.output
    for rule, (memory, minutes) in NEEDS.items():
        for resources in re.findall(rf"^rule {rule}:\n(?:    .*\n)*?    resources: (.*)", run.output, re.MULTILINE):
            words = set(resources.split(", "))
            assert {f"mem_mb={memory}", f"runtime={minutes}", "gpu=1"} <= words, (rule, resources)
    assert "\nrule score:" in run.output


def test_no_site_is_named_outside_the_profile():
    for path in (ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow/needs.py"):
        assert not re.search(r"slurm_|gres|partition|constraint=", path.read_text()), path
