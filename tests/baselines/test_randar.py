import math
from dataclasses import replace

import any_order
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from varc.baselines.any_order import AnyOrder, AnyOrderConfig, Past, pair_log_prob, pass_gflops, position_tables
from varc.baselines.chunks import COPIES, Chunks
from varc.baselines.family import Earlier, Images, seeded
from varc.baselines.randar import (
    Adaptive,
    Sample,
    Scoring,
    Shape,
    Training,
    build,
    cost,
    draw_order,
    load_public,
    score,
    score_adaptive,
    score_sample,
    step_costs,
    tokens_of,
    train,
)
from varc.baselines.settings.randar import check_shape, check_stages, full, samples, spelled
from varc.baselines.vq import VQ, VQConfig, features_gflops
from varc.costs.counting import FeatureExtractor, count
from varc.data.tensors import to_input
from varc.errors import InputError
from varc.metrics.frontier import adaptive_gflops
from varc.models.weights import misfits
from varc.scoring.adaptive import AdaptiveScores, simulate

RANDAR_L = Shape(256, 24, 1024, 16, 16384, (1, 1, 2, 2, 4), 256)
SHAPE = Shape(image_size=8, depth=2, width=16, heads=2, vocab_size=32, ch_mult=(1, 1), z_channels=8, ch=32)
CLASSES = np.arange(5, dtype=np.int32)


def random_model():
    """A small model whose scores depend on everything."""
    model = seeded(build, SHAPE, 5, 0).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.gpt.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def images(count, seed=0):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return Images(pixels, np.array([f"image:{i}" for i in range(count)], dtype=object), seed)


def some(found, which):
    return Images(found.pixels[which], found.image_ids[which], found.seed)


def all_of(count):
    return np.tile(CLASSES, (count, 1))


def test_features_and_tokens_are_the_public_codes():
    reference, model = any_order.reference(), any_order.model()
    with torch.inference_mode():
        features = model.vq.features(to_input(reference["images"]))
    assert np.abs(features.numpy() - reference["h"]).max() < 1e-4
    assert (tokens_of(model, reference["images"]) == reference["tokens"]).all()


@pytest.mark.parametrize("order", range(4))
def test_log_probabilities_of_every_token_are_the_public_codes(order):
    reference, gpt = any_order.reference(), any_order.model().gpt
    orders = torch.from_numpy(reference["orders"][[order] * 3]).long()
    tokens = torch.from_numpy(reference["tokens"]).long().gather(1, orders)
    image, labels = torch.arange(3).repeat_interleave(9), torch.arange(9).repeat(3)
    expected = reference["log_prob_per_token"][:, order]
    with torch.inference_mode():
        found = pair_log_prob(gpt, position_tables(gpt), tokens, orders, image, labels, (0, 64)).view(3, 9, 64)
        logits = gpt(tokens[image], orders[image], labels)[:, 1::2]
    assert np.abs(found.numpy() - expected).max() < 1e-3
    plain = logits.log_softmax(-1).gather(2, tokens[image][..., None])[..., 0].view(3, 9, 64)
    assert np.abs(plain.numpy() - expected).max() < 1e-3


def test_the_raster_order_is_the_public_codes_plain_classifier():
    reference = any_order.reference()
    given = Images(reference["images"], np.array(["a", "b", "c"], dtype=object), 0)
    candidates = np.tile(np.arange(8, dtype=np.int32), (3, 1))
    found = score(any_order.model(), given, candidates, Scoring(order="raster"), None)
    expected = reference["log_prob_per_token"][:, 0, :8].astype(float).sum(-1)
    assert np.abs(found - expected).max() < 64e-3
    part = score(any_order.model(), given, candidates, Scoring(order="raster", tokens=10), None)
    assert np.abs(part - reference["log_prob_per_token"][:, 0, :8, :10].astype(float).sum(-1)).max() < 10e-3


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("spans", [[(0, 1), (1, 64)], [(0, 5), (5, 6), (6, 40), (40, 64)]])
def test_a_span_goes_on_from_the_keys_and_values_of_those_before(spans, single):
    """Also for the candidates that are left of all."""
    gpt = any_order.model().gpt
    orders = torch.randperm(64, generator=torch.Generator().manual_seed(0))[None]
    tokens = torch.from_numpy(any_order.reference()["tokens"][:1]).long().gather(1, orders)
    labels = torch.arange(1 if single else 9)
    image, tables = torch.zeros_like(labels), position_tables(gpt)
    with torch.inference_mode():
        whole = pair_log_prob(gpt, tables, tokens, orders, image, labels, (0, 64))
        past = Past([])
        for first, end in spans:
            found = pair_log_prob(gpt, tables, tokens, orders, image, labels, (first, end), past)
            assert (found - whole[:, first:end]).abs().max() < 1e-4
            if not single and len(labels) > 4:
                labels, image, whole = labels[::2], image[::2], whole[::2]
                past = Past([block[:, ::2] for block in past.blocks])


