"""From rows to tensors: chat templates, tokenisation, sampling of micro-batches, padding and packing."""
