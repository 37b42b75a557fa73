from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forward import log_prob_per_token

from varc.errors import InputError
from varc.models.architectures import PATCH_NUMS_256
from varc.models.checkpoints import load_var
from varc.models.var import VAR, VARConfig
from varc.models.vqvae import VQVAE, VQVAEConfig
from varc.models.weights import read_card, save_model
from varc.storage import MANIFEST, fixed_size_list, tokens_schema, write_parquet
from varc.training import cca
from varc.training.cca import cca_loss
from varc.training.finetune import check_memory, draw_batch, finetune
from varc.training.finetune_files import finetune_files, finetune_in_processes, own_gpu
from varc.training.loop import Checkpoint
from varc.training.selection import Best, kept_step
from varc.training.validation import Validation, top1

CPU = torch.device("cpu")
SETTINGS = {"steps": 12, "batch_size": 8, "lr": 1e-3, "accumulate": 1, "precision": "float32"}
CCA = SETTINGS | {"beta": 0.2, "lambda": 3.0}
DISCRIMINATIVE = SETTINGS | {"beta": 0.3, "negatives": 2, "gen": 0.5}


def small_models():
    torch.manual_seed(0)
    vqvae = VQVAE(VQVAEConfig((1, 2), 8, (1, 2), 1, 4, 16, 4)).eval().requires_grad_(False)
    var = VAR(VARConfig(1, 16, 2, 4, 16, 4, (1, 2))).eval().requires_grad_(False)
    for p in var.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return vqvae, var


