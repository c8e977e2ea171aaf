"""Benchmarks of speed and memory, reported as ratios of two runs on one machine; see RESULTS.md.

python -m benchmarks.run [NAME …] [--pairs N] [--rows N] [--smoke]    run, write results/<name>.json
python -m benchmarks.results                                          write RESULTS.md from them
python -m benchmarks.profile NAME --side ours                         write results/profile_<name>.txt
python -m benchmarks.scaling                                          print the tables of docs/scaling.md
"""
