"""Changes to an exported graph that keep every number and spare a small device work."""

from typing import TYPE_CHECKING, Any

from edgekit_converters.types import Finding

if TYPE_CHECKING:
    import torch

_SPATIAL = frozenset({2, 3})
_RANK = 4


def pool_means(module: "torch.fx.GraphModule") -> tuple[Finding, ...]:
    """``x.mean([2, 3])`` of an (N, C, H, W) tensor -> average pooling: the same sum of the same numbers.

    As a mean it becomes TRANSPOSE and MEAN over axes that NPU compilers leave to the CPU (Vela does). Means over other
    axes stay, and are told of.
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
            pooled = _pool(module.graph, node.args[0])
            keeps = len(node.args) > 2 and node.args[2]  # noqa: PLR2004 - mean(input, dim, keepdim)
            new = pooled if keeps else module.graph.call_function(aten.flatten.using_ints, (pooled, 1))
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)
    module.recompile()
    return tuple(_told(axes, rank) for axes, rank in left)


def _pool(graph: "torch.fx.Graph", value: Any) -> Any:
    import torch

    return graph.call_function(torch.ops.aten.adaptive_avg_pool2d.default, (value, [1, 1]))


def _told(axes: list[int], rank: int) -> Finding:
    return Finding(
        name="mean-over-axes",
        severity="info",
        message=f"A mean over the axes {axes} of a tensor of rank {rank} stays a MEAN, which NPU compilers may leave "
        "to the CPU.",
        fix="Over height and width, torch.nn.AdaptiveAvgPool2d(1) or mean([2, 3]) in one call runs everywhere.",
    )
