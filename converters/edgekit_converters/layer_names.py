"""Layer names as a person reads them."""


def short_name(name: str, width: int = 40) -> str:
    """One of the ops that a converter fused into the layer, without its call prefixes; the middle left out if too long.

    TFLite joins the names of all fused ops: ``call/net/relu/Relu;call/net/conv/Conv2D;6012`` is ``net/conv/Conv2D``.
    """
    pieces = [piece for piece in name.split(";") if piece and not piece.isdigit()] or [name]
    short = "/".join(part for part in pieces[-1].split("/") if "PartitionedCall" not in part) or pieces[-1]
    if len(short) <= width:
        return short
    head = (width - 1) // 3  # the end tells layers apart more often than the beginning
    return f"{short[:head]}…{short[len(short) - (width - 1 - head) :]}"
