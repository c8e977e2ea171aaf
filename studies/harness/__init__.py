"""The parts that all studies share: methods, cells on disk, worker processes, controls, results and the page."""