def test_scores_by_a_plain_loop_over_classes_and_orders():
    model, given = random_model(), images(2)
    found = score(model, given, all_of(2), Scoring(orders=3), None)
    tokens = torch.from_numpy(tokens_of(model, given.pixels))
    assert tokens.shape == (2, 16) and len(tokens.unique()) > 4
    for i in range(2):
        for c in CLASSES:
            total = 0.0
            for j in range(3):
                order = torch.from_numpy(draw_order(f"image:{i}", j, 0, 16))[None]
                own = tokens[i][order]
                with torch.inference_mode():
                    log_prob = model.gpt(own, order, torch.tensor([int(c)]))[0, 1::2].log_softmax(-1)
                total += log_prob.gather(1, own[0][:, None]).sum().item()
            assert found[i, c] == pytest.approx(total / 3, abs=1e-3)


def test_orders_are_drawn_per_image_number_and_seed():
    first = draw_order("a", 0, 0, 16)
    assert sorted(first) == list(range(16))
    assert (first == draw_order("a", 0, 0, 16)).all()
    assert (draw_order("a", None, 0, 16) == np.arange(16)).all()
    for other in (draw_order("b", 0, 0, 16), draw_order("a", 1, 0, 16), draw_order("a", 0, 1, 16)):
        assert (other != first).any()


def test_scores_depend_on_neither_batch_nor_order(monkeypatch):
    model, given = random_model(), images(3)
    whole = score(model, given, all_of(3), Scoring(orders=2), None)
    assert np.ptp(whole, axis=1).min() > 0.1
    turned = score(model, some(given, [2, 1, 0]), all_of(3)[:, ::-1].copy(), Scoring(orders=2), None)
    assert np.allclose(turned[::-1, ::-1], whole, atol=1e-4)
    few = score(model, some(given, [1]), np.array([[3, 1]], np.int32), Scoring(orders=2), None)
    assert np.allclose(few[0], whole[1, [3, 1]], atol=1e-4)
    for size in (1, 2, 7):
        monkeypatch.setattr("varc.baselines.randar.pairs_per_batch", lambda *_, size=size: size)
        assert np.allclose(score(model, given, all_of(3), Scoring(orders=2), None), whole, atol=1e-4)
    assert not np.allclose(score(model, images(3, seed=1), all_of(3), Scoring(orders=2), None), whole, atol=1e-3)
    nothing = score(model, some(given, []), all_of(0), Scoring(orders=2), None)
    assert nothing.shape == (0, 5)


def test_the_first_tokens_are_a_part_of_all():
    model, given = random_model(), images(2)
    short, whole = (score_sample(model, given, all_of(2), Sample(1, tokens))[..., 0] for tokens in (4, None))
    assert (short > whole).all()
    assert np.array_equal(score_sample(model, given, all_of(2), Sample(1, 16))[..., 0], whole)
    tokens = tokens_of(model, given.pixels)
    order = torch.from_numpy(draw_order("image:0", 1, 0, 16))[None]
    own = torch.from_numpy(tokens[:1]).gather(1, order)
    own[:, 4:] = 0  # what follows is not looked at
    with torch.inference_mode():
        tables = position_tables(model.gpt)
        image, labels = torch.zeros(5, dtype=torch.long), torch.arange(5)
        found = pair_log_prob(model.gpt, tables, own, order, image, labels, (0, 4)).double().sum(1)
    assert np.allclose(found.numpy(), short[0], atol=1e-4)


