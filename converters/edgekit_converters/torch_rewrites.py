"""Changes to an exported graph that keep every number and spare a small device work."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import torch

_SPATIAL = frozenset({2, 3})
_RANK = 4


def fold_batch_norms(module: "torch.fx.GraphModule") -> None:
    """Multiply each batch norm behind a convolution into its weights, as the converter would do later.

    A batch norm is eight nodes for litert-torch, which traces its graph four times: without them MobileNetV2 converts
    in two thirds of the time. Formula: Jacob et al. 2018, section 3.2.
    """
    import torch

    aten = torch.ops.aten
    for node in [node for node in module.graph.nodes if node.target is aten.batch_norm.default]:
        convolution, training = node.args[0], node.args[5]
        if (
            convolution.target not in {aten.conv1d.default, aten.conv2d.default}
            or len(convolution.users) > 1
            or training
        ):
            continue
        weight, bias = convolution.args[1], convolution.args[2] if len(convolution.args) > 2 else None  # noqa: PLR2004
        folded = _folded(module, (weight, bias, *node.args[1:5]), node.args[7])
        if folded is None:
            continue
        with module.graph.inserting_before(convolution):
            arguments = [
                _new_constant(module, f"{node.name}_{what}", value)
                for what, value in zip(("weight", "bias"), folded, strict=True)
            ]
        convolution.args = (convolution.args[0], *arguments, *convolution.args[3:])
        node.replace_all_uses_with(convolution)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.recompile()


def pool_means(module: "torch.fx.GraphModule") -> tuple[Finding, ...]:
    """``x.mean([2, 3])`` of an (N, C, H, W) tensor -> adaptive average pooling: the same sum of the same numbers.

    As a mean it becomes a TRANSPOSE and a MEAN over axes that NPU compilers leave to the CPU (Vela does); as a pooling
    a MEAN over height and width, which they run. (An AVERAGE_POOL_2D runs there too, and must have the scale of its
    input: 0.2 dB on ResNet20.) Means over other axes stay, and are told of.
    """
    import torch

    aten = torch.ops.aten
    left = []
    for node in [node for node in module.graph.nodes if node.target is aten.mean.dim]:
        value = node.args[0].meta["val"]
        axes = {axis % value.ndim for axis in node.args[1] or range(value.ndim)}
        if value.ndim != _RANK or axes != _SPATIAL or node.kwargs.get("dtype") is not None:
            left.append((sorted(axes), value.ndim))
            continue
        with module.graph.inserting_before(node):
            new = module.graph.call_function(aten.adaptive_avg_pool2d.default, (node.args[0], [1, 1]))
            if not (len(node.args) > 2 and node.args[2]):  # noqa: PLR2004 - mean(input, dim, keepdim)
                new = module.graph.call_function(aten.flatten.using_ints, (new, 1))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)
    module.recompile()
    return tuple(_told(axes, rank) for axes, rank in left)


def name_layers(module: "torch.fx.GraphModule") -> None:
    """Let litert-torch call each op by its layer, as ``state_dict`` spells it: ``layer3.2.conv2``.

    It writes the classes of the whole way down to an op instead. A layer of several ops adds the op's own name.
    """
    paths = {node: _layer(node) for node in module.graph.nodes if node.op == "call_function"}
    uses = Counter(paths.values())
    for node, path in paths.items():
        name = path if path and uses[path] == 1 else ".".join(filter(None, (path, node.name)))
        node.meta["nn_module_stack"] = {name: ("", name)}


def _layer(node: "torch.fx.Node") -> str:
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0]) if stack else ""


def _folded(
    module: "torch.fx.GraphModule", sources: Sequence[Any], epsilon: float
) -> "tuple[torch.Tensor, torch.Tensor] | None":
    """Weight and bias with the batch norm in them, computed in float64; None where one of them is no constant.

    ``sources`` are the nodes of weight, bias, scale, shift, mean and variance; None for a bias, scale or shift that is
    not there.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    found = [_constant(module, source) for source in sources]
    if any(value is None and source is not None for value, source in zip(found, sources, strict=True)):
        return None
    weight, bias, scale, shift, mean, variance = (None if value is None else value.double() for value in found)
    if weight is None or mean is None or variance is None:
        return None
    weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, epsilon, scale, shift)
    return weight.detach().float(), bias.detach().float()


def _constant(module: "torch.fx.GraphModule", node: Any) -> "torch.Tensor | None":
    """The parameter or buffer that a node reads; None for anything else."""
    if node is None or node.op != "get_attr":
        return None
    owner, _, name = str(node.target).rpartition(".")
    value = getattr(module.get_submodule(owner), name)
    return value if hasattr(value, "dtype") else None


def _new_constant(module: "torch.fx.GraphModule", name: str, value: "torch.Tensor") -> Any:
    module.register_buffer(name, value)
    return module.graph.get_attr(name)


def _told(axes: list[int], rank: int) -> Finding:
    return Finding(
        name="mean-over-axes",
        severity="info",
        message=f"A mean over the axes {axes} of a tensor of rank {rank} stays a MEAN, which NPU compilers may leave "
        "to the CPU.",
        fix="Over height and width, torch.nn.AdaptiveAvgPool2d(1) or mean([2, 3]) in one call runs everywhere.",
    )