def small_data(images=40, samples=2):
    """Tokens whose first one tells the class, mostly."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, images)
    tokens = rng.integers(0, 16, (samples, images, 5)).astype(np.uint16)
    tokens[:, :, 0] = np.where(rng.random((samples, images)) < 0.7, labels, tokens[:, :, 0])
    return tokens, labels


def run(settings, seed=0, **more):
    vqvae, var = small_models()
    tokens, labels = small_data()
    more = {"report": lambda line: None} | more
    return finetune(var, vqvae.quantize, tokens, labels, settings, seed=seed, device=CPU, **more)


def losses(curve):
    return [row["loss"] for row in curve[1:]]


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_the_first_step_is_the_loss_by_hand():
    tokens, labels = small_data()
    _, _, y, negative, contrast = draw_batch(tokens, labels, 4, 0, CCA, 0)
    assert contrast.any() and (y != negative).any()
    # theta is the reference at first: all gaps are 0, every term is log 2
    second = np.where(contrast, 3.0, 1.0)
    expected = (np.log(2) * (1 + second) / 3.0).mean()
    _, curve = run(CCA)
    assert curve[1]["loss"] == pytest.approx(expected, rel=1e-6)
    assert curve[1]["log_ratio"] == curve[1]["log_ratio_negative"] == 0


def test_the_second_step_is_the_loss_of_the_moved_model():
    """The second loss computed plainly, from the weights after the first step and from the reference."""
    vqvae, reference = small_models()
    tokens, labels = small_data()
    states = []
    settings = CCA | {"steps": 2}
    vq, var = small_models()

    def remember(line):
        states.append({name: t.clone() for name, t in var.state_dict().items()})

    _, curve = finetune(var, vq.quantize, tokens, labels, settings, seed=0, device=CPU, report=remember)
    after_one = VAR(var.config).eval()
    after_one.load_state_dict(states[0])
    image, sample, y, negative, contrast = draw_batch(tokens, labels, 4, 1, settings, 0)
    batch = torch.from_numpy(tokens[sample, image].astype(np.int64))
    teacher_input = vqvae.quantize.teacher_input(batch)

    def gap(label):
        both = [
            log_prob_per_token(m, teacher_input, batch, torch.from_numpy(label)).double().sum(1)
            for m in (after_one, reference)
        ]
        return (both[0] - both[1]).numpy()

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    first = -log_sigmoid(0.2 * gap(y))
    second = np.where(contrast, -3 * log_sigmoid(-0.2 * gap(negative)), -log_sigmoid(0.2 * gap(negative)))
    assert curve[2]["loss"] == pytest.approx(((first + second) / 3).mean(), rel=1e-5)
    assert curve[2]["log_ratio"] == pytest.approx(gap(y).mean(), rel=1e-3)
    assert curve[2]["log_ratio_negative"] == pytest.approx(gap(negative)[contrast].mean(), rel=1e-3)


def test_gradients_are_finite_differences():
    """Of the whole loss, by a bias and by the class embedding; clipping scales them all alike."""
    vqvae, var = small_models()
    tokens, labels = small_data()
    trained, _ = finetune(
        var, vqvae.quantize, tokens, labels, CCA | {"steps": 1}, seed=0, device=CPU, report=lambda line: None
    )
    image, sample, y, negative, contrast = draw_batch(tokens, labels, 4, 0, CCA, 0)
    batch = torch.from_numpy(tokens[sample, image].astype(np.int64))
    teacher_input = vqvae.quantize.teacher_input(batch)
    _, reference = small_models()

    def loss(model):
        gaps = []
        for label in (y, negative):
            both = [log_prob_per_token(m, teacher_input, batch, torch.from_numpy(label)) for m in (model, reference)]
            gaps.append((both[0].double() - both[1].double()).sum(1))
        return cca_loss(*gaps, torch.from_numpy(contrast), 0.2, 3.0).item()

    expected, found = [], []
    for name in ("head.bias", "class_emb.weight"):
        _, moved = small_models()
        parameter = moved.get_parameter(name).data.view(-1)
        for i in range(0, parameter.numel(), 5):
            before, values = parameter[i].item(), []
            for step in (0.01, -0.01):
                parameter[i] = before + step
                values.append(loss(moved))
            parameter[i] = before
            expected.append((values[0] - values[1]) / 0.02)
            found.append(trained.get_parameter(name).grad.view(-1)[i].item())
    expected, found = np.array(expected), np.array(found)
    scale = np.linalg.norm(found) / np.linalg.norm(expected)
    assert scale <= 1.01 and np.abs(found - scale * expected).max() < 0.02 * np.abs(found).max()


def plain_discriminative(var, image, sample, label, others, settings):
    """The loss by autograd as it is written down: each image for itself, one pass per class."""
    vqvae, (tokens, _) = small_models()[0], small_data()
    losses = []
    for i, s, y, negatives in zip(image, sample, label, others, strict=True):
        row = torch.from_numpy(tokens[s, i].astype(np.int64))[None]
        teacher_input = vqvae.quantize.teacher_input(row)
        logits = torch.cat([var(torch.tensor([c]), teacher_input) for c in (y, *negatives)])  # (1 + K, L, V)
        log_prob = logits.double().log_softmax(-1)[:, torch.arange(5), row[0]].sum(1)
        posterior = (settings["beta"] * log_prob).exp()
        losses.append(-(posterior[0] / posterior.sum()).log() - settings["gen"] * log_prob[0] / row.shape[1])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_discriminative_loss_and_its_gradient_are_those_of_a_plain_computation(accumulate):
    tokens, labels = small_data()
    settings = DISCRIMINATIVE | {"accumulate": accumulate, "steps": 1}
    batch = draw_batch(tokens, labels, 4, 0, settings, 0)
    assert batch.negative.shape == (8, 2) and (batch.label == labels[batch.image]).all()
    trained, curve = run(settings)
    var = small_models()[1].requires_grad_(True)
    for others in (batch.negative, batch.negative[:, ::-1]):  # in whichever order they stand
        loss = plain_discriminative(var, batch.image, batch.sample, batch.label, others, settings)
        assert curve[1]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert curve[1]["loss"] == pytest.approx(curve[1]["classification"] + 0.5 * curve[1]["nats_per_token"])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(var.parameters(), 1.0)
    for p, expected in zip(trained.parameters(), var.parameters(), strict=True):
        assert torch.allclose(p.grad, expected.grad, atol=1e-6)


def test_against_all_other_classes_nothing_is_drawn_and_their_numbering_does_not_matter():
    """The exact posterior: the same for every seed's negatives, and for a model whose classes are renamed."""
    vqvae, var = small_models()
    tokens, labels = small_data()
    new = np.array([2, 0, 3, 1])  # class -> its other name
    renamed = small_models()[1]
    renamed.class_emb.weight.data[torch.from_numpy(new)] = var.class_emb.weight[:4]
    settings = DISCRIMINATIVE | {"negatives": 3}
    curves = [
        finetune(model, vqvae.quantize, tokens, y, settings, seed=0, device=CPU, report=lambda line: None)[1]
        for model, y in ((var, labels), (renamed, new[labels]))
    ]
    assert losses(curves[0]) == pytest.approx(losses(curves[1]), rel=1e-5)
    batch = draw_batch(tokens, labels, 4, 0, settings, 0)
    everyone = np.sort(np.column_stack([batch.label, batch.negative]), axis=1)
    assert (everyone == np.arange(4)).all()