@pytest.mark.parametrize("chunk", [3, 5, 16])
def test_chunks_of_an_order_add_up_to_it(chunk):
    model, given = random_model(), images(2)
    found = score_sample(model, given, all_of(2), Sample(0, None, chunk))
    assert found.shape == (2, 5, math.ceil(16 / chunk))
    for k in range(found.shape[2]):
        prefix = score_sample(model, given, all_of(2), Sample(0, min(16, (k + 1) * chunk)))[..., 0]
        assert np.allclose(found[..., : k + 1].sum(2), prefix, atol=1e-4)
    part = score_sample(model, given, all_of(2), Sample(0, 4, 3))
    assert np.allclose(part.sum(2), score_sample(model, given, all_of(2), Sample(0, 4))[..., 0], atol=1e-4)


def full_scores(model, given, adaptive, candidates):
    """By chunks of the first order (N, M, K), and of the others (T - 1, N, M), as files of all classes have them."""
    first, *others = (score_sample(model, given, candidates, one) for one in samples(full(adaptive)).values())
    return first, np.array([found[..., 0] for found in others]).reshape(len(others), *candidates.shape)


ADAPTIVE = Adaptive(chunk=5, orders=4)


@pytest.mark.parametrize("adaptive", [ADAPTIVE, Adaptive(chunk=16), Adaptive(chunk=7, order="raster")])
def test_where_nothing_is_dropped_the_adaptive_stage_gives_the_full_scores(adaptive):
    model, given = random_model(), images(3)
    first, others = full_scores(model, given, adaptive, all_of(3))
    found = score_adaptive(model, given, all_of(3), np.full(first.shape[2], np.inf), adaptive)
    assert (found.steps == first.shape[2]).all() and found.samples.min() >= 1
    assert np.abs(found.per_step - first).max() < 1e-5 * np.abs(first).max()
    so_far = np.concatenate([first.sum(2)[None], others]).cumsum(0)
    expected = np.take_along_axis(so_far, found.samples[None].astype(int) - 1, 0)[0] / found.samples
    assert np.abs(found.log_likelihood - expected).max() < 1e-5 * np.abs(expected).max()
    if adaptive.orders == 1:
        assert np.allclose(expected, score(model, given, all_of(3), full(adaptive), None), atol=1e-4)


def dropping(first, share=0.6):
    """Thresholds that drop some candidates after every chunk."""
    so_far = first.cumsum(2)
    return np.quantile(so_far.max(1, keepdims=True) - so_far, share, axis=(0, 1))


def agree(found, expected):
    assert (found.steps == expected.steps).all() and (found.samples == expected.samples).all()
    assert np.nanmax(np.abs(found.per_step - expected.per_step)) < 1e-3
    assert np.array_equal(np.isnan(found.per_step), np.isnan(expected.per_step))
    assert np.abs(found.log_likelihood - expected.log_likelihood).max() < 1e-3


def test_the_adaptive_stage_does_what_the_simulation_says():
    """Also in other batches, in another order of classes and images, and for some images alone."""
    model, given = random_model(), images(4)
    first, others = full_scores(model, given, ADAPTIVE, all_of(4))
    thresholds = dropping(first)
    expected = simulate(first, others, thresholds)
    assert len(np.unique(expected.steps)) > 2 and expected.samples.max() > 1
    agree(score_adaptive(model, given, all_of(4), thresholds, ADAPTIVE), expected)
    turned = score_adaptive(model, some(given, [3, 2, 1, 0]), all_of(4)[:, ::-1].copy(), thresholds, ADAPTIVE)
    agree(AdaptiveScores(*(part[::-1, ::-1] for part in turned)), expected)
    two = score_adaptive(model, some(given, [1, 3]), all_of(2), thresholds, ADAPTIVE)
    agree(two, AdaptiveScores(*(part[[1, 3]] for part in expected)))


@pytest.mark.parametrize("pairs", [12, 4, 0.5])  # whose keys and values of a whole order there is memory for
def test_less_memory_changes_no_result_of_an_adaptive_stage(pairs, monkeypatch):
    model, given = random_model(), images(4)
    first, others = full_scores(model, given, ADAPTIVE, all_of(4))
    thresholds = dropping(first, 0.8)
    memory = int(pairs * 4 * SHAPE.width * (2 * SHAPE.depth * 2 * 16 + COPIES * 2))
    monkeypatch.setattr("varc.scoring.stepwise.budget", lambda device, free: (memory, memory))
    begun = []
    monkeypatch.setattr(Chunks, "begin", lambda *args, begin=Chunks.begin: begun.append(args[1:]) or begin(*args))
    agree(score_adaptive(model, given, all_of(4), thresholds, ADAPTIVE), simulate(first, others, thresholds))
    assert len(begun) > 1


