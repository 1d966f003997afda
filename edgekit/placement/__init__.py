"""Which op runs where: rules of delegates as data, a prediction from them, and what runtimes and compilers report."""

from edgekit.placement.entries import OpPlacement, Partition, Placement, Refusal, Transfer
from edgekit.placement.predict import place, rules_of
from edgekit.placement.rules import DelegateRules, Limit, OpRule, load_rules
from edgekit.placement.runtime import from_taken

__all__ = [
    "DelegateRules",
    "Limit",
    "OpPlacement",
    "OpRule",
    "Partition",
    "Placement",
    "Refusal",
    "Transfer",
    "from_taken",
    "load_rules",
    "place",
    "rules_of",
]
