"""Where rules write: below results/<run>/ and checkpoints/, whatever a config says and whichever links there are."""

import os

import configs
import pytest
from hub_server import REVISION, SHA256, environment, served
from snakemake_runs import copy_project, default_config, plan, snakemake, write_config

from workflow.config.entry import ConfigError
from workflow.outputs import outside

DIGESTS = {"vqvae": "0" * 64, "var": "1" * 64}


def hub_config(var="checkpoints/var.pth", vqvae="checkpoints/vae.pth", **hub):
    """The digits, scored by a model that is downloaded."""
    public = {
        "vqvae": vqvae, "var": var, "architecture": "var_d16", "sha256": DIGESTS,
        "hub": {"repo": "owner/name", "revision": "0" * 40, **hub},
    }  # fmt: skip
    return {
        "run": "hub",
        "datasets": {"digits": {"reader": "digits", "split": "test", "size": 256}},
        "models": {"public": public},
        "classifiers": {"varc": {"model": "public", "funnel": [{"scales": 10, "keep": 1}]}},
        "evaluate": [{"datasets": ["digits"], "classifiers": ["varc"]}],
    }


ELSEWHERE = [
    "/tmp/var.pth", "/usr/lib/python3/site-packages/a.pth", "varc/var.pth", "varc/__init__.py", "../var.pth", "var.pth",
    "checkpoints", "checkpoints/", "checkpoints/../varc/a.pth", "checkpoints/./a.pth", "checkpoints//a.pth",
    "./checkpoints/a.pth", "checkpoints/.hub/a.pth", "checkpoints/a/..", "checkpoints/a/", "Checkpoints/a.pth",
    "checkpoints/-rf", "checkpoints/~", "~/a.pth", "checkpoints/a b.pth", "checkpoints/it's", 'checkpoints/"a"',
    "checkpoints/$HOME", "checkpoints/`id`", "checkpoints/a\nb", "checkpoints/a\n", "checkpoints/a;b", "checkpoints/*",
    "checkpoints/a\\b", "checkpoints/a\u202eb", "checkpoints/é.pth", "checkpoints/a\0b", "results/hub/config.yaml",
    ".snakemake/varc_sha256.json", "config/config.yaml", "checkpoints/{wildcards.run}", "checkpoints/{run}",
]  # fmt: skip


@pytest.mark.parametrize("part", ["vqvae", "var"])
@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_download_to_any_other_place_is_refused(path, part):
    with pytest.raises(ConfigError, match=f"^models: public: {part}: ") as error:
        configs.begun(hub_config(**{part: path}))
    assert "is to be downloaded, but is not checkpoints/ and a plain name" in str(error.value) or "{" in path


@pytest.mark.parametrize("path", ["checkpoints/var_d16.pth", "checkpoints/VAR.v2-a.safetensors", "checkpoints/a/b.pth"])
def test_plain_names_are_downloaded(path):
    checkpoints = configs.begun(hub_config(path)).run.checkpoints
    assert (checkpoints.weights("public", "var"), path in checkpoints.given) == (path, False)


@pytest.mark.parametrize("repo", ["../..", "a/..", "a/b/c", "a/b?x=1", "a/b#c", "a/b\n", "a", "é/b", "-a/b", "a/$b"])
def test_a_repository_is_an_owner_and_a_name(repo):
    with pytest.raises(ConfigError, match="models: public: hub: repo: "):
        configs.begun(hub_config(repo=repo))


def test_patterns_that_leave_the_folders_are_refused():
    for pattern in ("/tmp/a", "a", "results/other/a", "results/hub/../a", "checkpoints/../a", "~/a", "resultshub/a"):
        assert outside(["results/{run}/a", pattern], "results/hub", []).startswith(f"{pattern}: a rule would write")
    assert outside(["results/{run}/a", "results/hub/a", "checkpoints/{checkpoint}"], "results/hub", []) is None


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("outputs") / "project")
    write_config(folder, hub_config(), "hub.yaml")
    return folder


def refused(project, *arguments):
    """What a dry run says that is refused."""
    run = snakemake(project, "--dry-run", *arguments)
    assert run.code != 0 and "Traceback" not in run.output, run.output
    return run.output


OUT = ["logs", "logs/manifest/digits_test.log", "tables/accuracy.csv", "models", "models/base/var.json", "config.yaml"]


@pytest.mark.parametrize("place", OUT)
def test_a_link_below_the_run_that_leads_out_is_refused(project, tmp_path, place):
    link = project / "results" / "digits" / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "target")
    try:
        assert f"results/digits/{place}: a link leads to {tmp_path}/target, out of results/digits" in refused(project)
    finally:
        link.unlink()


@pytest.mark.parametrize("place", ["vae.pth", "var.pth", ".hub"])
def test_a_link_below_checkpoints_that_leads_out_is_refused(project, tmp_path, place):
    link = project / "checkpoints" / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "target")
    try:
        found = refused(project, "--configfile", "hub.yaml")
        assert f"checkpoints/{place}: a link leads to {tmp_path}/target, out of checkpoints" in found
    finally:
        link.unlink()


def test_a_pipe_that_a_job_would_write_to_is_refused(project):
    pipe = project / "results" / "digits" / "pipe"
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    try:
        assert "results/digits/pipe: is no file, but a pipe" in refused(project)
    finally:
        pipe.unlink()


@pytest.mark.parametrize("place", ["results", "results/linked", "checkpoints"])
def test_the_folders_themselves_may_be_links(tmp_path, place):
    project, scratch = copy_project(tmp_path / "project"), tmp_path / "scratch"
    scratch.mkdir()
    (project / place).parent.mkdir(exist_ok=True)
    (project / place).symlink_to(scratch)
    (project / "results/linked/tables").mkdir(parents=True, exist_ok=True)
    (project / "results/linked/within").symlink_to("tables")
    config = write_config(project, default_config(project) | {"run": "linked"})
    run = snakemake(project, "--dry-run", "--configfile", config)
    assert run.code == 0, run.output


def test_all_that_a_run_writes_lies_below_the_two_folders(project):
    for arguments, folder in ((("--configfile", "hub.yaml"), "results/hub/"), ((), "results/digits/")):
        files = plan(project, *arguments).files
        assert len(files) > 5 and all(file.startswith((folder, "checkpoints/")) for file in files)
    assert {"checkpoints/var.pth", "checkpoints/vae.pth"} <= set(plan(project, "--configfile", "hub.yaml").files)


def test_a_run_downloads_to_checkpoints_alone(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "project")
    config = hub_config(revision=REVISION)
    config["models"]["public"]["sha256"] = {"vqvae": "0" * 64, "var": SHA256}
    name = write_config(project, config)
    (tmp_path / "home").mkdir()
    with served() as server:
        for key, value in environment(server, tmp_path / "home").items():
            monkeypatch.setenv(key, value)
        run = snakemake(project, "checkpoints/var.pth", "--configfile", name)
        assert run.code == 0, run.output
        absent = snakemake(project, "checkpoints/vae.pth", "--configfile", name)
        assert absent.code != 0 and "vae.pth: cannot be downloaded" in absent.output, absent.output
        assert "Traceback" not in absent.output
    assert not [path for path in (tmp_path / "home").rglob("*") if "hug" in path.name or "hf" in path.name]
    made = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    logs = {f"results/hub/logs/download/{name}.pth.log" for name in ("var", "vae")}
    new = {path for path in made if path.startswith(("checkpoints", "results"))}
    assert new == {
        "checkpoints/var.pth",
        "results/hub/classifiers.json",
        "results/hub/config.yaml",
        "results/hub/shards.json",
        *logs,
    }