def test_a_candidate_that_was_dropped_is_not_computed_again(monkeypatch):
    """Pairs and tokens that pass through the transformer are those that the costs count."""
    model, given = random_model(), images(4)
    first, _ = full_scores(model, given, ADAPTIVE, all_of(4))
    thresholds, seen = dropping(first), []

    def counted(gpt, tables, tokens, orders, image, labels, span, past=None):
        seen.append(len(labels) * (span[1] - span[0]))
        return pair_log_prob(gpt, tables, tokens, orders, image, labels, span, past)

    for module in ("chunks", "randar"):
        monkeypatch.setattr(f"varc.baselines.{module}.pair_log_prob", counted)
    found = score_adaptive(model, given, all_of(4), thresholds, ADAPTIVE)
    ends = np.array([0, 5, 10, 15, 16])
    assert sum(seen) == ends[found.steps].sum() + 16 * np.maximum(found.samples - 1, 0).sum()
    assert sum(seen) < 4 * 5 * 16 * 4 / 2
    costs = step_costs(SHAPE, 5, ADAPTIVE)
    assert [costs.passes[k].gflops for k in (1, 2, 3, 4)] == [
        pytest.approx((1 + 2 * n) / 33 * costs.passes[4].gflops) for n in (5, 10, 15, 16)
    ]
    passed = ends[found.steps] + 16 * np.maximum(found.samples - 1, 0)
    begun = np.where(found.samples > 0, found.samples, 1)
    one = costs.passes[4].gflops / 33
    assert adaptive_gflops(found, costs).sum() == pytest.approx(one * (2 * passed + begun).sum())


@pytest.mark.parametrize("combine", ["mean", "softmax", "logsumexp"])
def test_two_stages_are_one_stage_of_all_orders(combine):
    model, given = random_model(), images(2)
    first = score(model, given, all_of(2), Scoring(orders=2, combine=combine), None)
    kept = np.array([[0, 3], [1, 2]], np.int32)
    earlier = Earlier(Scoring(orders=2, combine=combine), np.take_along_axis(first, kept, 1))
    both = score(model, given, kept, Scoring(orders=5, combine=combine), earlier)
    assert np.allclose(both, score(model, given, kept, Scoring(orders=5, combine=combine), None), atol=1e-4)


def test_a_stage_of_other_tokens_begins_anew():
    model, given = random_model(), images(1)
    earlier = Earlier(Scoring(tokens=4), score(model, given, all_of(1), Scoring(tokens=4), None))
    found = score(model, given, all_of(1), Scoring(orders=2), earlier)
    assert np.allclose(found, score(model, given, all_of(1), Scoring(orders=2), None), atol=1e-5)
    assert cost(SHAPE, 5, Scoring(orders=2), 5, Scoring(tokens=4)).passes == 10
    assert cost(SHAPE, 5, Scoring(orders=2), 5, Scoring(orders=1)).passes == 5


def test_costs_are_those_of_the_public_model():
    one = cost(RANDAR_L, 1000, Scoring(), 1, None).gflops - 69.439
    assert one == pytest.approx(166.755, abs=1e-3)
    assert cost(RANDAR_L, 1000, Scoring(orders=20), 100, None).gflops == pytest.approx(333_580, abs=1)
    for n in (1, 32, 255):
        again = cost(RANDAR_L, 1000, Scoring(tokens=n), 1, Scoring())
        assert again.gflops == pytest.approx((1 + 2 * n) / 513 * 166.755041280)


def test_closed_forms_are_what_fvcore_counts():
    """The transformer at the public width and one, then two blocks; the encoder at the public width, on 64 px."""
    for depth in (1, 2):
        config = AnyOrderConfig(depth, 1024, 16, 16384, 1000, 16)
        with torch.device("meta"):
            model = AnyOrder(config).eval()
        for n in (256, 3):
            whole = torch.zeros(1, n, dtype=torch.int64, device="meta")
            counted = count(model, whole, whole, whole[:, 0])
            assert counted.gflops * 1e9 == pass_gflops(config, n) * 1e9
    full = cost(RANDAR_L, 1000, Scoring(), 1, Scoring(tokens=1))
    assert full.attention_gflops / 12 == pytest.approx(counted_attention(2))
    with torch.no_grad():
        found = count(FeatureExtractor(VQ(VQConfig()).eval().bfloat16()), torch.zeros(1, 3, 64, 64).bfloat16())
    assert features_gflops(VQConfig(), 64) == pytest.approx(found.gflops)
    assert features_gflops(VQConfig(), 256) == pytest.approx(69.439, abs=1e-3)


