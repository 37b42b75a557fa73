"""The networks that judge maps, and are explained: a judge trained for that, or a rival classifier."""

from varc.baselines.convnet import cam_layer, load_convnet
from varc.baselines.family import family, settings
from varc.baselines.weights import read_baseline
from varc.device import check_precision
from varc.explain.judges import baseline_judge, network_judge


def read_network(file, rival):
    """The network, the layer that GradCAM looks at (None where there is none), and its card.

    rival: None for a judge, else the entry of its baseline and what public_sha256 tells.
    """
    if rival is None:
        net, card = load_convnet(file)
        return net, cam_layer(net), card
    kind = family(rival["baseline"]["family"])
    net, card = read_baseline(kind, rival["baseline"], file, rival["public_sha256"])
    return net, kind.cam_layer(net) if hasattr(kind, "cam_layer") else None, card


def read_judge(file, rival, class_ids, seed, device, precision):
    """Who judges images, and the card of it; see read_network. A rival judges in float32."""
    check_precision(precision, device)
    net, _, card = read_network(file, rival)
    if rival is None:
        return network_judge(net.to(device), class_ids, device, precision), card
    kind = family(rival["baseline"]["family"])
    scoring = settings(kind.Scoring, rival["scoring"])
    return baseline_judge(kind, net.to(device), scoring, class_ids, seed), card
