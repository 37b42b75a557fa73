"""Plain evaluator against engine of the any-order classifier: python benchmarks/any_order.py [--device cuda].

Random weights, one image, one order, all classes. The plain evaluator is as the public code: one pass per class or in
batches, a dense mask, the logits of all 1 + 2 L positions and their log-softmax. Runs alternate, so that noise of the
machine hits all alike; figures are medians over the repeats.
"""

import argparse
import statistics
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from engine import seconds
from torch import Tensor

from varc.baselines.any_order import AnyOrder, AnyOrderConfig, embed, pass_gflops, position_tables
from varc.baselines.family import Images
from varc.baselines.randar import RandAR, draw_order, log_likelihood
from varc.baselines.settings.randar import Sample

CASES = {  # the shape, and how many classes: RandAR-L's width at 4 of its 24 layers; 7 x 7 tokens, 6 layers of 256
    "wide": (AnyOrderConfig(4, 1024, 16, 16384, 1000, 16), 8),
    "desk": (AnyOrderConfig(6, 256, 4, 512, 100, 7), 100),
}
PLAIN_BATCHES = (1, 2, 4, 10)


@torch.inference_mode()
def plain_scores(model: AnyOrder, tokens: Tensor, order: Tensor, classes: int, batch: int) -> Tensor:
    """log p (classes,) of tokens (L,) in an order, by the module as it stands."""
    found = []
    for labels in torch.arange(classes, device=tokens.device).split(batch):
        own, orders = tokens[order].expand(len(labels), -1), order.expand(len(labels), -1)
        tables = position_tables(model)
        x = torch.cat([model.cls_embedding.embedding_table(labels)[:, None], embed(model, tables, own, orders)], 1)
        turns = F.pad(tables.turns[orders].repeat_interleave(2, 1), (0, 0, 0, 0, 1, 0))
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        for block in model.blocks():
            q, k, v = block.attention.qkv(block.attention_norm(x), turns)
            h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = x + block.attention.wo(h.transpose(1, 2).flatten(2))
            x = x + block.feed_forward(block.ffn_norm(x))
        log_prob = model.output(model.norm(x)).log_softmax(-1)[:, 1::2]
        found.append(log_prob.gather(2, own[..., None]).double().sum((1, 2)))
    return torch.cat(found)


def measure(name: str, config: AnyOrderConfig, classes: int, device: torch.device, repeats: int) -> None:
    torch.manual_seed(0)
    model = RandAR(torch.nn.Identity(), AnyOrder(config)).to(device).eval()  # type: ignore[arg-type]
    tokens = torch.randint(0, config.vocab_size, (config.num_tokens,))
    image = Images(np.empty((1, 0, 0, 3), np.uint8), np.array(["image"], object), 0)
    order = torch.from_numpy(draw_order("image", 0, 0, config.num_tokens))
    candidates, results = np.arange(classes, dtype=np.int32)[None], dict[str, Tensor]()

    def plain(batch: int) -> None:
        found = plain_scores(model.gpt, tokens.to(device), order.to(device), classes, batch)
        results[f"plain, batch {batch}"] = found.cpu()

    def engine(first: int | None) -> None:
        found = log_likelihood(model, tokens[None].numpy(), image, candidates, Sample(0, first))
        results[f"engine, {first} tokens" if first else "engine"] = torch.from_numpy(found[0])

    runs: dict[str, Callable[[], None]] = {f"plain, batch {b}": lambda b=b: plain(b) for b in PLAIN_BATCHES}  # type: ignore[misc]
    eighth = config.num_tokens // 8
    runs |= {"engine": lambda: engine(None), f"engine, {eighth} tokens": lambda: engine(eighth)}
    times: dict[str, list[float]] = {run: [] for run in runs}
    for _ in range(repeats):
        for run, call in runs.items():
            times[run].append(seconds(call, device))
    median = {run: statistics.median(values) for run, values in times.items()}
    best = min(median[f"plain, batch {b}"] for b in PLAIN_BATCHES)
    exact = results["plain, batch 1"]
    print(f"\n{name}, {classes} classes, {pass_gflops(config, config.num_tokens):.2f} GMAC a pass, {repeats} repeats")
    print("| run | s | x plain, batch 1 | x plain, best | largest difference, nats |")
    print("| --- | --- | --- | --- | --- |")
    for run, took in median.items():
        difference = "" if "tokens" in run else f"{(results[run] - exact).abs().max():.2g}"
        print(f"| {run} | {took:.2f} | {median['plain, batch 1'] / took:.2f} | {best / took:.2f} | {difference} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=CASES, action="append")
    arguments = parser.parse_args()
    for name in arguments.case or CASES:
        config, classes = CASES[name]
        measure(name, config, classes, torch.device(arguments.device), arguments.repeats)


if __name__ == "__main__":
    main()