def counted_attention(depth):
    """GFLOPs of attention products of a pass over all tokens at the public width, by fvcore."""
    with torch.device("meta"):
        model = AnyOrder(AnyOrderConfig(depth, 1024, 16, 16384, 1000, 16)).eval()
        whole = torch.zeros(1, 256, dtype=torch.int64)
        return count(model, whole, whole, whole[:, 0]).attention_gflops


@pytest.mark.parametrize(("name", "part"), [("randar_l_0.3b", "gpt"), ("randar_xl_0.7b", "gpt"), ("vq_ds16_c2i", "vq")])
def test_every_public_key_list_fits(name, part):
    shape = replace(RANDAR_L, depth=36, width=1280, heads=20) if "xl" in name else RANDAR_L
    with torch.device("meta"):
        model = getattr(build(shape, 1000), part)
        found = {key: torch.empty(size) for key, size in any_order.public_keys(name).items()}
    assert misfits(model.state_dict(), found) == []
    numbers = {"randar_l_0.3b": 342_912_000, "randar_xl_0.7b": 774_700_800, "vq_ds16_c2i": 71_883_403}
    assert sum(parameter.numel() for parameter in model.parameters()) == numbers[name]


def write(folder, how):
    """The reference's weights as files; their paths by their parts."""
    suffix = ".safetensors" if how == "safetensors" else ".pt"
    paths = {part: str(folder / f"{part}{suffix}") for part in ("vq", "gpt")}
    for part, state in any_order.states().items():
        if how == "safetensors":
            save_file(state, paths[part])
        else:
            torch.save({"model": state} if how == "nested" else state, paths[part])
    return paths


def reference_shape():
    given = any_order.shape()
    return Shape(**{**given, "ch_mult": tuple(given["ch_mult"])})


@pytest.mark.parametrize("how", ["bare", "nested", "safetensors"])
def test_public_weights_are_those_in_the_files(tmp_path, how):
    loaded = load_public(write(tmp_path, how), reference_shape(), 8)
    assert not any(parameter.is_meta for parameter in loaded.state_dict().values())
    for name, tensor in any_order.model().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    given = Images(any_order.reference()["images"][:1], np.array(["a"], dtype=object), 0)
    some_classes = np.array([[0, 3]], np.int32)
    assert np.array_equal(
        score(loaded, given, some_classes, Scoring(), None),
        score(any_order.model(), given, some_classes, Scoring(), None),
    )


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("gpt", lambda state: state.pop("output.weight"), "gpt.pt: 1 keys do not fit .* missing output.weight"),
        ("gpt", lambda state: state.update(more=torch.zeros(1)), "gpt.pt: 1 keys do not fit .* unexpected more"),
        ("gpt", lambda state: state["norm.weight"].fill_(math.nan), "gpt.pt: 1 tensors hold NaN .* norm.weight"),
        ("gpt", lambda state: state.update({"norm.weight": torch.ones(3)}), r"norm.weight is \(3,\), expected \(64,\)"),
        ("vq", lambda state: state.pop("quant_conv.bias"), "vq.pt: 1 keys do not fit .* missing quant_conv.bias"),
    ],
)
def test_public_weights_with_a_bad_tensor_are_refused(tmp_path, part, change, message):
    paths = write(tmp_path, "bare")
    state = any_order.states()[part]
    change(state)
    torch.save(state, paths[part])
    with pytest.raises(InputError, match=message):
        load_public(paths, reference_shape(), 8)


