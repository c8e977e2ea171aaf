"""③ The partition: estimates of V̂(x) from rewards and reference scores, and what tells whether to believe them."""

from valuefree.partition.estimators import partition_targets, partition_values, rank_rewards
from valuefree.partition.report import PartitionReport, partition_report
from valuefree.partition.settings import ESTIMATORS, USES_REFERENCE_SAMPLES, PartitionSettings

__all__ = [
    "ESTIMATORS",
    "USES_REFERENCE_SAMPLES",
    "PartitionReport",
    "PartitionSettings",
    "partition_report",
    "partition_targets",
    "partition_values",
    "rank_rewards",
]
