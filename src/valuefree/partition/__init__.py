"""③ The partition: estimates of V̂(x) from rewards and reference scores, and a report on how far to trust them."""

from valuefree.partition.estimators import ESTIMATORS, Estimator, estimator_named, register
from valuefree.partition.fit import Partition, fit_partition, partition_report, partition_values
from valuefree.partition.ranks import rank_rewards
from valuefree.partition.report import PartitionReport
from valuefree.partition.settings import PartitionSettings

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "Partition",
    "PartitionReport",
    "PartitionSettings",
    "estimator_named",
    "fit_partition",
    "partition_report",
    "partition_values",
    "rank_rewards",
    "register",
]