def test_the_discriminative_term_tells_classes_apart_at_the_price_of_likelihood():
    tokens, labels = small_data()
    validation = Validation(tokens[0], labels, np.arange(4, dtype=np.int32), 100)
    term = DISCRIMINATIVE | {"beta": 1.0, "gen": 0.0, "negatives": 3}
    ways = {"term": term, "with gen": term | {"gen": 3.0}, "tokens": SETTINGS}
    curves = {name: run(way | {"steps": 100, "lr": 3e-3}, validation=validation)[1] for name, way in ways.items()}
    start, ends = curves["term"][0], {name: curve[-1] for name, curve in curves.items()}
    assert ends["term"]["validation_accuracy"] > start["validation_accuracy"] + 0.3
    assert ends["term"]["classification"] < 0.7 * curves["term"][1]["classification"]
    lost = [ends[name]["validation_nats_per_token"] for name in ("term", "with gen", "tokens")]
    assert lost[0] > max(lost[1:]) + 0.4


def test_more_negatives_than_other_classes_are_refused():
    message = "negatives: 4, but of the images' 4 classes 3 are others than the label; give at most so many"
    with pytest.raises(InputError, match=message):
        run(DISCRIMINATIVE | {"negatives": 4})


def test_cca_parts_the_right_label_from_the_others():
    _, curve = run(CCA | {"steps": 100})
    late = pd.DataFrame(curve).tail(20).mean()
    assert late["log_ratio_negative"] < late["log_ratio"] - 0.5


def test_further_cross_entropy_steps_lower_the_cross_entropy():
    _, curve = run(SETTINGS | {"steps": 100})
    assert np.mean(losses(curve)[-20:]) < 0.95 * np.mean(losses(curve)[:5])
    assert set(curve[1]) == {"step", "lr", "loss"}


def test_micro_batches_change_nothing():
    whole, parts = (run(CCA | {"accumulate": n})[1] for n in (1, 4))
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-5)
    for name in ("log_ratio", "log_ratio_negative"):
        assert [row[name] for row in parts[1:]] == pytest.approx([row[name] for row in whole[1:]], rel=1e-3, abs=1e-6)


def test_the_cache_of_the_reference_changes_nothing(monkeypatch):
    cached = run(CCA)[1]  # 96 pairs of 40 images: some come again
    monkeypatch.setattr(cca, "CACHE_NUMBERS", 0)
    assert losses(run(CCA)[1]) == pytest.approx(losses(cached), rel=1e-6)


def test_a_seed_decides():
    a, b, c = (run(CCA, seed=seed)[0] for seed in (1, 1, 2))
    assert same_weights(a, b) and not same_weights(a, c)


def test_every_image_comes_once_an_epoch():
    tokens, labels = small_data()
    drawn = np.concatenate([draw_batch(tokens, labels, 4, step, CCA, 0)[0] for step in range(10)])
    assert sorted(drawn[:40]) == sorted(drawn[40:]) == list(range(40))
    assert (drawn[:40] != drawn[40:]).any()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("settings", [CCA, DISCRIMINATIVE], ids=["cca", "discriminative"])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(settings, tmp_path, always_saved):
    tokens, labels = small_data()
    validation = Validation(tokens[0], labels, np.arange(4, dtype=np.int32), 3)
    whole, whole_curve = run(settings, validation=validation)
    path = tmp_path / "finetune.checkpoint"

    def kill(line):
        if line.startswith("step 7/"):
            raise KilledError

    with pytest.raises(KilledError):
        run(settings, validation=validation, checkpoint=Checkpoint(path), report=kill)
    lines = []
    again, curve = run(settings, validation=validation, checkpoint=Checkpoint(path), report=lines.append)
    assert lines[0] == "goes on after step 6 of 12"
    assert same_weights(again, whole)
    assert curve == whole_curve


def test_another_training_does_not_go_on_from_the_checkpoint(tmp_path, always_saved):
    path = tmp_path / "finetune.checkpoint"
    run(CCA, checkpoint=Checkpoint(path))
    assert path.exists()
    for settings, seed in ((CCA | {"lambda": 4.0}, 0), (CCA, 1), (DISCRIMINATIVE, 0)):
        fresh = run(settings, seed=seed)
        assert same_weights(run(settings, seed=seed, checkpoint=Checkpoint(path))[0], fresh[0])
    path.write_bytes(path.read_bytes()[:100])
    assert same_weights(run(CCA, checkpoint=Checkpoint(path))[0], run(CCA)[0])


