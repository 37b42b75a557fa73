"""Maps of a network by its gradients: saliency and GradCAM. GradientSHAP is in attribution.py.

Both explain the class's logit, as their papers do. A network takes images (B, 3, H, W) in [-1, 1].
"""

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import Saliency
from numpy.typing import NDArray
from torch import Tensor, nn

from varc.data.tensors import to_input
from varc.explain.faithfulness import Pixels

Floats = NDArray[np.float32]


def saliency(net: nn.Module, image: Pixels, class_id: int, grid: int) -> Floats:
    """A map (grid, grid), not below 0: how steep the logit is, by pixel (Simonyan et al. 2014).

    The largest gradient over the colours, in absolute value, averaged over each patch. The image's side must be a
    multiple of grid.
    """
    steep = Saliency(net).attribute(differentiable(net, image), target=class_id).amax(1)
    return F.avg_pool2d(steep, len(image) // grid)[0].cpu().numpy()


def grad_cam(net: nn.Module, layer: nn.Module, image: Pixels, class_id: int, grid: int) -> Floats:
    """A map (grid, grid) of where the layer's channels that raise the logit are active (Selvaraju et al. 2017).

    layer: the one to look at, cam_layer of the network's family. Each channel of its output weighs as much as its mean
    gradient over all places. The map is resized bilinearly from the layer's resolution, and not cut at 0. captum's
    LayerGradCam does the same for (B, C, h, w); here a transformer's tokens (B, 1 + h w, C), of a square picture with a
    class token first, will do as well.
    """
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        logit = net(differentiable(net, image))[0, class_id]
    finally:
        handle.remove()
    (slope,) = torch.autograd.grad(logit, outputs[0])
    active, slope = as_picture(outputs[0].detach()), as_picture(slope)
    cam = (slope.mean((2, 3), keepdim=True) * active).sum(1, keepdim=True)
    resized = F.interpolate(cam, size=(grid, grid), mode="bilinear", align_corners=False, antialias=True)
    return resized[0, 0].cpu().numpy()


def as_picture(output: Tensor) -> Tensor:
    """A layer's output as (B, C, h, w): as it is, or tokens (B, 1 + h w, C) without the class token."""
    if output.ndim == 4:
        return output
    side = round((output.shape[1] - 1) ** 0.5)
    return output[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def differentiable(net: nn.Module, image: Pixels) -> Tensor:
    """An image as the network's input (1, 3, H, W), on its device, with gradients."""
    return to_input(image[None]).to(next(net.parameters()).device).requires_grad_()
