"""What faults do to a run: `make test-faults`. Prints a table; ends with status 1 where a promise was broken.

Each fault hits the small study of study.yaml, and then the same command goes on. Its tables must be those of an
undisturbed run but for measured times, and no job that had finished may run again. With the same --seed, the same
faults come in the same order; at which instant they hit depends on the machine.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from study import COMMAND, PATIENCE, Study

from varc.errors import InputError
from varc.storage import read_parquet

KILLS = 20
EVENT = r"^(Finished jobid|(local)?rule)"  # a line of snakemake's output at which a job starts or ends
SCORES = "scores/base/digits/all/scales2/clean/0.parquet"
SECOND = "scores/base/digits/2x1-keep5/scales4"
TARGETS = {  # files after which a study counts as come to a rule
    "encode": ["features/base/digits/0.parquet", "features/base/digits/1.parquet"],
    "score": [f"{SECOND}/{noise}/{shard}.parquet" for noise in ("clean", "sigma0.1-1") for shard in (0, 1)]
    + [f"scores/cca/digits/all/scales4/clean/{shard}.parquet" for shard in (0, 1)],
}
TERMINATED = ("tokens/base/digits/clean/1.parquet", "models/base/var.safetensors", SCORES, "tables/accuracy.csv")


class Skipped(Exception):
    """A fault that cannot be made here, and why."""


def kill_controller(run, rng):
    """SIGKILL of snakemake; half the time its orphaned jobs still run when the next run starts."""
    alive = run.process.poll() is None
    orphans = run.kill()
    if rng.random() < 0.5:
        for orphan in orphans:
            orphan.wait(PATIENCE)
    return alive


def kill_job(run, rng):
    """SIGKILL of the process of a running job, if there is one just now."""
    found = run.scripts()
    if found:
        with suppress(psutil.NoSuchProcess):
            rng.choice(found).kill()
            return True
    return False


def random_kills(new, rng, kill):
    """Kills at random moments, until there were enough; each study ends undisturbed in the end."""
    times = 0
    while times < KILLS // 2:
        study = new()
        while True:
            run = study.start()
            hit = times < KILLS // 2 and run.wait_for(EVENT, rng.randint(1, 12))
            if hit:
                time.sleep(rng.random())
                times += kill(run, rng)
            output = study.end(run)
            if "--unlock" in output:
                subprocess.run([*COMMAND, "--unlock"], cwd=study.folder, capture_output=True, check=True)
            elif not hit:
                assert run.process.returncode == 0, output
                break
        yield study, times


def killed_controllers(new, rng):
    yield from random_kills(new, rng, kill_controller)


def killed_jobs(new, rng):
    yield from random_kills(new, rng, kill_job)


def terminated_writes(new, rng):
    """SIGTERM of a job whose output is half written."""
    study = new()
    for i, target in enumerate(TERMINATED):
        done = study.folder.parent / f"terminated{i}"
        environment = {
            "PYTHONPATH": f"{Path(__file__).parent / 'inject'}:{study.folder}",
            "VARC_TERM": target,
            "VARC_TERM_DONE": str(done),
        }
        study.end(study.start(environment=environment), code=1)
        assert done.exists() and not (study.results / target).exists()
    study.go_on()
    yield study, len(TERMINATED)


def halve(content, rng):
    return content[: len(content) // 2]


def flip(content, rng):
    """Bits of a byte in the first half, where the columns lie."""
    at = rng.randrange(4, len(content) // 2)
    return content[:at] + bytes([content[at] ^ rng.randrange(1, 256)]) + content[at + 1 :]


def readable(path):
    try:
        return read_parquet(path, ["image_id", "class_id", "log_likelihood"]) is not None
    except InputError:
        return False


def damaged_files(new, rng, damage, times):
    """A Parquet file that is damaged between two runs, and keeps its time stamp, so that Snakemake sees nothing."""
    for done in range(1, times + 1):
        study = new("score")
        path = rng.choice(sorted((study.results / "scores").rglob("*.parquet")))
        whole, stat = path.read_bytes(), path.stat()
        while readable(path):  # a byte of a column that nobody reads does no harm
            path.write_bytes(damage(whole, rng))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        output = study.end(study.start(), code=1)
        assert f"{path.relative_to(study.folder)}: damaged" in output, output
        study.forget(path)
        study.go_on()
        yield study, done


def halved_files(new, rng):
    yield from damaged_files(new, rng, halve, 2)


def flipped_files(new, rng):
    yield from damaged_files(new, rng, flip, 4)


@contextmanager
def small_disk(folder):
    """A tmpfs of 8 MB in place of a folder, with what that held."""
    if os.geteuid():
        raise Skipped("needs root, to mount a small disk")
    held = folder.rename(folder.with_name("held"))
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "varc", folder], capture_output=True, text=True)
    if mounted.returncode:
        raise Skipped(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(held, folder, dirs_exist_ok=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path):
    """Writes a file until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        try:
            while file.write(b"0" * 4096):
                pass
        except OSError:
            return


