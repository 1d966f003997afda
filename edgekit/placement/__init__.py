"""Which op runs where: rules of delegates as data, a prediction from them, and what runtimes and compilers report."""

from edgekit.placement.entries import OpPlacement, Partition, Placement, Refusal, Transfer
from edgekit.placement.rules import DelegateRules, Limit, OpRule, load_rules

__all__ = [
    "DelegateRules",
    "Limit",
    "OpPlacement",
    "OpRule",
    "Partition",
    "Placement",
    "Refusal",
    "Transfer",
    "load_rules",
]