def test_the_weights_of_the_best_validated_step_are_kept():
    tokens, labels = small_data()
    validation = Validation(tokens[0], labels, np.arange(4, dtype=np.int32), 2)
    seen = {}
    vqvae, var = small_models()

    def remember(line):
        if line.startswith("step"):
            step = int(line.split()[1].split("/")[0])
            seen[step] = {name: t.clone() for name, t in var.state_dict().items()}

    model, curve = finetune(
        var,
        vqvae.quantize,
        tokens,
        labels,
        CCA | {"lr": 0.05},
        seed=0,
        device=CPU,
        validation=validation,
        report=remember,
    )
    known = {row["step"]: row["validation_accuracy"] for row in curve if "validation_accuracy" in row}
    assert list(known) == [0, 2, 4, 6, 8, 10, 12]
    assert len(set(known.values())) > 1
    best = max(step for step, value in known.items() if value == max(known.values()))
    expected = seen[best] if best else small_models()[1].state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in model.state_dict().items())
    kept = kept_step(curve, top1)
    assert kept["step"] == best
    batch = torch.from_numpy(tokens[0].astype(np.int64))
    log_prob = log_prob_per_token(model, vqvae.quantize.teacher_input(batch), batch, torch.from_numpy(labels))
    assert kept["validation_nats_per_token"] == pytest.approx(-log_prob.mean().item(), rel=1e-5)


def test_the_last_of_the_best_steps_is_kept_and_its_record_is_none_of_its_weights():
    _, var = small_models()
    best, names = Best(top1), var.state_dict().keys()
    for step, accuracy in ((0, 0.5), (2, 0.75), (4, 0.25), (6, 0.75), (8, 0.5)):
        var.head.bias.data.fill_(step)
        best.offer(var, step, {"validation_accuracy": accuracy})
        assert best.weights.keys() == names
        assert (best.weights["head.bias"] == best.record["step"]).all()
    assert best.record == {"step": 6, "validation_accuracy": 0.75}


def test_bf16_is_near():
    exact, half = run(CCA)[1], run(CCA | {"precision": "bf16"})[1]
    assert losses(half) == pytest.approx(losses(exact), rel=0.05)
    assert losses(half) != losses(exact)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(InputError, match="batch_size 8 is no multiple of accumulate 3 times 1 processes"):
        run(CCA | {"accumulate": 3})


def manifest_of(folder, labels):
    ids = [f"{i:03}" for i in range(len(labels))]
    path = folder / f"manifest{len(labels)}.parquet"
    write_parquet(path, {"image_id": ids, "label": labels, "path": ids, "group": [None] * len(ids)}, MANIFEST, {})
    return str(path)


def tokens_of(folder, images):
    """A file with the clean tokens of some images."""
    ids, sample = [f"{i:03}" for i in range(len(images))], small_data()[0][0, images]
    path = folder / f"tokens_of_{len(images)}.parquet"
    made_with = {"vqvae_sha256": read_card(folder / "vqvae.safetensors")["sha256"]}
    write_parquet(path, {"image_id": ids, "tokens": fixed_size_list(sample)}, tokens_schema(5), made_with)
    return str(path)


def request_files(folder, name, settings):
    """A request as the rule's script makes it."""
    vqvae, var = small_models()
    tokens, labels = small_data()
    save_model(folder / "vqvae.safetensors", vqvae, {})
    save_model(folder / "base.safetensors", var, {})
    made_with = {"vqvae_sha256": read_card(folder / "vqvae.safetensors")["sha256"]}
    manifest = manifest_of(folder, labels)
    ids = [f"{i:03}" for i in range(len(labels))]
    for i, sample in enumerate(tokens):
        columns = {"image_id": ids, "tokens": fixed_size_list(sample)}
        write_parquet(folder / f"tokens{i}.parquet", columns, tokens_schema(5), made_with)
    (folder / name).mkdir()
    return {
        "settings": settings | {"samples": 2},
        "seed": 0,
        "device": "cpu",
        "threads": 1,
        "manifest": manifest,
        "tokens": [str(folder / f"tokens{i}.parquet") for i in range(2)],
        "validation": {
            "manifest": manifest,
            "tokens": [str(folder / "tokens0.parquet")],
            "class_ids": [0, 1, 2, 3],
            "every": 4,
            "images": None,
        },
        "vqvae": str(folder / "vqvae.safetensors"),
        "vqvae_checkpoint": None,
        "var": str(folder / "base.safetensors"),
        "var_checkpoint": None,
        "weights": str(folder / name / "var.safetensors"),
        "curve": str(folder / name / "curve.csv"),
        "plot": str(folder / name / "curve.svg"),
        "checkpoint": str(folder / name / "finetune.checkpoint"),
    }


