"""Any value of a document's type, by its own declaration: for round trips."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values that ``kind`` allows and JSON can hold; text and collections are short."""
    return _of(inspect.type_info(kind))


def _of(node: Any) -> st.SearchStrategy[Any]:
    return STRATEGIES[type(node)](node)


def _text(node: inspect.StrType) -> st.SearchStrategy[str]:
    return st.text(max_size=20) if node.pattern is None else st.from_regex(node.pattern, fullmatch=True)


def _integer(node: inspect.IntType) -> st.SearchStrategy[int]:
    return st.integers(-(2**60) if node.ge is None else node.ge, 2**60 if node.le is None else node.le)


def _number(node: inspect.FloatType) -> st.SearchStrategy[float]:
    low = node.gt if node.ge is None else node.ge
    exclude = node.gt is not None
    return st.floats(low, node.le, allow_nan=False, allow_infinity=False, exclude_min=exclude)


def _items(node: inspect.VarTupleType) -> st.SearchStrategy[tuple[Any, ...]]:
    least = node.min_length or 0
    return st.lists(_of(node.item_type), min_size=least, max_size=max(2, least)).map(tuple)


STRATEGIES: dict[type[inspect.Type], Callable[[Any], st.SearchStrategy[Any]]] = {
    inspect.StructType: lambda node: st.builds(node.cls, **{field.name: _of(field.type) for field in node.fields}),
    inspect.UnionType: lambda node: st.one_of(*map(_of, node.types)),
    inspect.LiteralType: lambda node: st.sampled_from(node.values),
    inspect.VarTupleType: _items,
    inspect.TupleType: lambda node: st.tuples(*map(_of, node.item_types)),
    inspect.DictType: lambda node: st.dictionaries(_of(node.key_type), _of(node.value_type), max_size=2),
    inspect.StrType: _text,
    inspect.IntType: _integer,
    inspect.FloatType: _number,
    inspect.BoolType: lambda _node: st.booleans(),
    inspect.NoneType: lambda _node: st.none(),
}