def test_weights_of_another_shape_or_a_pickle_that_runs_code_are_refused(tmp_path):
    paths = write(tmp_path, "bare")
    with pytest.raises(InputError, match=r"gpt.pt: \d+ keys do not fit the architecture: missing layers.2"):
        load_public(paths, replace(reference_shape(), depth=3), 8)
    with pytest.raises(InputError, match=r"embedding_table.weight is \(9, 64\), expected \(8, 64\)"):
        load_public(paths, reference_shape(), 7)
    torch.save({"model": print}, paths["gpt"])
    with pytest.raises(InputError, match=r"gpt\.pt: refused, since it is no plain file of tensors"):
        load_public(paths, reference_shape(), 8)
    state = any_order.states()["vq"]
    del state["quantize.codebook_used"]  # which scores nothing
    torch.save(state, paths["vq"])
    torch.save(any_order.states()["gpt"], paths["gpt"])
    load_public(paths, reference_shape(), 8)


def test_names_of_stages_and_orders():
    assert list(samples(Scoring(orders=2, tokens=32))) == ["order0-tokens32", "order1-tokens32"]
    assert list(samples(Scoring(order="raster"))) == ["raster"]
    assert spelled(Scoring(orders=20, combine="softmax")) == "orders20-softmax"
    assert spelled(Scoring(order="raster", tokens=8)) == "raster-tokens8"
    assert list(samples(full(Adaptive(16, 3)))) == ["order0-chunk16", "order1", "order2"]
    assert list(samples(Scoring(order="raster", tokens=8, chunk=2))) == ["raster-tokens8-chunk2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 9}, "image_size is 9"),
        ({"width": 20}, "width is 20"),
        ({"ch": 24}, "ch 24 x ch_mult 1"),
    ],
)
def test_shapes_that_no_model_can_have_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_shape(replace(SHAPE, **changes))


def test_stages_that_cannot_be_scored_are_refused():
    check_stages(SHAPE, [Scoring(tokens=4), Scoring(), Scoring(orders=3), Scoring(order="raster")])
    with pytest.raises(ValueError, match="1: orders is 2, and the stage before scores as many"):
        check_stages(SHAPE, [Scoring(orders=3), Scoring(orders=2)])
    with pytest.raises(ValueError, match="0: orders is 2, but order: raster is one order"):
        check_stages(SHAPE, [Scoring(orders=2, order="raster")])
    with pytest.raises(ValueError, match="0: chunk is 17, but 16 tokens are scored; give at most so many"):
        check_stages(SHAPE, [full(Adaptive(17))])
    with pytest.raises(ValueError, match="0: chunk is 5, but 4 tokens are scored"):
        check_stages(SHAPE, [Scoring(tokens=4, chunk=5)])
    with pytest.raises(ValueError, match="0: orders is 2, but order: raster"):
        check_stages(SHAPE, [full(Adaptive(4, 2, "raster"))])
    with pytest.raises(ValueError, match="0: chunk goes with one stage"):
        check_stages(SHAPE, [Scoring(chunk=4), Scoring(orders=2)])
    with pytest.raises(InputError, match="orders: 1; a stage needs more orders"):
        cost(SHAPE, 5, Scoring(), 5, Scoring())


def test_training_makes_the_label_the_likeliest():
    """Light and dark images, whose halves differ, so that tokens tell them apart."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    pixels = np.where(labels[:, None, None, None] == 1, 220, 40) + generator.integers(0, 30, (200, 8, 8, 1))
    pixels = np.repeat(pixels, 3, 3).astype(np.uint8)
    model, lines = seeded(build, SHAPE, 2, 0), []
    steps = Training(steps=60, batch_size=32, lr=0.01, vq_steps=60, vq_batch_size=16, vq_lr=0.003)
    train(model, pixels, labels, steps, 0, lines.append)
    assert any("tokeniser: step 60/60" in line for line in lines)
    assert any("transformer: step 60/60" in line for line in lines)
    given = Images(pixels[:20], np.array([f"i:{i}" for i in range(20)], dtype=object), 0)
    both = np.tile(np.arange(2, dtype=np.int32), (20, 1))
    for scoring in (Scoring(orders=2), Scoring(order="raster"), Scoring(tokens=4)):
        found = score(model.eval(), given, both, scoring, None)
        assert (found.argmax(1) == labels[:20]).all()
    assert len(np.unique(tokens_of(model, pixels))) > 2
    with torch.no_grad():
        x = to_input(pixels[:20])
        codes = model.vq.quantize.codes()[model.vq.tokens(x)].transpose(1, 2).unflatten(2, (4, 4))
        assert (model.vq.decode(codes) - x).square().mean() < 0.2 * x.var()
