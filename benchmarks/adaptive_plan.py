"""What an adaptive funnel would cost at d16, from stated survival rates: python benchmarks/adaptive_plan.py.

No weights are at hand here, so the rates are assumptions, not measurements: `paper` keeps after 6 scales the 10 % that
the paper's fixed funnel keeps; `cautious` keeps twice as many after every scale; `half` drops nothing before scale 5.
"""

from varc.costs.closed_form import pass_gflops
from varc.models.architectures import PATCH_NUMS_256
from varc.models.var import VARConfig

D16 = VARConfig(16, 1024, 16, 1000, 4096, 32, PATCH_NUMS_256)
PAPER = (1.0, 0.8, 0.5, 0.3, 0.18, 0.10, 0.06, 0.04, 0.03)  # share of all classes left after scales 1..9
RATES = {
    "paper": PAPER,
    "cautious": tuple(min(1.0, 2 * r) for r in PAPER),
    "half": (1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.12, 0.08, 0.05),
}
SMOOTHED = 0.2  # share of images that are still open after the clean sample; they take two more of three survivors
FIXED = {100: 4649.4 - 107.9, 1000: 21587.7 - 107.9}  # A-VARC+ without its encoder


def main() -> None:
    passes = [0.0, *(pass_gflops(D16, k) for k in range(1, 11))]
    print("| classes | rates | scoring GFLOPs | of VARC | of A-VARC+ |")
    print("| --- | --- | --- | --- | --- |")
    for classes in (100, 1000):
        for name, rates in RATES.items():
            begun = [1.0, *rates]
            gflops = sum(classes * begun[k] * (passes[k + 1] - passes[k]) for k in range(10))
            gflops += SMOOTHED * 2 * 3 * passes[10]
            of_varc, of_fixed = gflops / (classes * passes[10]), gflops / FIXED[classes]
            print(f"| {classes} | {name} | {gflops:.0f} | {of_varc:.1%} | {of_fixed:.0%} |")


if __name__ == "__main__":
    main()