def same_ends(alone, together):
    """Whether two requests ended alike: curves, with the validations, and weights."""
    curves = [pd.read_csv(request["curve"]) for request in (alone, together)]
    exact = [curve["validation_accuracy"].dropna().tolist() for curve in curves]
    assert exact[0] == exact[1] and len(exact[0]) > 1  # counts of images, whoever counts them
    assert np.allclose(curves[0], curves[1], rtol=1e-4, atol=1e-5, equal_nan=True)
    models = [load_var(request["weights"])[0] for request in (alone, together)]
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert not Path(together["checkpoint"]).exists()
    return exact[0]


def test_two_processes_have_the_curve_of_one(tmp_path):
    """Also where each takes its share in two micro-batches."""
    alone = request_files(tmp_path, "alone", CCA)
    finetune_files(alone, lambda line: None)
    together = request_files(tmp_path, "together", CCA | {"accumulate": 2})
    lines = []
    finetune_in_processes(together, 2, lines.append)
    same_ends(alone, together)
    card = load_var(together["weights"])[1]
    rows = pd.read_csv(together["curve"]).dropna(subset="validation_accuracy").set_index("step")
    kept = card["kept"]
    figures = rows.loc[kept["step"], ["validation_accuracy", "validation_nats_per_token"]]
    assert kept == pytest.approx({"step": kept["step"], **figures}, rel=1e-5)
    assert kept["validation_accuracy"] == rows["validation_accuracy"].max()
    assert card["processes"] == 2 and card["finetuned_from"] == load_var(tmp_path / "base.safetensors")[1]["sha256"]
    assert [line.split(",")[0] for line in lines if line.startswith("step")] == [f"step {i}/12" for i in range(1, 13)]


def test_bf16_is_refused_where_the_processor_lacks_it(tmp_path, monkeypatch):
    """As a job: arithmetic that is emulated takes many times as long."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    request = request_files(tmp_path, "half", CCA | {"precision": "bf16"})
    with pytest.raises(InputError, match="precision: bf16: this cpu has no bfloat16"):
        finetune_files(request, lambda line: None)
    assert not Path(request["weights"]).exists()


def test_two_processes_share_the_negatives_of_one(tmp_path):
    alone = request_files(tmp_path, "alone", DISCRIMINATIVE)
    finetune_files(alone, lambda line: None)
    together = request_files(tmp_path, "together", DISCRIMINATIVE | {"accumulate": 2})
    finetune_in_processes(together, 2, lambda line: None)
    same_ends(alone, together)


def test_two_processes_go_on_from_a_killed_one_and_keep_its_best_step(tmp_path, always_saved):
    """The best step comes before the kill, and the validation set has fewer images than there are processes."""
    settings = CCA | {"lr": 0.02}
    alone, together = (request_files(tmp_path, name, settings) for name in ("alone", "together"))
    for request in (alone, together):
        request["validation"] |= {"manifest": manifest_of(tmp_path, [1]), "tokens": [tokens_of(tmp_path, [33])]}
        request["validation"]["every"] = 1
    finetune_files(alone, lambda line: None)

    def kill(line):
        if line.startswith("step 9/"):
            raise KilledError

    with pytest.raises(KilledError):
        finetune_files(together, kill)
    lines = []
    finetune_in_processes(together, 2, lines.append)
    assert next(line for line in lines if line.startswith("step")).startswith("step 9/12")
    found = same_ends(alone, together)
    best = max(step for step, value in enumerate(found) if value == max(found))
    assert 0 < best < 8, found


def test_the_first_failure_of_several_processes_is_one_line(tmp_path):
    request = request_files(tmp_path, "together", CCA | {"batch_size": 9})
    with pytest.raises(InputError, match="batch_size 9 is no multiple of accumulate 1 times 2 processes"):
        finetune_in_processes(request, 2, lambda line: None)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_gpu(3, 4) == torch.device("cuda", 3)
    with pytest.raises(InputError, match=r"processes: 8, but this node gives 4 GPUs; .* finetune:gpu=8"):
        own_gpu(3, 8)


def test_a_step_that_a_gpu_cannot_hold_is_refused_before_the_first(monkeypatch):
    config = VARConfig(16, 1024, 16, 1000, 4096, 32, PATCH_NUMS_256)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 80 * 2**30))
    settings = CCA | {"accumulate": 1}
    message = r"accumulate 1, precision float32: 64 images at a time take 13\d\.\d GiB, and the GPU has 80\.0; raise"
    with pytest.raises(InputError, match=message):
        check_memory(config, settings, 64, torch.device("cuda"))
    check_memory(config, settings, 32, torch.device("cuda"))
    check_memory(config, settings, 64, CPU)