def full_disk(new, rng):
    study = new("encode")
    with small_disk(study.folder / "results") as disk:
        fill(disk / "filler")
        output = study.end(study.start(), code=1)
        assert "cannot be written" in output and "No space left on device" in output, output
        assert "Traceback" not in output, output
        (disk / "filler").unlink()
        study.go_on()
        yield study, 1


@contextmanager
def read_only(folder):
    """A folder that takes no writes: by a mount of its own where root would pass over its permissions."""
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    for options in (["--bind", folder, folder], ["-o", "remount,ro,bind", folder]):
        done = subprocess.run(["mount", *options], capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f"no folder can be made read-only here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def read_only_results(new, rng):
    study = new("encode")
    with read_only(study.results):
        output = study.end(study.start(), code=1)
        assert "results/faults: cannot be written" in output, output
        assert "Traceback" not in output, output
    study.go_on()
    yield study, 1


def missing_weights(new, rng):
    """Weights that go away while jobs need them, and come back."""
    study = new()
    run = study.start()
    assert run.wait_for("^(local)?rule score:")
    weights = study.results / "models/base/var.safetensors"
    away = study.folder.parent / f"{study.folder.name}.away"
    os.rename(weights, away)
    output = study.end(run, code=1)
    assert "models/base/var.safetensors" in output and "Traceback" not in output, output
    os.rename(away, weights)
    study.go_on()
    yield study, 1


def two_controllers(new, rng):
    """A second run in the same folder, while the first one works."""
    study = new()
    run = study.start()
    for _ in range(3):
        assert run.wait_for(EVENT, rng.randint(2, 12))
        output = study.end(study.start(), code=1)
        assert "locked" in output.lower(), output
    study.end(run, code=0)
    yield study, 3


FAULTS = {
    "SIGKILL of the controller": killed_controllers,
    "SIGKILL of a job": killed_jobs,
    "SIGTERM in the middle of a write": terminated_writes,
    "a Parquet file cut in half": halved_files,
    "a Parquet file with a flipped byte": flipped_files,
    "a full disk": full_disk,
    "a read-only results folder": read_only_results,
    "weights missing in mid-run": missing_weights,
    "two controllers at once": two_controllers,
}


class Studies:
    """Studies in folders below one: fresh ones, and copies of those that have come to a certain rule."""

    def __init__(self, folder):
        self.folder, self.all, self.prepared = folder, [], {}

    def new(self, until=None):
        folder = self.folder / f"study{len(self.all)}"
        self.all.append(self.until(until).copy(folder) if until else Study(folder))
        return self.all[-1]

    def until(self, rule):
        if rule not in self.prepared:
            study = self.prepared[rule] = Study(self.folder / f"until_{rule}")
            study.end(study.start("--", *(f"results/faults/{target}" for target in TARGETS[rule])), code=0)
        return self.prepared[rule]


def try_fault(name, studies, expected, seed):
    """A row of the table: the fault, how often it came, lost and repeated jobs, and what came of it."""
    before, times, outcome = len(studies.all), 0, "equal"

    try:
        for study, times in FAULTS[name](studies.new, random.Random(f"{seed} {name}")):  # noqa: B007
            study.check(expected)
    except Skipped as reason:
        outcome = f"skipped: {reason}"
    except Exception:
        traceback.print_exc()
        outcome = "BROKEN"
    lost, repeated = (sum(getattr(study, what) for study in studies.all[before:]) for what in ("lost", "repeated"))
    return [name, str(times), str(lost), str(repeated), outcome]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=[""], help="faults whose name holds a text")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the studies")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="varc-faults-"))
    undisturbed = Study(folder / "undisturbed")
    undisturbed.end(undisturbed.start(), code=0)
    expected, studies = undisturbed.tables(), Studies(folder)
    rows = [["fault", "times", "jobs lost", "jobs repeated", "tables"], ["---"] * 5]
    for name in FAULTS:
        if any(text in name for text in arguments.only):
            rows.append(try_fault(name, studies, expected, arguments.seed))
            print(f"| {' | '.join(rows[-1])} |", flush=True)
    print(f"\n{len(undisturbed.finished)} jobs a run, seed {arguments.seed}\n")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    if not arguments.keep:
        shutil.rmtree(folder)
    sys.exit(any(row[-1] == "BROKEN" for row in rows))


if __name__ == "__main__":
    main()
